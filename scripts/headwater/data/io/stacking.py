"""Stacks the slices of a scan into a volume, or refuses them: gaps, a tilted gantry, two slices at one position."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy.ndimage import shift

from headwater.core.errors import UserError
from headwater.data.io.diffusion import is_weighted
from headwater.data.io.frames import read_frames
from headwater.data.io.limits import MOST_VOXELS
from headwater.data.io.series import Series
from headwater.data.io.volumes import Volume
from headwater.study.ct_windows import AIR


def read_slices(series: Series) -> Iterator[np.ndarray]:
    """The slices of a series in their order: float32 (rows, columns), measured values; gaps and tilt do not matter."""
    path, frames = None, None
    for slice_ in series.slices:
        # frames of one file follow each other, so that it is read once
        if slice_.file != path:
            path, frames = slice_.file, read_frames(slice_.file)
        yield frames.pixels[slice_.frame]


def read_volume(
    series: Series,
    *,
    gaps: Literal["refuse", "resample"] = "refuse",
    tilt: Literal["refuse", "resample"] = "refuse",
    step: float | None = None,
    outside: float = AIR,
) -> Volume:
    """A series as one volume, slices in the order of the normal.

    Slices at uneven distances, as when one is missing, are refused or resampled along the normal: linearly, every
    `step` millimetres, by default the median distance. Slices with differing in-plane offsets, as from a tilted gantry,
    are refused or shifted to the offset of the middle slice: linearly, with `outside` where there are no values.
    """
    _refuse_no_stack(series)
    if not series.is_straight and tilt == "refuse":
        _refuse_tilt(series)
    if not series.is_even and gaps == "refuse":
        _refuse_gaps(series)
    straight = series.is_straight
    voxels = np.empty((len(series.slices), *series.slices[0].shape), np.float32)
    for number, (pixels, offset) in enumerate(zip(read_slices(series), series.offsets, strict=True)):
        # only interpolated if needed, because it smooths
        voxels[number] = pixels if straight else shift(pixels, offset, order=1, cval=outside)
    heights = series.heights
    if not series.is_even or step is not None:
        heights = _even(series, step=step)
        voxels = _interpolated(voxels, heights=series.heights, wanted=heights)
    return Volume(voxels, _affine(series, heights), series.unit)


def _refuse_no_stack(series: Series) -> None:
    """Refuse slices that make no volume even after resampling."""
    file = series.slices[0].file
    if len(series.slices) == 1:
        raise UserError("is the only slice of its series", file=file, remedy="a volume needs two or more; read slices")
    if series.repeated:
        first = int(np.diff(series.heights).argmin())
        what = f"has the same position as {series.slices[first + 1].file.name} ({series.repeated} such slices)"
        nameless = f"slices at the same position as another: {series.repeated}"
        remedy = "no element distinguishes them; remove one of each pair"
        if any(is_weighted(slice_.distinction[0]) for slice_ in series.slices):
            what, nameless = f"is of a diffusion series and {what}", f"diffusion series; {nameless}"
            remedy = "neither b-value nor direction distinguishes them; sort it into volumes, for example with dcm2niix"
        raise UserError(what, file=series.slices[first].file, remedy=remedy, nameless=nameless)
    if len(series.slices) * np.prod(series.slices[0].shape) > MOST_VOXELS:
        raise UserError(f"belongs to a series of {len(series.slices)} slices, too many for one volume", file=file)


def _refuse_tilt(series: Series) -> None:
    """Refuse slices with differing in-plane offsets."""
    what = f"begins a series whose slices are offset in plane: tilted by {series.tilt:.1f} degrees"
    remedy = "resample it with tilt='resample', or read slices"
    raise UserError(what, file=series.slices[0].file, remedy=remedy, nameless="slices are offset in plane")


def _refuse_gaps(series: Series) -> None:
    """Refuse slices at uneven distances, naming the largest deviation."""
    distances = np.diff(series.heights)
    usual = float(np.median(distances))
    after = int(abs(distances - usual).argmax())
    what = (
        f"is followed by a gap of {distances[after]:.2f} mm, where the series usually has {usual:.2f} mm "
        f"({series.slices[after + 1].file.name} is next)"
    )
    remedy = "fetch the missing slices, resample with gaps='resample', or read slices"
    raise UserError(what, file=series.slices[after].file, remedy=remedy, nameless="slices at uneven distances")


def _even(series: Series, *, step: float | None) -> np.ndarray:
    """Evenly spaced heights from the first slice to the last."""
    distance = float(np.median(np.diff(series.heights))) if step is None else step
    if not np.isfinite(distance) or distance <= 0:
        raise ValueError(f"a step of {distance} mm")
    # the small number keeps the last slice where rounding leaves the quotient just below a whole number
    many = int(np.ptp(series.heights) / distance + 1e-6) + 1
    if many < 2:
        raise ValueError(f"a step of {distance} mm, wider than the series")
    if many * np.prod(series.slices[0].shape) > MOST_VOXELS:
        what = f"would take {many} slices at a step of {distance:g} mm"
        raise UserError(what, file=series.slices[0].file, remedy="its positions may be wrong; take a wider step")
    return series.heights[0] + np.arange(many) * distance


def _interpolated(voxels: np.ndarray, *, heights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Slices at the wanted heights, interpolated linearly between the two nearest."""
    # clipped, so that the last height too lies between two slices
    lower = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    share = ((wanted - heights[lower]) / (heights[lower + 1] - heights[lower])).astype(np.float32)
    resampled = np.empty((len(wanted), *voxels.shape[1:]), np.float32)
    for number, (below, part) in enumerate(zip(lower, share, strict=True)):
        resampled[number] = voxels[below] * (1 - part) + voxels[below + 1] * part
    return resampled


def _affine(series: Series, heights: np.ndarray) -> np.ndarray:
    """The affine (4, 4) of slices without offsets at evenly spaced heights."""
    # the middle slice is the one that the others were shifted to
    place = series.slices[len(series.slices) // 2].place
    affine = np.eye(4)
    affine[:3, 0] = place.normal * (heights[-1] - heights[0]) / max(1, len(heights) - 1)
    affine[:3, 1] = place.orientation[1] * place.spacing[0]
    affine[:3, 2] = place.orientation[0] * place.spacing[1]
    affine[:3, 3] = place.position + place.normal * (heights[0] - place.position @ place.normal)
    return affine
