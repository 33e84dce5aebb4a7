"""A synthetic chest radiograph: lungs, heart, ribs, spine and clavicles of a patient, exposure, and signs of disease.

Brightness ranges from 0 (air, black) to 1 (dense, white), as on a light box.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from headwater.data.twins._anatomy import LEFT, RIGHT, Anatomy, Sheet, clavicle, coordinates
from headwater.data.twins._signs import PAINTED, RESHAPED


def draw(
    findings: Mapping[str, float],
    *,
    patient: Anatomy,
    places: int,
    rng: np.random.Generator,
    size: int,
    lying: bool = False,
) -> np.ndarray:
    """One image, float32 (size, size) in 0 to 1, of a patient with signs of the given strengths (0 to 1).

    `places` is the seed of the location of a patient's signs, which is the same in all images; `rng` is the exposure.
    In a `lying` patient (AP view) the heart is larger, the diaphragm higher and the contrast lower.
    """
    breath = rng.normal(0, 0.025) - 0.05 * lying
    shape = dataclasses.replace(patient, dome=patient.dome + breath, heart=patient.heart * (1.07 if lying else 1.0))
    for sign, strength in findings.items():
        if sign in RESHAPED:
            shape = RESHAPED[sign](shape, strength, _sign_rng(places, sign))
    sheet = Sheet(
        shape,
        size=size,
        tilt=rng.normal(0, 0.06),
        shift=(rng.normal(0, 0.06), rng.normal(0, 0.06)),
        zoom=rng.uniform(0.92, 1.14),
    )
    _chest(sheet)
    for sign, strength in findings.items():
        if sign in PAINTED:
            PAINTED[sign](sheet, strength, _sign_rng(places, sign))
    return _exposed(sheet, rng, lying=lying)


def draw_from_side(*, patient: Anatomy, rng: np.random.Generator, size: int) -> np.ndarray:
    """A lateral image, float32 (size, size) in 0 to 1, which looks unlike a frontal one and has no signs."""
    shift = (rng.normal(0, 0.06), rng.normal(0, 0.06))
    sheet = Sheet(patient, size=size, tilt=rng.normal(0, 0.06), shift=shift, zoom=rng.uniform(0.92, 1.14))
    lung = sheet.disc(0.0, -0.15, 0.52, 0.66, blur=2.0) * sheet.step(patient.dome + 0.3 * sheet.x - sheet.y, 2.0)
    column = np.exp(-(((sheet.x - 0.42 - 0.08 * sheet.y) / 0.10) ** 2))
    heart = sheet.disc(-0.22, 0.14, 0.9 * patient.heart, 0.26, blur=2.0)
    sheet.light = 0.03 + patient.body * sheet.disc(0.0, 0.25, 0.74, 1.25, blur=5.0)
    sheet.light += -patient.air * lung + 0.8 * patient.air * heart * lung
    sheet.light += (0.10 + patient.spine) * column * (0.9 + 0.15 * np.cos(2 * np.pi * sheet.y / 0.15))
    return _exposed(sheet, rng, lying=False)


def _sign_rng(places: int, sign: str) -> np.random.Generator:
    """Random numbers that are the same for the same sign of the same patient."""
    return np.random.default_rng([places, *sign.encode()])


def _chest(sheet: Sheet) -> None:
    """A healthy chest."""
    patient = sheet.patient
    # the chest is thinner, and so darker, at the sides and the top
    depth = 0.88 + 0.20 * np.abs(sheet.x) - 0.10 * sheet.y
    sheet.light = _body(sheet) - patient.air * depth * sheet.lungs
    sheet.light += sheet.heart * (0.03 + 0.10 * sheet.y)
    _mediastinum(sheet)
    _bones(sheet)
    _vessels(sheet)
    if patient.breast:
        for side in (RIGHT, LEFT):
            sheet.light += patient.breast * sheet.disc(side * 0.45, 0.12, 0.33, 0.34, blur=2.0)


def _body(sheet: Sheet) -> np.ndarray:
    """Soft tissue: torso, shoulders and neck on black air."""
    patient, x, y = sheet.patient, np.abs(sheet.x), sheet.y
    shoulder = -0.93 + 0.5 * np.maximum(x - 0.2, 0) ** 1.5
    flank = patient.chest + 0.13 + 1.6 * np.maximum(-y - 0.30, 0)
    inside = sheet.step(flank - x, 5.0) * sheet.step(np.maximum(y - shoulder, 0.22 - x), 5.0)
    thickness = patient.body - 0.22 * (x / flank) ** 4 + 0.16 * np.clip(y + 0.1, 0, 1)
    bubble = (
        0.22
        * sheet.disc(0.42, patient.dome + patient.left_lower + 0.16, patient.bubble + 0.01, 0.7 * patient.bubble + 0.01)
        if patient.bubble > 0.05
        else 0
    )
    return 0.03 + inside * (thickness - bubble)


def _mediastinum(sheet: Sheet) -> None:
    """Spine, trachea, aortic arch and pulmonary artery."""
    patient = sheet.patient
    x = sheet.x - patient.shift
    column = np.exp(-((sheet.x / 0.10) ** 2))
    sheet.light += patient.spine * column * (0.9 + 0.15 * np.cos(2 * np.pi * sheet.y / 0.15))
    windpipe = np.exp(-((x / 0.045) ** 2)) * sheet.step(-0.28 - sheet.y, 5.0)
    sheet.light -= 0.12 * windpipe
    arch = sheet.disc(patient.shift + patient.mediastinum * 0.7, -0.36, patient.knob, blur=1.5)
    trunk = sheet.disc(patient.shift + patient.mediastinum * 0.85, -0.17, patient.artery, 0.09, blur=1.5)
    sheet.light += patient.air * 0.85 * np.maximum(arch, trunk) * sheet.lung[LEFT]
    for side in (RIGHT, LEFT):
        hilum = sheet.blob(patient.shift + side * (patient.mediastinum + 0.07), -0.08, 0.08, 0.13)
        sheet.light += 0.15 * hilum * sheet.lung[side]


def _bones(sheet: Sheet) -> None:
    """Posterior and anterior ribs, and clavicles."""
    patient, x = sheet.patient, np.abs(sheet.x)
    cage = sheet.step(patient.chest + 0.06 - x, 2.0) * sheet.step(patient.dome + 0.25 - sheet.y, 6.0)
    cage = cage * sheet.step(sheet.y - patient.apex + 0.05, 3.0)
    back = np.cos(
        2 * np.pi * ((sheet.y - patient.rib_slope * (x - 0.25) ** 2) / patient.rib_spacing + patient.rib_phase)
    )
    front = np.cos(2 * np.pi * ((sheet.y - 0.55 * x) / (patient.rib_spacing * 1.25) + 0.4))
    sheet.light += patient.rib_contrast * cage * np.maximum(back - 0.2, 0) * sheet.step(x - 0.08, 3.0)
    sheet.light += 0.5 * patient.rib_contrast * cage * np.maximum(front - 0.5, 0) * sheet.step(x - 0.3, 6.0)
    for side in (RIGHT, LEFT):
        sheet.light += 0.12 * sheet.line(*clavicle(patient, side), 0.035)


def _vessels(sheet: Sheet) -> None:
    """Pulmonary vessels, which spread from the hila."""
    rng = np.random.default_rng(sheet.patient.vessels)
    pattern = sheet.texture(rng, 22) + 0.6 * sheet.texture(rng, 11)
    near = np.exp(-((np.abs(sheet.x) - 0.2) ** 2) / 0.10 - (sheet.y + 0.02) ** 2 / 0.16)
    sheet.light += sheet.lungs * (0.08 * near + 0.018) * pattern


def _exposed(sheet: Sheet, rng: np.random.Generator, *, lying: bool) -> np.ndarray:
    """The image after exposure: contrast, brightness, scatter, noise, and often a side marker."""
    light = sheet.light
    contrast = rng.uniform(0.70, 1.12) * (0.88 if lying else 1.0)
    light = 0.5 + contrast * (light - 0.5) + rng.normal(0, 0.06) + 0.03 * lying
    light = light + 0.05 * rng.normal() * sheet.x + 0.03 * sheet.texture(rng, 3)
    x, y = coordinates(sheet.size)
    if rng.random() < 0.7:
        marker = np.maximum(np.abs(x - rng.choice([-0.86, 0.86])), np.abs(y + rng.uniform(0.80, 0.9))) < 0.045
        light = np.where(marker, 0.95, light)
    light = np.clip(light, 0, 1) ** rng.uniform(0.75, 1.35)
    grain = rng.uniform(0.012, 0.035) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light + grain, 0, 1).astype(np.float32)
