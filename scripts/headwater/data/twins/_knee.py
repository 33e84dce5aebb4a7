"""A synthetic knee as MR shows it: ends of femur and tibia, patella, their cartilage, and two menisci.

Its shape is made of ellipsoids and allows no conclusion about patients. Axes are (x, y, z): x grows from the medial to
the lateral side, y to the front, z to the head, each from -1 to 1 over the field of view.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

STRUCTURES = (
    "Femoral cartilage",
    "Lateral tibial cartilage",
    "Medial tibial cartilage",
    "Patellar cartilage",
    "Lateral meniscus",
    "Medial meniscus",
)
"""The structures in the order of their values in masks."""

FEMORAL, LATERAL, MEDIAL, PATELLAR, LATERAL_MENISCUS, MEDIAL_MENISCUS = range(1, 7)

MUSCLE, MARROW, CARTILAGE, MENISCUS, FLUID = 0.42, 0.2, 0.72, 0.08, 0.95
"""Brightness; the signal of fat is suppressed, so that marrow is dark."""

JOINT = -0.1
"""The height of the joint."""

CONDYLES = (-0.34, 0.34)
"""Where the medial and the lateral half of the joint are."""


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The shape of a knee."""

    size: float
    """of the bones, about 1"""
    cartilage: float
    """thickness in voxels of the plane of slices"""
    spurs: float
    """radius of the bony spurs at the margins of the joint, in the units of the axes"""
    shift: tuple[float, float, float]
    """where in the field of view"""


def drawn(
    shape: tuple[int, int, int], knee: Knee, *, tissue: np.random.Generator, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(values float64 from 0 to 1, label map uint8 of STRUCTURES), both (x, y, z).

    `tissue`: random numbers of the participant, the same at each visit; `rng`: those of the series.
    """
    axes = np.meshgrid(*((np.arange(side) + 0.5) * 2 / side - 1 for side in shape), indexing="ij", sparse=True)
    x, y, z = ((axis - at) / knee.size for axis, at in zip(axes, knee.shift, strict=True))
    thick = knee.cartilage * 2 / shape[1] / knee.size
    femur, shell = _femur(x, y, z, thick=0.0), _femur(x, y, z, thick=thick)
    top = JOINT - 2 * thick
    plateau = _within((x / 0.72) ** 2 + (y / 0.5) ** 2)
    shaft = _within((x / 0.4) ** 2 + (y / 0.4) ** 2)
    tibia = (plateau & (z < top) & (z > top - 0.3)) | (shaft & (z <= top - 0.3))
    patella = _ball(x, y, z, at=(0, 0.78, 0.28), radii=(0.26, 0.12, 0.24))
    labels = np.zeros(shape, np.uint8)
    for side, cartilage, meniscus in zip(CONDYLES, (MEDIAL, LATERAL), (MEDIAL_MENISCUS, LATERAL_MENISCUS), strict=True):
        ring = ((x - side) / 0.32) ** 2 + (y / 0.44) ** 2
        layer = (z >= top) & (z < top + thick)
        labels[layer & (ring < 0.8)] = cartilage
        labels[(z >= top + thick) & (z < top + 2.5 * thick) & (ring >= 0.45) & (ring < 1.1)] = meniscus
    # what touches a meniscus or the patella is the femur's own
    labels[shell & ~femur & (z < 0.45)] = FEMORAL
    behind = _ball(x, y, z, at=(0, 0.78 - thick, 0.28), radii=(0.24, 0.12, 0.22))
    labels[behind & ~patella & ~shell] = PATELLAR
    bone = femur | tibia | patella
    for side in (-1, 1):
        bone |= _ball(x, y, z, at=(side * 0.72, 0, JOINT), radii=(knee.spurs + 1e-9,) * 3)
    labels[bone] = 0
    joint = _ball(x, y, z, at=(0, 0, JOINT), radii=(0.8, 0.6, 0.2))
    return _seen(labels, bone, joint=joint, tissue=tissue, rng=rng), labels


def _femur(x: np.ndarray, y: np.ndarray, z: np.ndarray, *, thick: float) -> np.ndarray:
    """Where the femur is, with a layer on its condyles."""
    ends = [
        _ball(x, y, z, at=(side, -0.03, 0.24), radii=(0.34 + thick, 0.42 + thick, 0.34 + thick)) for side in CONDYLES
    ]
    shaft = _within((x / 0.36) ** 2 + (y / 0.32) ** 2) & (z > 0.24)
    return ends[0] | ends[1] | shaft


def _ball(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, *, at: tuple[float, ...], radii: tuple[float, ...]
) -> np.ndarray:
    """Where an ellipsoid is."""
    return _within(
        sum(((axis - place) / radius) ** 2 for axis, place, radius in zip((x, y, z), at, radii, strict=True))
    )


def _within(distance: np.ndarray) -> np.ndarray:
    """Where a squared distance is at most 1."""
    return distance <= 1


def _seen(
    labels: np.ndarray,
    bone: np.ndarray,
    *,
    joint: np.ndarray,
    tissue: np.random.Generator,
    rng: np.random.Generator,
) -> np.ndarray:
    """What MR shows: muscle of its own texture, fluid in the joint, shading and noise."""
    texture = gaussian_filter(tissue.normal(size=labels.shape), 1.5)
    muscle = np.clip(MUSCLE + 0.06 * texture / texture.std(), 0.25, 0.55)
    values = np.where(joint, FLUID * muscle / MUSCLE * 0.6, muscle)
    values = np.where(bone, MARROW + (muscle - MUSCLE) / 2, values)
    values = np.where(labels > 0, CARTILAGE, values)
    values = np.where(labels >= LATERAL_MENISCUS, MENISCUS, values)
    axes = np.meshgrid(*(np.linspace(-1, 1, side) for side in labels.shape), indexing="ij", sparse=True)
    shading = 1 + sum(rng.uniform(-0.1, 0.1) * axis for axis in axes)
    return np.clip(values * shading + rng.normal(0, 0.03, labels.shape), 0.001, 1)
