"""A chest-like picture: lungs, heart, ribs, spine and clavicles of one patient, one exposure, and signs of disease.

Lengths are in units of half the picture's width; x runs to the right of the picture (the patient's left), y down.
Brightness runs from 0 (air, black) to 1 (dense, white), as on a viewing box.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RIGHT, LEFT = -1, 1
"""The patient's sides, as the sign of x in the picture."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What stays the same over all pictures of a patient."""

    chest: float
    """Half-width of the rib cage."""
    apex: float
    """Height of the lungs' tops."""
    dome: float
    """Height of the right half of the diaphragm."""
    left_lower: float
    """How much lower the left half of the diaphragm lies."""
    curvature: float
    """How strongly the diaphragm is domed."""
    mediastinum: float
    """Half-width of what lies between the lungs."""
    heart: float
    """Half-width of the heart."""
    knob: float
    """Radius of the aortic arch's outline."""
    artery: float
    """Radius of the pulmonary artery's outline."""
    shift: float = 0.0
    """How far heart and mediastinum are pushed to the right of the picture."""
    raised: tuple[float, float] = (0.0, 0.0)
    """How much the right and the left half of the diaphragm stand higher than usual."""
    air: float
    """How dark the lungs are."""
    body: float
    """How bright soft tissue is."""
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_contrast: float
    spine: float
    clavicle: float
    """Height of the clavicles' inner ends."""
    clavicle_slope: float
    breast: float
    bubble: float
    """Radius of the stomach's air bubble."""
    vessels: int
    """Seed of the vessels' pattern."""


def anatomy(rng: np.random.Generator, *, female: bool) -> Anatomy:
    """A patient's chest."""
    draw = rng.uniform
    size = 0.96 if female else 1.0
    return Anatomy(
        chest=draw(0.66, 0.78) * size,
        apex=draw(-0.82, -0.70),
        dome=draw(0.30, 0.44) * size,
        left_lower=draw(0.02, 0.09),
        curvature=draw(0.9, 1.5),
        mediastinum=draw(0.10, 0.14),
        heart=draw(0.25, 0.32) * size,
        knob=draw(0.075, 0.10),
        artery=draw(0.05, 0.075),
        air=draw(0.36, 0.46),
        body=draw(0.62, 0.74),
        rib_spacing=draw(0.15, 0.19),
        rib_phase=draw(0, 1),
        rib_slope=draw(0.6, 1.1),
        rib_contrast=draw(0.08, 0.13),
        spine=draw(0.06, 0.12),
        clavicle=draw(-0.62, -0.54),
        clavicle_slope=draw(0.10, 0.30),
        breast=draw(0.02, 0.08) if female else 0.0,
        bubble=draw(0.0, 0.13),
        vessels=int(rng.integers(2**31)),
    )


class Sheet:
    """The picture while it is drawn: coordinates, the lungs' outlines, and `light`, the brightness so far."""

    def __init__(self, patient: Anatomy, *, size: int, tilt: float, shift: tuple[float, float], zoom: float):
        self.patient = patient
        self.size = size
        x, y = _coordinates(size)
        self.x = ((x * np.cos(tilt) + y * np.sin(tilt)) * zoom - shift[0]).astype(np.float32)
        self.y = ((y * np.cos(tilt) - x * np.sin(tilt)) * zoom - shift[1]).astype(np.float32)
        self.soft = 2.5 / size
        self.heart = self._heart()
        self.lung = {side: self.lung_within(side, 0.0) for side in (RIGHT, LEFT)}
        self.lungs = self.lung[RIGHT] + self.lung[LEFT]
        self.light = np.zeros((size, size), np.float32)

    def step(self, distance: np.ndarray, blur: float = 1.0) -> np.ndarray:
        """0 where `distance` is below zero, 1 above, with an edge about as soft as a pixel (times `blur`)."""
        edge = np.clip(distance / (self.soft * blur) + 0.5, 0, 1)
        return edge * edge * (3 - 2 * edge)

    def blob(self, x: float, y: float, width: float, height: float | None = None) -> np.ndarray:
        """A bell-shaped spot."""
        return np.exp(-(((self.x - x) / width) ** 2) - ((self.y - y) / (height or width)) ** 2)

    def disc(self, x: float, y: float, width: float, height: float | None = None, blur: float = 1.0) -> np.ndarray:
        """A filled ellipse with a soft edge."""
        radius = np.hypot((self.x - x) / width, (self.y - y) / (height or width))
        return self.step((1 - radius) * width, blur)

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float) -> np.ndarray:
        """A straight stroke between two points."""
        dx, dy = x1 - x0, y1 - y0
        along = np.clip(((self.x - x0) * dx + (self.y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        return np.exp(-(((self.x - x0 - along * dx) ** 2 + (self.y - y0 - along * dy) ** 2) / width**2))

    def dome(self, side: int) -> np.ndarray:
        """Height of one half of the diaphragm above each x."""
        patient = self.patient
        top = patient.dome + (patient.left_lower if side == LEFT else 0.0) - patient.raised[side == LEFT]
        return top + patient.curvature * (self.x - side * 0.48 * patient.chest) ** 2

    def lung_within(self, side: int, margin: float) -> np.ndarray:
        """One lung's outline (0 to 1), its outer wall and top drawn in by `margin`."""
        patient = self.patient
        inner = patient.shift + side * patient.mediastinum * (0.75 + 0.35 * (self.y > 0))
        width, middle, height = patient.chest - margin, 0.1, 0.1 - patient.apex - margin
        above = np.minimum(self.y - middle, 0) / height
        flank = 1 + 0.10 * np.maximum(self.y - middle, 0)
        wall = 1 - ((np.abs(self.x) / (width * flank)) ** 2 + np.abs(above) ** 2.2)
        outline = self.step(wall * 0.4) * self.step(side * (self.x - inner), 2.0)
        return outline * self.step(self.dome(side) - self.y) * (1 - self.heart)

    def place_in_lung(self, rng: np.random.Generator, side: int, top: float = -0.5, low: float = 0.2) -> tuple:
        """A point well inside one lung between two heights."""
        y = rng.uniform(top, low)
        width = self.patient.chest * (0.86 if y > -0.3 else 0.66)
        return side * rng.uniform(0.42, 0.85) * width, y

    def texture(self, rng: np.random.Generator, cells: int) -> np.ndarray:
        """Smooth random ground of mean about 0 and deviation about 0.6, `cells` bumps wide."""
        weights = _interpolation(self.size, cells)
        return weights @ rng.standard_normal((cells, cells)).astype(np.float32) @ weights.T

    def _heart(self) -> np.ndarray:
        patient = self.patient
        x, y = self.x - patient.shift - 0.30 * patient.heart, self.y - patient.dome + 0.17
        tilted, upright = x * 0.80 + y * 0.60, y * 0.80 - x * 0.60
        ventricle = 1 - np.hypot(tilted / (patient.heart * 1.30), upright / (0.13 + 0.42 * patient.heart))
        atrium = 1 - np.hypot((x + 0.72 * patient.heart) / (0.62 * patient.heart), (y + 0.02) / 0.28)
        return np.maximum(self.step(ventricle * 0.3, 2.0), self.step(atrium * 0.2, 2.0))


@lru_cache
def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


@lru_cache
def _interpolation(size: int, cells: int) -> np.ndarray:
    """Weights that stretch `cells` values over `size` pixels: (size, cells)."""
    place = (np.arange(size) + 0.5) / size * cells - 0.5
    near = np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, 1)
    return (near * near * (3 - 2 * near)).astype(np.float32)


def draw(
    findings: Mapping[str, float],
    *,
    patient: Anatomy,
    places: int,
    rng: np.random.Generator,
    size: int,
    lying: bool = False,
) -> np.ndarray:
    """One picture, float32 (size, size) in 0 to 1, of a patient with signs of the given strengths (0 to 1).

    `places` seeds where a patient's signs sit, so that they return in the next picture; `rng` is the exposure.
    A patient who is `lying` (AP view) has a larger heart shadow, a higher diaphragm and a flatter picture.
    """
    # signs import this module for its shapes
    from headwater.twins._signs import PAINTED, RESHAPED

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


def _sign_rng(places: int, sign: str) -> np.random.Generator:
    """The same numbers for the same sign of the same patient."""
    return np.random.default_rng([places, *sign.encode()])


def _chest(sheet: Sheet) -> None:
    """A healthy chest."""
    patient = sheet.patient
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
    """Soft tissue: torso, shoulders and neck before black air."""
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
    """Spine, windpipe, aortic arch and pulmonary artery."""
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
    """Ribs, back and front, and clavicles."""
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


def clavicle(patient: Anatomy, side: int) -> tuple[float, float, float, float]:
    """Inner and outer end of one clavicle: x0, y0, x1, y1."""
    outer = patient.chest + 0.05
    return side * 0.08, patient.clavicle, side * outer, patient.clavicle - patient.clavicle_slope


def _vessels(sheet: Sheet) -> None:
    """Vessels that spread from the roots of the lungs."""
    rng = np.random.default_rng(sheet.patient.vessels)
    pattern = sheet.texture(rng, 22) + 0.6 * sheet.texture(rng, 11)
    near = np.exp(-((np.abs(sheet.x) - 0.2) ** 2) / 0.10 - (sheet.y + 0.02) ** 2 / 0.16)
    sheet.light += sheet.lungs * (0.08 * near + 0.018) * pattern


def _exposed(sheet: Sheet, rng: np.random.Generator, *, lying: bool) -> np.ndarray:
    """The picture as the detector saw it: contrast, darkness, scatter, grain, side marker."""
    light = sheet.light
    contrast = rng.uniform(0.70, 1.12) * (0.88 if lying else 1.0)
    light = 0.5 + contrast * (light - 0.5) + rng.normal(0, 0.06) + 0.03 * lying
    light = light + 0.05 * rng.normal() * sheet.x + 0.03 * sheet.texture(rng, 3)
    x, y = _coordinates(sheet.size)
    if rng.random() < 0.7:
        marker = np.maximum(np.abs(x - rng.choice([-0.86, 0.86])), np.abs(y + rng.uniform(0.80, 0.9))) < 0.045
        light = np.where(marker, 0.95, light)
    light = np.clip(light, 0, 1) ** rng.uniform(0.75, 1.35)
    grain = rng.uniform(0.012, 0.035) * rng.standard_normal(light.shape, dtype=np.float32)
    return np.clip(light + grain, 0, 1).astype(np.float32)
