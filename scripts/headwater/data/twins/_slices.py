"""Synthetic CT slices as images: an axial slice of a chest with or without ground glass opacities, or one organ.

Brightness ranges from 0 (air, black) to 1 (bone, white).
"""

import zlib
from dataclasses import dataclass

import numpy as np

from headwater.data.twins._anatomy import LEFT, RIGHT, coordinates


@dataclass(frozen=True, kw_only=True)
class Organ:
    """The appearance of an organ in a sagittal slice."""

    width: float
    height: float
    light: float
    tilt: float = 0.0
    """Tilt of its long axis in radians."""
    grain: float = 0.02
    """Amplitude of its texture."""


def rng_of(archive: str, *, seed: int, number: int) -> np.random.Generator:
    """Random numbers of one patient, the same for the same archive, seed and number."""
    return np.random.default_rng([zlib.crc32(archive.encode()), seed, number])


def chest(rng: np.random.Generator, *, patches: float, nodule: float, size: int) -> np.ndarray:
    """A slice through the lungs, float32 (size, size); patches of ground glass and a nodule of strengths 0 to 1."""
    x, y = coordinates(size)
    x, y = x - rng.normal(0, 0.04), y - rng.normal(0, 0.04)
    light = 0.02 + 0.5 * _ellipse(x, y, 0.92, 0.70)
    for side in (RIGHT, LEFT):
        lung = _ellipse(x - side * 0.42, y + 0.03, 0.33, 0.48)
        inside = 0.09 + 0.05 * _bumps(rng, size, cells=max(4, size // 4))
        for _ in range(3):
            # ground glass opacities of COVID-19 are mostly subpleural
            angle, spread = rng.uniform(-2.2, 2.2), rng.uniform(0.10, 0.20)
            place = side * (0.42 + 0.22 * np.cos(angle)), -0.03 + 0.36 * np.sin(angle)
            inside = inside + 0.32 * patches * _spot(x, y, *place, spread)
        inside = inside + 0.5 * nodule * _spot(x, y, side * 0.45, rng.uniform(-0.3, 0.2), 0.07)
        light = light * (1 - lung) + inside * lung
    light = np.maximum(light, 0.62 * _ellipse(x - 0.07, y + 0.08, 0.19, 0.26))
    light = np.maximum(light, 0.92 * _ellipse(x, y - 0.46, 0.10, 0.13))
    return _taken(light, rng)


def organ(rng: np.random.Generator, looks: Organ, *, size: int) -> np.ndarray:
    """A crop around one organ, float32 (size, size)."""
    x, y = coordinates(size)
    x, y = x - rng.normal(0, 0.06), y - rng.normal(0, 0.06)
    tilt, zoom = looks.tilt + rng.normal(0, 0.12), rng.uniform(0.85, 1.15)
    along, across = (x * np.cos(tilt) + y * np.sin(tilt)) * zoom, (y * np.cos(tilt) - x * np.sin(tilt)) * zoom
    inside = _ellipse(along, across, looks.width, looks.height)
    around = 0.38 + 0.10 * _bumps(rng, size, cells=6)
    light = around * (1 - inside) + (looks.light + looks.grain * _bumps(rng, size, cells=max(4, size // 3))) * inside
    return _taken(light, rng)


def _ellipse(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """1 inside, 0 outside, with an edge about a pixel wide."""
    return np.clip((1 - np.hypot(x / width, y / height)) * len(x) / 4 + 0.5, 0, 1)


def _spot(x: np.ndarray, y: np.ndarray, at_x: float, at_y: float, width: float) -> np.ndarray:
    """A bell-shaped spot."""
    return np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / width**2)


def _bumps(rng: np.random.Generator, size: int, *, cells: int) -> np.ndarray:
    """Blocks of noise (size, size) of mean 0 and standard deviation 1, `cells` x `cells` of them."""
    place = np.arange(size) * cells // size
    return rng.standard_normal((cells, cells))[np.ix_(place, place)]


def _taken(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The slice after acquisition: contrast, brightness, noise."""
    light = 0.5 + rng.uniform(0.8, 1.05) * (light - 0.5) + rng.normal(0, 0.03)
    return np.clip(light + rng.normal(0, rng.uniform(0.01, 0.03), light.shape), 0, 1).astype(np.float32)
