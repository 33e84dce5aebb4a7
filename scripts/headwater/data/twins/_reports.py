"""The 14 labels that CheXpert's and MIMIC-CXR's twins share: how their signs look, and what is read of them.

A program finds in a report that a finding is there (1.0), is not (0.0) or may be (-1.0); most are not mentioned at all.
"""

from headwater.data.twins._patients import Sign, Visit, reported

SIGNS = {
    "Enlarged Cardiomediastinum": Sign(looks="wide mediastinum", share=0.08),
    "Cardiomegaly": Sign(looks="cardiomegaly", share=0.24),
    "Lung Opacity": Sign(looks="opacity", share=0.16),
    "Lung Lesion": Sign(looks="nodule or mass", share=0.14),
    "Edema": Sign(looks="edema", share=0.14),
    "Consolidation": Sign(looks="consolidation", share=0.10),
    "Pneumonia": Sign(looks="pneumonia", share=0.10),
    "Atelectasis": Sign(looks="atelectasis", share=0.16),
    "Pneumothorax": Sign(looks="pneumothorax", share=0.16),
    "Pleural Effusion": Sign(looks="effusion", share=0.26),
    "Pleural Other": Sign(looks="pleural thickening", share=0.07),
    "Fracture": Sign(looks="broken rib", share=0.07),
    "Support Devices": Sign(looks="device", share=0.22),
}
"""The labels in CheXpert's order, how each looks, and in which share of pictures it is."""

NO_FINDING = "No Finding"

HARMLESS = "Support Devices"
"""A label that may hold beside No Finding."""

HEDGED, DENIED, FEARED = 0.15, 0.20, 0.02
"""How often a finding is called uncertain, one that is not there is denied, and one is feared without need."""


def mentions(visit: Visit) -> dict[str, str]:
    """What a program makes of the report of an examination, by label."""
    told = set(reported(visit, SIGNS, surest=0.98, missed=0.12, made_up=0.05))
    chance = dict(zip(SIGNS, visit.rng.random(len(SIGNS)), strict=True))
    said = {name: _said(name in told, chance[name]) for name in SIGNS}
    nothing = all(said[name] in ("", "0.0") for name in SIGNS if name != HARMLESS)
    # the program affirms that nothing was found, or is silent; it denies no such thing
    return {NO_FINDING: "1.0" if nothing else "", **said}


def _said(told: bool, chance: float) -> str:
    if told:
        return "-1.0" if chance < HEDGED else "1.0"
    return "-1.0" if chance < FEARED else "0.0" if chance < FEARED + DENIED else ""


def readings(visit: Visit) -> dict[str, str]:
    """What radiologists see, by label: each is there or not."""
    told = set(reported(visit, SIGNS, surest=1.0, missed=0.08, made_up=0.03))
    nothing = not told - {HARMLESS}
    return {NO_FINDING: f"{float(nothing)}", **{name: f"{float(name in told)}" for name in SIGNS}}
