"""Makes a volume of the slices of a scan, or says why they make none: a gap, a tilted gantry, a slice too many."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy.ndimage import shift

from headwater.core.errors import UserError
from headwater.data.io.frames import read_frames
from headwater.data.io.limits import MOST_VOXELS
from headwater.data.io.series import Series
from headwater.data.io.volumes import Volume
from headwater.study.ct_windows import AIR


def read_slices(series: Series) -> Iterator[np.ndarray]:
    """The slices of a series in their order: float32 (rows, columns), measured values; geometry is not asked for."""
    path, frames = None, None
    for one in series.slices:
        if one.file != path:
            path, frames = one.file, read_frames(one.file)
        yield frames.pixels[one.frame]


def read_volume(
    series: Series,
    *,
    gaps: Literal["refuse", "resample"] = "refuse",
    tilt: Literal["refuse", "resample"] = "refuse",
    step: float | None = None,
    outside: float = AIR,
) -> Volume:
    """A series as one volume, slices in the order of the normal.

    Slices at uneven distances, one missing among them, are refused, or resampled along the normal: linearly, every
    `step` millimetres, by default the median distance. Slices that do not lie behind each other, as of a tilted gantry,
    are refused, or moved behind the middle one: linearly within each slice, with `outside` where there was nothing.
    """
    _refuse_no_stack(series)
    if not series.is_straight and tilt == "refuse":
        _refuse_tilt(series)
    if not series.is_even and gaps == "refuse":
        _refuse_gaps(series)
    straight = series.is_straight
    voxels = np.empty((len(series.slices), *series.slices[0].shape), np.float32)
    for number, (one, by) in enumerate(zip(read_slices(series), series.offsets, strict=True)):
        voxels[number] = one if straight else shift(one, by, order=1, cval=outside)
    heights = series.heights
    if not series.is_even or step is not None:
        heights = _even(series, step=step)
        voxels = _interpolated(voxels, heights=series.heights, wanted=heights)
    return Volume(voxels, _affine(series, heights), series.unit)


def _refuse_no_stack(series: Series) -> None:
    """Refuse what is no stack of slices, whatever is resampled."""
    file = series.slices[0].file
    if len(series.slices) == 1:
        raise UserError("is the only slice of its series", file=file, remedy="a volume takes two or more; read slices")
    if series.repeated:
        first = int(np.diff(series.heights).argmin())
        both = f"lies where {series.slices[first + 1].file.name} lies ({series.repeated} such slices)"
        nameless = f"slices that lie where another lies: {series.repeated}"
        remedy = "nothing tells them apart; take one of each out"
        raise UserError(both, file=series.slices[first].file, remedy=remedy, nameless=nameless)
    if len(series.slices) * np.prod(series.slices[0].shape) > MOST_VOXELS:
        raise UserError(f"belongs to a series of {len(series.slices)} slices, too many for one volume", file=file)


def _refuse_tilt(series: Series) -> None:
    """Refuse slices that do not lie behind each other."""
    what = f"begins a series whose slices do not lie behind each other: tilted by {series.tilt:.1f} degrees"
    remedy = "move them by tilt='resample', or read slices"
    raise UserError(what, file=series.slices[0].file, remedy=remedy, nameless="slices do not lie behind each other")


def _refuse_gaps(series: Series) -> None:
    """Refuse slices at uneven distances, by the first that is out of step."""
    distances = np.diff(series.heights)
    usual = float(np.median(distances))
    after = int(abs(distances - usual).argmax())
    what = (
        f"is followed by a step of {distances[after]:.2f} mm, where the series has {usual:.2f} mm as a rule "
        f"({series.slices[after + 1].file.name} is next)"
    )
    remedy = "fetch what is missing, or resample by gaps='resample', or read slices"
    raise UserError(what, file=series.slices[after].file, remedy=remedy, nameless="slices at uneven distances")


def _even(series: Series, *, step: float | None) -> np.ndarray:
    """Heights at even distances, from the first slice as far as the last."""
    wide = float(np.median(np.diff(series.heights))) if step is None else step
    if not np.isfinite(wide) or wide <= 0:
        raise ValueError(f"a step of {wide} mm")
    many = int(np.ptp(series.heights) / wide + 1e-6) + 1
    if many < 2:
        raise ValueError(f"a step of {wide} mm, wider than the series")
    if many * np.prod(series.slices[0].shape) > MOST_VOXELS:
        what = f"would take {many} slices at a step of {wide:g} mm"
        raise UserError(what, file=series.slices[0].file, remedy="its positions may be wrong; take a wider step")
    return series.heights[0] + np.arange(many) * wide


def _interpolated(voxels: np.ndarray, *, heights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Slices at the wanted heights, each from its two neighbours by their nearness."""
    lower = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    share = ((wanted - heights[lower]) / (heights[lower + 1] - heights[lower])).astype(np.float32)
    made = np.empty((len(wanted), *voxels.shape[1:]), np.float32)
    for number, (below, part) in enumerate(zip(lower, share, strict=True)):
        made[number] = voxels[below] * (1 - part) + voxels[below + 1] * part
    return made


def _affine(series: Series, heights: np.ndarray) -> np.ndarray:
    """Where the voxels of straight slices at even heights lie."""
    place = series.slices[len(series.slices) // 2].place
    affine = np.eye(4)
    affine[:3, 0] = place.normal * (heights[-1] - heights[0]) / max(1, len(heights) - 1)
    affine[:3, 1] = place.orientation[1] * place.spacing[0]
    affine[:3, 2] = place.orientation[0] * place.spacing[1]
    affine[:3, 3] = place.position + place.normal * (heights[0] - place.position @ place.normal)
    return affine
