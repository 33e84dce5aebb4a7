"""Signs of disease on the phantom: what each finding changes in the chest's shape or adds to the image.

`strength` ranges from 0 (nearly invisible) to 1. All archives use the same signs for findings of the same meaning. If
`side` is not given, the side is random.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np

from headwater.data.twins._anatomy import LEFT, RIGHT, Anatomy, Sheet, clavicle


def _side(rng: np.random.Generator) -> int:
    return RIGHT if rng.random() < 0.5 else LEFT


def _large_heart(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, heart=patient.heart * (1.03 + 0.42 * strength))


def _wide_aorta(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, knob=patient.knob * (1.15 + 0.8 * strength))


def _wide_artery(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, artery=patient.artery * (1.25 + 1.2 * strength))


def _pushed_middle(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, shift=patient.shift + _side(rng) * (0.05 + 0.13 * strength))


def _overinflated(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(
        patient,
        dome=patient.dome + 0.04 + 0.12 * strength,
        curvature=patient.curvature * (1 - 0.7 * strength),
        heart=patient.heart * (1 - 0.15 * strength),
        air=patient.air + 0.03 + 0.07 * strength,
    )


def _wide_mediastinum(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, mediastinum=patient.mediastinum * (1.2 + 0.7 * strength))


def _bent_forward(patient: Anatomy, strength: float, rng: np.random.Generator) -> Anatomy:
    return dataclasses.replace(patient, apex=patient.apex + 0.05 + 0.16 * strength)


def _lost_volume(patient: Anatomy, strength: float, rng: np.random.Generator, side: int | None = None) -> Anatomy:
    left = (side or _side(rng)) == LEFT
    raised = 0.05 + 0.17 * strength
    return dataclasses.replace(
        patient, raised=(patient.raised[0] + raised * (not left), patient.raised[1] + raised * left)
    )


def _collapsed_band(sheet: Sheet, strength: float, rng: np.random.Generator, side: int | None = None) -> None:
    side = side or _side(rng)
    x, y = side * rng.uniform(0.2, 0.3), sheet.patient.dome - rng.uniform(0.16, 0.26) - 0.1 * strength
    band = sheet.line(x, y, side * rng.uniform(0.5, 0.6), y + rng.uniform(-0.04, 0.08), 0.045)
    sheet.light += (0.08 + 0.16 * strength) * band * sheet.lung[side]


def _fluid(sheet: Sheet, strength: float, rng: np.random.Generator, side: int | None = None) -> None:
    sides = (side,) if side else (RIGHT, LEFT) if rng.random() < 0.25 else (_side(rng),)
    for side in sides:
        patient = sheet.patient
        level = patient.dome + 0.10 - 0.55 * strength
        outward = np.clip(side * sheet.x / patient.chest, 0, 1)
        surface = level + 0.16 - 0.30 * outward**2
        sheet.light += 0.92 * patient.air * sheet.step(sheet.y - surface, 4.0) * sheet.lung[side]


def _air_outside_lung(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    shrunk = sheet.lung_within(side, 0.05 + 0.16 * strength)
    gap = np.clip(sheet.lung[side] - shrunk, 0, 1)
    edge = 4 * shrunk * (1 - shrunk) * sheet.lung[side] * sheet.step(sheet.patient.dome - 0.1 - sheet.y, 4.0)
    sheet.light += 0.10 * edge - (0.07 + 0.06 * strength) * gap
    sheet.light += (0.02 + 0.06 * strength) * shrunk


def _nodules(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(1, 4)):
        side = _side(rng)
        radius = rng.uniform(0.06, 0.095)
        spot = sheet.disc(*sheet.place_in_lung(rng, side), radius, blur=1.5)
        sheet.light += (0.12 + 0.28 * strength) * spot * sheet.lungs


def _mass(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    x, y = sheet.place_in_lung(rng, side)
    width = rng.uniform(0.11, 0.19)
    sheet.light += (
        (0.10 + 0.24 * strength) * sheet.disc(x, y, width, width * rng.uniform(0.8, 1.2), blur=2.0) * sheet.lungs
    )


def _nodule_or_mass(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    (_nodules if rng.random() < 0.7 else _mass)(sheet, strength, rng)


def _tumour(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    x, y = side * rng.uniform(0.26, 0.42), rng.uniform(-0.35, 0.05)
    radius = np.hypot(sheet.x - x, sheet.y - y)
    spikes = 1 + 0.35 * np.cos(7 * np.arctan2(sheet.y - y, sheet.x - x) + rng.uniform(0, 6))
    body = sheet.step(rng.uniform(0.11, 0.17) * spikes - radius, 2.0)
    sheet.light += (0.12 + 0.22 * strength) * body * sheet.lungs


def _patches(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    cover = 0
    for _ in range(3):
        x, y = sheet.place_in_lung(rng, side, -0.35, 0.2)
        cover = cover + sheet.blob(x, y, rng.uniform(0.10, 0.18))
    ground = 0.75 + 0.35 * sheet.texture(rng, 16)
    sheet.light += (0.07 + 0.14 * strength) * np.minimum(cover, 1.2) * ground * sheet.lung[side]


def _filled_lobe(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    top = rng.uniform(-0.45, 0.0)
    slope = rng.uniform(-0.3, 0.3)
    below = sheet.y - top - slope * np.abs(sheet.x)
    lobe = sheet.step(below, 3.0) * sheet.step(0.34 - below, 6.0)
    tubes = 1 - 0.25 * np.maximum(sheet.texture(rng, 18), 0)
    sheet.light += (0.06 + 0.24 * strength) * lobe * tubes * sheet.lung[side]


def _pneumonia(sheet: Sheet, strength: float, rng: np.random.Generator, side: int | None = None) -> None:
    side = side or _side(rng)
    focus = sheet.blob(side * rng.uniform(0.3, 0.5), rng.uniform(0.05, 0.25), 0.22, 0.17)
    sheet.light += (0.07 + 0.22 * strength) * focus * (0.8 + 0.4 * sheet.texture(rng, 14)) * sheet.lung[side]


def _opacity(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    x, y = sheet.place_in_lung(rng, side, -0.4, 0.2)
    sheet.light += (0.06 + 0.18 * strength) * sheet.blob(x, y, 0.24, 0.2) * sheet.lung[side]


def _wet_lungs(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    near = np.exp(-((np.abs(sheet.x) - 0.24) ** 2) / 0.035 - (sheet.y + 0.02) ** 2 / 0.09)
    lines = np.maximum(np.cos(2 * np.pi * sheet.y / 0.09), 0) * np.exp(-((np.abs(sheet.x) - 0.6) ** 2) / 0.006)
    sheet.light += (0.05 + 0.17 * strength) * near * sheet.lungs
    sheet.light += (0.02 + 0.07 * strength) * lines * sheet.lungs * sheet.step(sheet.y - 0.0, 4.0)


def _full_hila(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    for side in (RIGHT, LEFT):
        hilum = sheet.blob(side * (sheet.patient.mediastinum + 0.10), -0.06, 0.13, 0.19)
        sheet.light += (0.05 + 0.18 * strength) * hilum * sheet.lungs


def _curved_spine(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    bend = _side(rng) * (0.04 + 0.16 * strength)
    middle = bend * np.cos(1.6 * (sheet.y + 0.1)) - 0.4 * bend
    sheet.light += (0.10 + 0.08 * strength) * np.exp(-(((sheet.x - middle) / 0.08) ** 2))


def _scars(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    mesh = np.abs(sheet.texture(rng, 30)) + np.abs(sheet.texture(rng, 24)) - 0.7
    where = np.exp(-((sheet.y - 0.25) ** 2) / 0.05) + 0.7 * np.exp(-((sheet.y + 0.6) ** 2) / 0.03)
    sheet.light += (0.05 + 0.13 * strength) * where * mesh * sheet.lungs
    sheet.light += (0.02 + 0.05 * strength) * where * sheet.lungs


def _fine_mesh(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    mesh = np.abs(sheet.texture(rng, 36)) - 0.35
    sheet.light += (0.05 + 0.12 * strength) * mesh * sheet.lungs + 0.04 * strength * sheet.lungs


def _thick_pleura(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    rim = np.clip(sheet.lung[side] - sheet.lung_within(side, 0.05 + 0.05 * strength), 0, 1)
    outer = sheet.step(side * sheet.x - 0.2, 4.0)
    reach = sheet.step(rng.uniform(-0.5, 0.1) - sheet.y, 6.0)
    sheet.light += (0.12 + 0.24 * strength) * rim * outer * reach


def _stomach_above(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    x, y = rng.uniform(-0.02, 0.14), sheet.patient.dome - rng.uniform(0.04, 0.12)
    radius = 0.10 + 0.07 * strength
    wall, hollow = sheet.disc(x, y, radius + 0.04), sheet.disc(x, y, radius)
    sheet.light += (0.10 + 0.06 * strength) * (wall - hollow) - (0.10 + 0.22 * strength) * hollow


def _chalk(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(3, 7)):
        spot = sheet.disc(*sheet.place_in_lung(rng, _side(rng), -0.55), 0.03)
        sheet.light += (0.15 + 0.40 * strength) * spot


def _broken_clavicle(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    x0, y0, x1, y1 = clavicle(sheet.patient, side)
    part = rng.uniform(0.45, 0.6)
    x, y = x0 + part * (x1 - x0), y0 + part * (y1 - y0)
    step = 0.08 + 0.14 * strength
    sheet.light -= 0.12 * sheet.line(x, y, x1, y1, 0.035)
    sheet.light += (0.15 + 0.12 * strength) * sheet.line(x, y + step, x1, y1 + step, 0.04)


def _broken_rib(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    for _ in range(rng.integers(2, 4)):
        x, y = side * sheet.patient.chest * rng.uniform(0.82, 0.92), rng.uniform(-0.25, 0.25)
        callus = sheet.disc(x, y, 0.06, 0.04, blur=1.5)
        sheet.light += (0.14 + 0.26 * strength) * callus


def _ring(sheet: Sheet, strength: float, rng: np.random.Generator, *, top: float, low: float, wall: float) -> None:
    x, y = sheet.place_in_lung(rng, _side(rng), top, low)
    radius = rng.uniform(0.10, 0.16)
    outer, hollow = sheet.disc(x, y, radius), sheet.disc(x, y, radius - wall)
    sheet.light += ((0.12 + 0.26 * strength) * (outer - hollow) - (0.03 + 0.05 * strength) * hollow) * sheet.lungs


def _cavity(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    _ring(sheet, strength, rng, top=-0.55, low=-0.2, wall=0.055)


def _cyst(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    _ring(sheet, strength, rng, top=-0.2, low=0.2, wall=0.03)


def _tuberculosis(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    upper = sheet.blob(side * 0.36, -0.45, 0.22, 0.18)
    mottled = 0.7 + 0.7 * np.maximum(sheet.texture(rng, 26), -0.5)
    sheet.light += (0.06 + 0.20 * strength) * upper * mottled * sheet.lung[side]


def _wire(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    x, y = side * rng.uniform(0.45, 0.6), rng.uniform(-0.6, -0.4)
    lead = sheet.line(x, y, 0.1, rng.uniform(-0.1, 0.15), 0.02)
    sheet.light += (0.12 + 0.30 * strength) * np.maximum(sheet.disc(x, y, 0.09, 0.07), lead)


def _wall_lump(sheet: Sheet, strength: float, rng: np.random.Generator) -> None:
    side = _side(rng)
    lump = sheet.disc(side * sheet.patient.chest, rng.uniform(-0.25, 0.2), 0.10, 0.14, blur=2.0)
    sheet.light += (0.10 + 0.26 * strength) * lump


Reshape = Callable[[Anatomy, float, np.random.Generator], Anatomy]
Paint = Callable[[Sheet, float, np.random.Generator], None]

RESHAPED: dict[str, Reshape] = {
    "cardiomegaly": _large_heart,
    "aortic enlargement": _wide_aorta,
    "enlarged pulmonary artery": _wide_artery,
    "mediastinal shift": _pushed_middle,
    "emphysema": _overinflated,
    "kyphosis": _bent_forward,
    "wide mediastinum": _wide_mediastinum,
    "atelectasis": _lost_volume,
    "atelectasis right": partial(_lost_volume, side=RIGHT),
    "atelectasis left": partial(_lost_volume, side=LEFT),
}
"""Signs that change the chest's shape."""

PAINTED: dict[str, Paint] = {
    "atelectasis": _collapsed_band,
    "atelectasis right": partial(_collapsed_band, side=RIGHT),
    "atelectasis left": partial(_collapsed_band, side=LEFT),
    "broken clavicle": _broken_clavicle,
    "broken rib": _broken_rib,
    "calcification": _chalk,
    "cavity": _cavity,
    "congestion": _full_hila,
    "consolidation": _filled_lobe,
    "cyst": _cyst,
    "device": _wire,
    "edema": _wet_lungs,
    "effusion": _fluid,
    "effusion right": partial(_fluid, side=RIGHT),
    "effusion left": partial(_fluid, side=LEFT),
    "fibrosis": _scars,
    "hernia": _stomach_above,
    "infiltration": _patches,
    "interstitial disease": _fine_mesh,
    "lump of the chest wall": _wall_lump,
    "mass": _mass,
    "nodule": _nodules,
    "nodule or mass": _nodule_or_mass,
    "opacity": _opacity,
    "pleural thickening": _thick_pleura,
    "pneumonia": _pneumonia,
    "pneumonia right": partial(_pneumonia, side=RIGHT),
    "pneumonia left": partial(_pneumonia, side=LEFT),
    "pneumothorax": _air_outside_lung,
    "scoliosis": _curved_spine,
    "tuberculosis": _tuberculosis,
    "tumour": _tumour,
}
"""Signs that are added to the image."""
