"""The 14 labels that the twins of CheXpert and MIMIC-CXR share: their signs, and labels by programs and radiologists.

A program labels a finding of a report as present (1.0), absent (0.0) or uncertain (-1.0); most are not mentioned.
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
"""The labels in CheXpert's order, each with its appearance and its share of the images."""

NO_FINDING = "No Finding"

HARMLESS = "Support Devices"
"""A label that does not exclude No Finding."""

HEDGED, DENIED, FEARED = 0.15, 0.20, 0.02
"""Probabilities that a reported finding is called uncertain, and that an absent one is called absent or uncertain."""


def mentions(visit: Visit) -> dict[str, str]:
    """A program's labels of the report of an examination."""
    positive = set(reported(visit, SIGNS, surest=0.98, missed=0.12, made_up=0.05))
    draws = dict(zip(SIGNS, visit.rng.random(len(SIGNS)), strict=True))
    labels = {name: _mention(name in positive, draws[name]) for name in SIGNS}
    nothing = all(labels[name] in ("", "0.0") for name in SIGNS if name != HARMLESS)
    # the programs label No Finding as 1.0 or not at all, never as 0.0
    return {NO_FINDING: "1.0" if nothing else "", **labels}


def _mention(positive: bool, draw: float) -> str:
    """A program's label of a finding, given whether the report has it and a random number."""
    if positive:
        return "-1.0" if draw < HEDGED else "1.0"
    return "-1.0" if draw < FEARED else "0.0" if draw < FEARED + DENIED else ""


def readings(visit: Visit) -> dict[str, str]:
    """The radiologists' labels of an examination, each present or absent."""
    positive = set(reported(visit, SIGNS, surest=1.0, missed=0.08, made_up=0.03))
    nothing = not positive - {HARMLESS}
    return {NO_FINDING: f"{float(nothing)}", **{name: f"{float(name in positive)}" for name in SIGNS}}
