"""A synthetic patient's chest: its dimensions, and the sheet on which its outlines and shapes are drawn.

Lengths are in units of half the image's width; x increases to the right of the image (the patient's left), y downwards.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RIGHT, LEFT = -1, 1
"""The patient's sides, as the sign of x in the image."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """The dimensions that all images of a patient share."""

    chest: float
    """Half-width of the rib cage."""
    apex: float
    """y of the lungs' tops."""
    dome: float
    """y of the right half of the diaphragm."""
    left_lower: float
    """How much lower the left half of the diaphragm lies."""
    curvature: float
    """How strongly the diaphragm is domed."""
    mediastinum: float
    """Half-width of the mediastinum."""
    heart: float
    """Half-width of the heart."""
    knob: float
    """Radius of the aortic arch's outline."""
    artery: float
    """Radius of the pulmonary artery's outline."""
    shift: float = 0.0
    """How far heart and mediastinum are shifted to the right of the image."""
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
    """y of the clavicles' inner ends."""
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
    """An image while it is drawn: coordinates, the lungs' outlines, and `light`, the brightness so far."""

    def __init__(self, patient: Anatomy, *, size: int, tilt: float, shift: tuple[float, float], zoom: float):
        self.patient = patient
        self.size = size
        x, y = coordinates(size)
        # the exposure moves the coordinates instead of the patient, so that shapes are drawn without resampling
        self.x = ((x * np.cos(tilt) + y * np.sin(tilt)) * zoom - shift[0]).astype(np.float32)
        self.y = ((y * np.cos(tilt) - x * np.sin(tilt)) * zoom - shift[1]).astype(np.float32)
        # the width of an edge: 2.5 in units of half the image is a little more than a pixel (2 / size)
        self.soft = 2.5 / size
        self.heart = self._heart()
        self.lung = {side: self.lung_within(side, 0.0) for side in (RIGHT, LEFT)}
        self.lungs = self.lung[RIGHT] + self.lung[LEFT]
        self.light = np.zeros((size, size), np.float32)

    def step(self, distance: np.ndarray, blur: float = 1.0) -> np.ndarray:
        """0 where `distance` is negative, 1 where it is positive, with an edge about a pixel wide (times `blur`)."""
        edge = np.clip(distance / (self.soft * blur) + 0.5, 0, 1)
        # smoothstep, which has no kinks
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
        """y of one half of the diaphragm at each x."""
        patient = self.patient
        top = patient.dome + (patient.left_lower if side == LEFT else 0.0) - patient.raised[side == LEFT]
        return top + patient.curvature * (self.x - side * 0.48 * patient.chest) ** 2

    def lung_within(self, side: int, margin: float) -> np.ndarray:
        """One lung's mask (0 to 1), with its outer wall and top moved inwards by `margin`."""
        patient = self.patient
        inner = patient.shift + side * patient.mediastinum * (0.75 + 0.35 * (self.y > 0))
        width, middle, height = patient.chest - margin, 0.1, 0.1 - patient.apex - margin
        above = np.minimum(self.y - middle, 0) / height
        flank = 1 + 0.10 * np.maximum(self.y - middle, 0)
        wall = 1 - ((np.abs(self.x) / (width * flank)) ** 2 + np.abs(above) ** 2.2)
        outline = self.step(wall * 0.4) * self.step(side * (self.x - inner), 2.0)
        return outline * self.step(self.dome(side) - self.y) * (1 - self.heart)

    def place_in_lung(self, rng: np.random.Generator, side: int, top: float = -0.5, low: float = 0.2) -> tuple:
        """A point inside one lung between two values of y."""
        y = rng.uniform(top, low)
        # lungs are narrower at the top
        width = self.patient.chest * (0.86 if y > -0.3 else 0.66)
        return side * rng.uniform(0.42, 0.85) * width, y

    def texture(self, rng: np.random.Generator, cells: int) -> np.ndarray:
        """Smooth noise of mean about 0 and standard deviation about 0.6, from a grid of `cells` x `cells` values."""
        weights = _interpolation(self.size, cells)
        return weights @ rng.standard_normal((cells, cells)).astype(np.float32) @ weights.T

    def _heart(self) -> np.ndarray:
        """The heart's mask (0 to 1): a tilted ellipse for the ventricles, an upright one for the right atrium."""
        patient = self.patient
        x, y = self.x - patient.shift - 0.30 * patient.heart, self.y - patient.dome + 0.17
        tilted, upright = x * 0.80 + y * 0.60, y * 0.80 - x * 0.60
        ventricle = 1 - np.hypot(tilted / (patient.heart * 1.30), upright / (0.13 + 0.42 * patient.heart))
        atrium = 1 - np.hypot((x + 0.72 * patient.heart) / (0.62 * patient.heart), (y + 0.02) / 0.28)
        return np.maximum(self.step(ventricle * 0.3, 2.0), self.step(atrium * 0.2, 2.0))


@lru_cache
def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of each pixel, (size, size) each, from -1 to 1."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * 2 / size - 1
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


@lru_cache
def _interpolation(size: int, cells: int) -> np.ndarray:
    """Weights that interpolate `cells` values at `size` pixels: (size, cells)."""
    place = (np.arange(size) + 0.5) / size * cells - 0.5
    near = np.clip(1 - np.abs(place[:, None] - np.arange(cells)), 0, 1)
    return (near * near * (3 - 2 * near)).astype(np.float32)


def clavicle(patient: Anatomy, side: int) -> tuple[float, float, float, float]:
    """The inner and outer end of one clavicle: x0, y0, x1, y1."""
    outer = patient.chest + 0.05
    return side * 0.08, patient.clavicle, side * outer, patient.clavicle - patient.clavicle_slope
