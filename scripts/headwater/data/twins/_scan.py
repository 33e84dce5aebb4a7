"""Synthetic CT: trunks with lungs, heart, spine and ribs, heads with skull and ventricles, in Hounsfield units.

Neighbouring slices differ little, as in patients, so that a reduction finds similar slices.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

AIR, LUNG, FAT, SOFT, BLOOD, LIVER, BONE = -1000, -850, -100, 40, 65, 60, 500
"""Hounsfield units of tissues."""

GRAIN = 8
"""Standard deviation of the noise in Hounsfield units."""


@dataclass(frozen=True, kw_only=True)
class Body:
    """The dimensions that all slices of a patient share."""

    width: float
    depth: float
    lungs: float
    heart: float
    vertebrae: float
    """Number of vertebrae in the scan."""
    turned: float
    aside: tuple[float, float]
    """Position of the patient's centre, across and down."""
    table: float
    """Distance of the table below the patient."""


def body(rng: np.random.Generator) -> Body:
    """The dimensions of one patient."""
    return Body(
        width=rng.uniform(0.75, 0.92),
        depth=rng.uniform(0.50, 0.68),
        lungs=rng.uniform(0.85, 1.1),
        heart=rng.uniform(0.16, 0.24),
        vertebrae=rng.uniform(5, 9),
        turned=rng.uniform(-0.2, 0.2),
        aside=(rng.uniform(-0.1, 0.1), rng.uniform(-0.12, 0.04)),
        table=rng.uniform(0.02, 0.12),
    )


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """The lesion of a finding: its location and size."""

    centre: float
    """Height of its centre, from 0 (feet) to 1 (head)."""
    reach: float
    """Its extent above and below the centre."""
    side: int
    """-1 on the right, 1 on the left."""
    size: float

    def share(self, height: float) -> float:
        """Its relative radius in a slice, from 0 to 1: a circle's chord at that height."""
        return float(np.sqrt(max(0.0, 1 - ((height - self.centre) / self.reach) ** 2)))


def draw(
    height: float, *, part: str, who: Body, lesions: Mapping[str, Lesion], size: int, rng: np.random.Generator
) -> np.ndarray:
    """One slice of a trunk or a head: int16 (size, size), rows to the back, columns to the patient's left."""
    x, y = _grid(size, who)
    values = _trunk(x, y, height, who) if part == "trunk" else _head(x, y, height, who)
    for looks, lesion in lesions.items():
        share = lesion.share(height)
        if share > 0:
            LOOKS[looks](values, x, y, share, lesion)
    return np.rint(values + rng.normal(0, GRAIN, values.shape)).astype(np.int16)


def _grid(size: int, who: Body) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows from -1 to 1, shifted and rotated as the patient lies on the table."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    x, y = x - who.aside[0], y - who.aside[1]
    return x * np.cos(who.turned) - y * np.sin(who.turned), x * np.sin(who.turned) + y * np.cos(who.turned)


def _on_table(values: np.ndarray, y: np.ndarray, *, depth: float, who: Body) -> None:
    """Draw the table below a patient of that depth."""
    # only in air, so that it does not cut through a patient who lies rotated
    values[(abs(y - depth - who.table - 0.03) < 0.03) & (values == AIR)] = SOFT


def _inside(x: np.ndarray, y: np.ndarray, *, at: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Whether each pixel is inside an ellipse."""
    return ((x - at[0]) / radii[0]) ** 2 + ((y - at[1]) / radii[1]) ** 2 <= 1


def _trunk(x: np.ndarray, y: np.ndarray, height: float, who: Body) -> np.ndarray:
    """A slice of a trunk: from the liver to the tops of the lungs."""
    narrow = 1 - 0.15 * height
    width, depth = who.width * narrow, who.depth * narrow
    values = np.full(x.shape, float(AIR))
    values[_inside(x, y, at=(0, 0), radii=(width, depth))] = FAT
    values[_inside(x, y, at=(0, 0), radii=(0.92 * width, 0.9 * depth))] = SOFT
    edge = np.hypot(x / width, y / depth)
    ribs = (abs(edge - 0.86) < 0.03) & (np.cos(9 * np.arctan2(y, x) + 12 * height) > 0.5)
    lung = who.lungs * np.sqrt(max(0.0, 1 - ((height - 0.6) / 0.5) ** 2))
    for side in (-1, 1):
        if lung > 0.05:
            values[_inside(x, y, at=(side * 0.43 * width, 0.0), radii=(0.34 * width * lung, 0.7 * depth * lung))] = LUNG
    beat = max(0.0, 1 - ((height - 0.5) / 0.25) ** 2)
    if beat:
        values[_inside(x, y, at=(0.1, -0.1), radii=(1.3 * who.heart * beat, who.heart * beat))] = BLOOD
    if height < 0.3:
        values[_inside(x, y, at=(-0.35 * width, 0), radii=(0.45 * width, 0.6 * depth))] = LIVER
    values[ribs] = BONE
    dense = BONE * (0.75 + 0.25 * np.cos(2 * np.pi * who.vertebrae * height))
    values[_inside(x, y, at=(0, 0.62 * depth), radii=(0.13, 0.13))] = dense
    _on_table(values, y, depth=who.depth, who=who)
    return values


def _head(x: np.ndarray, y: np.ndarray, height: float, who: Body) -> np.ndarray:
    """A slice of a head: from the base of the skull to its top."""
    wide = np.sqrt(1 - (0.9 * (height - 0.35)) ** 2)
    width, depth = 0.82 * who.width * wide, (0.6 + 0.4 * who.depth) * wide
    values = np.full(x.shape, float(AIR))
    values[_inside(x, y, at=(0, 0), radii=(width, depth))] = SOFT
    values[_inside(x, y, at=(0, 0), radii=(0.95 * width, 0.96 * depth))] = 2 * BONE
    values[_inside(x, y, at=(0, 0), radii=(0.84 * width, 0.87 * depth))] = 35
    hollow = max(0.0, 1 - ((height - 0.5) / 0.3) ** 2)
    for side in (-1, 1):
        if hollow:
            values[_inside(x, y, at=(side * 0.12, -0.05), radii=(0.07 * hollow, 0.3 * hollow))] = 8
    if height < 0.25:
        values[_inside(x, y, at=(0, -0.45 * depth), radii=(0.3 * width, 0.15))] = LUNG
    _on_table(values, y, depth=0.6 + 0.4 * who.depth, who=who)
    return values


def _mass(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A round mass in one lung."""
    radius = (0.08 + 0.1 * lesion.size) * share
    values[_inside(x, y, at=(0.36 * lesion.side, 0.05), radii=(radius, radius))] = SOFT


def _nodes(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A chain of swollen nodes between and beside the lungs."""
    radius = (0.04 + 0.05 * lesion.size) * share
    for number in range(-2, 3):
        values[_inside(x, y, at=(0.13 * number, -0.32), radii=(radius, 1.3 * radius))] = BLOOD + 20


def _scattered(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """Small nodules in both lungs."""
    radius = (0.025 + 0.02 * lesion.size) * share
    for number in range(8):
        angle = number * 2.4
        at = ((0.36 + 0.1 * np.cos(angle)) * (-1) ** number, 0.2 * np.sin(angle))
        values[_inside(x, y, at=at, radii=(radius, radius))] = SOFT


def _within(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A round haemorrhage in the brain."""
    radius = (0.08 + 0.08 * lesion.size) * share
    values[_inside(x, y, at=(0.28 * lesion.side, 0.15), radii=(radius, 1.2 * radius))] = BLOOD + 5


def _in_ventricles(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """Blood in both ventricles."""
    for side in (-1, 1):
        values[_inside(x, y, at=(side * 0.12, -0.02), radii=(0.07 * share, 0.28 * share))] = BLOOD


def _along_skull(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A thin crescent of blood along one half of the skull."""
    edge = np.hypot(x / 0.52, y / 0.75)
    ring = (abs(edge - 1) < 0.04 + 0.08 * lesion.size * share) & (np.sign(x) == lesion.side) & (values < 2 * BLOOD)
    values[ring & (values > 0)] = BLOOD


def _lens(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A lens of blood between skull and brain."""
    lens = _inside(x, y, at=(0.5 * lesion.side, -0.3), radii=((0.08 + 0.08 * lesion.size) * share, 0.25 * share))
    values[lens & (values > 0) & (values < 2 * BLOOD)] = BLOOD + 10


def _furrows(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """Blood in the sulci of the brain, drawn as a star."""
    rays = (np.cos(7 * np.arctan2(y, x)) > 0.95) & (np.hypot(x, y) < (0.3 + 0.2 * lesion.size) * share)
    values[rays & (values > 0) & (values < 2 * BLOOD)] = BLOOD


def _broken(values: np.ndarray, x: np.ndarray, y: np.ndarray, share: float, lesion: Lesion) -> None:
    """A gap in the skull."""
    beside = (lesion.side * x > 0) & (abs(y + 0.1) < (0.05 + 0.08 * lesion.size) * share)
    values[beside & (values > BONE)] = SOFT


LOOKS = {
    "lung mass": _mass,
    "swollen nodes": _nodes,
    "scattered nodules": _scattered,
    "bleeding in the brain": _within,
    "bleeding into the ventricles": _in_ventricles,
    "bleeding below the dura": _along_skull,
    "bleeding outside the dura": _lens,
    "bleeding into the furrows": _furrows,
    "broken skull": _broken,
}
"""The function that draws each appearance."""
