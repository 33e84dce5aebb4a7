"""Views of volumes: the random changes of pictures in three dimensions, for an image and its mask by one grid.

Lengths are millimetres, so that a rotation is rigid where voxels are no cubes. Grey values have no fixed range, since
z-scores have none: changes of brightness and contrast, and noise, are in units of the range that the patch itself has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import UserError
from headwater.data.volumes import UNKNOWN
from headwater.study.idle_keys import changed
from headwater.study.recipe import OF_PICTURES, Views
from headwater.training.views import elastic
from headwater.training.views.draws import normal, uniform, uniforms
from headwater.training.views.pictures import BLUR, SHAPES

DRAWS = 32
"""How many random numbers one call of `augment` may use, starting at its `first_draw`."""

WINDOW_DRAWS = 3
"""How many random numbers one call of `window` uses."""

ELASTIC = 22
"""The draw of the elastic deformation, after those of all else."""

COARSEST = 0.5
"""The smallest share of its voxels along each axis that a view of low resolution keeps (nnU-Net, supplement 4)."""

AT_ONCE = 8
"""Labels whose shares are sampled together: each takes as much memory as the patch itself."""

AXES = "xyz"
"""The axes of a volume in canonical orientation, which grow to the right, to the front and to the head."""

Sides = Sequence[int]


@dataclass(frozen=True)
class Patches:
    """Parts of volumes or of masks, (batch, ..., x, y, z), and the millimetres between their voxels (batch, 3)."""

    values: Tensor
    spacing: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> "Patches":
        """Some of them."""
        return Patches(self.values[rows], self.spacing[rows])

    def to(self, device: torch.device, *, non_blocking: bool = False) -> "Patches":
        """The same on a device."""
        return Patches(*(tensor.to(device, non_blocking=non_blocking) for tensor in (self.values, self.spacing)))


def as_float(patches: Patches) -> Patches:
    """Patches as the networks take them: they are read as float32, in the range in which they are shown."""
    kind = torch.get_default_dtype()
    if not patches.values.is_floating_point():
        raise TypeError(f"volumes must be float (got {patches.values.dtype}); read them as they are shown")
    return Patches(patches.values.to(kind), patches.spacing.to(kind))


def check(views: Views, *, channels: int) -> None:
    """Refuse changes of pictures only."""
    for key in changed(views, *OF_PICTURES):
        raise UserError(f"views.{key} changes pictures only, and these are volumes", remedy=f"remove views.{key}")


def augment(
    patches: Patches, keys: Tensor, views: Views, *, size: int | Sides | None = None, first_draw: int = 0
) -> Tensor:
    """Changed views (batch, channels, *size) of float patches (batch, channels, x, y, z), determined by the keys.

    They come back unchanged where `views` turns everything off and they have the size already.
    """
    draws, values = uniforms(keys, first_draw, DRAWS), patches.values
    sides = _sides(size, values)
    low, high = (extreme(values, dim=(1, 2, 3, 4), keepdim=True) for extreme in (torch.amin, torch.amax))
    displaced = elastic.displacements(keys, views, draw=first_draw + ELASTIC, sides=sides)
    at = {"spacing": patches.spacing, "before": values.shape[2:], "sides": sides, "displaced": displaced}
    if (grid := _grid(draws, views, **at)) is not None:
        values = _sampled(values, grid)
    if views.brightness or views.contrast:
        values = _exposed(values, draws, views, low=low)
    if views.blur:
        smallest, largest = BLUR
        sigmas = torch.where(draws[15] < views.blur, smallest + (largest - smallest) * draws[16], 0.0)
        values = (_blurred_where_drawn if values.device.type == "cpu" else _blurred)(values, sigmas)
    if views.low_resolution:
        coarsened = _coarsened if values.device.type == "cpu" else _coarsened_by_places
        values = coarsened(values, shares=torch.where(draws[17] < views.low_resolution, _share(draws[18]), 1.0))
    if views.noise:
        noise = normal(keys, first_draw + 19, (1, *values.shape[2:]))
        values = values + _each(views.noise * draws[20]) * (high - low) * noise
    # no change leaves the range that the patch had
    return values.clamp(low, high)


def placed(
    masks: Patches,
    keys: Tensor,
    views: Views,
    *,
    labels: int,
    size: int | Sides | None = None,
    first_draw: int = 0,
) -> Tensor:
    """Label maps uint8 (batch, x, y, z) on the grid on which `augment` shows the images of the same keys.

    Their values are below `labels`, or `UNKNOWN`, which stays. A voxel gets the label with the largest share of it by
    linear interpolation, as the image does: the nearest voxel's would move borders by up to half a voxel, which is much
    of a cartilage.
    """
    draws, values = uniforms(keys, first_draw, DRAWS), masks.values[:, None]
    spacing, sides = masks.spacing.to(torch.get_default_dtype()), _sides(size, values)
    displaced = elastic.displacements(keys, views, draw=first_draw + ELASTIC, sides=sides)
    grid = _grid(draws, views, spacing=spacing, before=values.shape[2:], sides=sides, displaced=displaced)
    if grid is None:
        return masks.values
    known = values != UNKNOWN
    values = torch.where(known, values, 0)
    if values.device.type == "cpu":
        found = torch.cat(list(map(_moved, values.split(1), grid.split(1))))
    else:
        found = _by_shares(values, grid, count=labels)
    return torch.where(known[:, :, :1, :1, :1], found, UNKNOWN)[:, 0]


def _moved(labels: Tensor, grid: Tensor) -> Tensor:
    """What `_by_shares` finds of one map, in less time: shares are computed only near voxels where labels meet.

    A GPU would have to wait for their number, so it computes the shares everywhere.
    """
    meet = _widened(labels, torch.maximum) != _widened(labels, torch.minimum)
    nearest = _sampled(labels.to(grid.dtype) + 256 * meet, grid, mode="nearest").short()
    found, places = (nearest & 255).to(labels.dtype), (nearest >= 256).flatten().nonzero()[:, 0]
    if len(places):
        there = grid.view(1, 1, 1, -1, 3)[:, :, :, places]
        found.view(-1)[places] = _by_shares(labels, there, count=int(labels.max()) + 1).flatten()
    return found


def _widened(labels: Tensor, of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The largest or the smallest label of each voxel and its 26 neighbours."""
    for axis in (2, 3, 4):
        side = labels.shape[axis]
        padded = torch.cat([labels.narrow(axis, 0, 1), labels, labels.narrow(axis, side - 1, 1)], dim=axis)
        labels = of(of(padded.narrow(axis, 0, side), padded.narrow(axis, 2, side)), labels)
    return labels


def _by_shares(labels: Tensor, grid: Tensor, *, count: int) -> Tensor:
    """The label (of `count`) with the largest share at each place of a grid (batch, 1, *sides); the first of equals."""
    found = labels.new_zeros(len(labels), 1, *grid.shape[1:-1])
    most = grid.new_zeros(found.shape)
    # several at once, as finding the places costs more than reading there
    for some in torch.arange(count, device=labels.device).split(AT_ONCE):
        shares = _sampled((labels == some.view(1, -1, 1, 1, 1)).to(grid.dtype), grid)
        share, at = shares.max(dim=1, keepdim=True)
        found, most = torch.where(share > most, some[at].to(found.dtype), found), share.maximum(most)
    return found


def _sampled(values: Tensor, grid: Tensor, *, mode: str = "bilinear") -> Tensor:
    """Values at the places of a grid, none of which lies beyond an edge."""
    # at an edge, up to half a voxel has no neighbour on the other side
    return F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)


def window(patches: Patches, keys: Tensor, *, share: float, draw: int) -> Patches:
    """A cut-out at a random place of each patch (batch, channels, x, y, z), with the fraction `share` of its volume."""
    values = patches.values
    axes = sum(side > 1 for side in values.shape[2:])
    places = []
    for axis, side in enumerate(values.shape[2:]):
        kept = max(1, round(side * share ** (1 / axes)))
        first = (uniform(keys, draw + axis) * (side - kept + 1)).long()
        places.append(first[:, None] + torch.arange(kept, device=values.device))
    x, y, z = places
    cases = torch.arange(len(values), device=values.device)[:, None, None, None]
    # each sample has its own places, so the indices broadcast to (batch, x, y, z)
    cut = values.movedim(1, -1)[cases, x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]]
    return Patches(cut.movedim(-1, 1), patches.spacing)


def _sides(size: int | Sides | None, values: Tensor) -> tuple[int, ...]:
    """The sides of the views; those of the patches if none are asked for."""
    if size is None:
        return tuple(values.shape[2:])
    return (size,) * 3 if isinstance(size, int) else tuple(size)


def _grid(
    draws: list[Tensor], views: Views, *, spacing: Tensor, before: Sides, sides: Sides, displaced: Tensor | None
) -> Tensor | None:
    """Where each voxel of the views lies in its patch, (batch, *sides, 3); None where nothing moves.

    Elastic deformation, crop, zoom, flips and rotation in one map, from view to patch coordinates, both from -1 to 1
    along each axis. Nothing moves across a slice, which is one voxel wide: it is cropped and turned in its plane.
    """
    still = views.crop in (None, 1) and not (views.flip or views.rotation or views.scaling) and displaced is None
    if still and tuple(before) == tuple(sides):
        return None
    extents = _extents(draws, views, before=before)
    shifts = [(2 * draws[3 + axis] - 1) * (1 - extent) for axis, extent in enumerate(extents)]
    zoom = 1 + views.scaling * (2 * draws[9] - 1)
    halves = [side * spacing[:, axis] for axis, side in enumerate(before)]
    most = [0.0 if 1 in (*before[:axis], *before[axis + 1 :]) else math.radians(views.rotation) for axis in range(3)]
    turned = _rotation([angle * (2 * draws[6 + axis] - 1) for axis, angle in enumerate(most)])
    mirrors = [
        torch.where(draws[10 + axis] < views.flip, -1.0, 1.0) if name in views.flip_axes else 1.0
        for axis, name in enumerate(AXES)
    ]
    along = [_centres(side, axis, like=spacing) for axis, side in enumerate(sides)]
    if displaced is not None:
        # a side is 2 long in these coordinates
        along = [centres + 2 * displaced[:, axis].to(spacing.dtype) for axis, centres in enumerate(along)]
    # millimetres within the rotation, so that it is rigid; sums of three terms, because a matrix product may round
    # differently in another batch
    scaled = [_each(mirrors[axis] * extents[axis] * halves[axis] / zoom)[:, 0] * along[axis] for axis in range(3)]
    grid = spacing.new_empty(len(spacing), *sides, 3)
    for row in range(3):
        x, y, z = (_each(turned[row][axis] / halves[row])[:, 0] * scaled[axis] for axis in range(3))
        # grid_sample names the last axis first
        grid[..., 2 - row] = _reflected(x + _each(shifts[row])[:, 0] + y + z)
    return grid


def _reflected(places: Tensor) -> Tensor:
    """Places from -1 to 1, as they are; those beyond are reflected, as black corners would give a turn away.

    grid_sample's own reflection takes twice as long as all the rest of it.
    """
    within = torch.sub(places, torch.round(places / 4), alpha=4)
    return 2 * within.clamp(-1, 1) - within


def _centres(side: int, axis: int, *, like: Tensor) -> Tensor:
    """The centres of `side` voxels from -1 to 1, shaped to lie along one of three axes."""
    centres = (2 * torch.arange(side, device=like.device, dtype=like.dtype) + 1) / side - 1
    return centres.view([-1 if axis == other else 1 for other in range(3)])


def _rotation(angles: list[Tensor]) -> list[list[Tensor]]:
    """The matrix of turns about x, then y, then z, as rows of numbers (batch,)."""
    (a, b, c), (sa, sb, sc) = ([of(angle) for angle in angles] for of in (torch.cos, torch.sin))
    return [
        [b * c, sa * sb * c - a * sc, a * sb * c + sa * sc],
        [b * sc, sa * sb * sc + a * c, a * sb * sc - sa * c],
        [-sb, sa * b, a * b],
    ]


def _extents(draws: list[Tensor], views: Views, *, before: Sides) -> list[Tensor]:
    """Extents of each crop along x, y and z as fractions of the patch's; all of it across a slice."""
    least, whole = 1.0 if views.crop is None else views.crop, torch.ones_like(draws[0])
    if least == 1:
        return [whole] * 3
    volume = least + (1 - least) * draws[0]
    narrowest, widest = (math.log(shape) for shape in SHAPES)
    first, second = (torch.exp(narrowest + (widest - narrowest) * draws[at]) for at in (1, 2))
    # a crop that would be longer than the patch keeps its volume and gives up its shape
    across = whole if 1 in before else (volume.pow(1 / 3) * first).clamp(max=1).maximum(volume)
    face = volume / across
    down = (face * second).sqrt().clamp(max=1).maximum(face)
    extents = [across, down, (face / down).clamp(max=1)]
    # `across` is that of the axis that is one voxel wide, if there is one
    order = sorted(range(3), key=lambda axis: before[axis] != 1)
    return [extents[order.index(axis)] for axis in range(3)]


def _exposed(values: Tensor, draws: list[Tensor], views: Views, *, low: Tensor) -> Tensor:
    """Brightness above the darkest value, and contrast about the view's own mean."""
    brightness, contrast = (2 * draws[number] - 1 for number in (13, 14))
    if views.jitter < 1:
        brightness, contrast = (torch.where(draws[21] < views.jitter, change, 0.0) for change in (brightness, contrast))
    values = (values - low) * _each(1 + views.brightness * brightness) + low
    mean = values.mean(dim=(1, 2, 3, 4), keepdim=True)
    return (values - mean) * _each(1 + views.contrast * contrast) + mean


def _blurred_where_drawn(values: Tensor, sigmas: Tensor) -> Tensor:
    """The same as `_blurred`, in less time: a GPU would have to wait for the number of samples that are blurred."""
    drawn = sigmas.nonzero()[:, 0]
    return values.index_copy(0, drawn, _blurred(values[drawn], sigmas[drawn])) if len(drawn) else values


def _blurred(values: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation per sample, in voxels; 0 leaves a sample unchanged."""
    # three standard deviations of the strongest blur hold 99.7 % of its weight
    reach = math.ceil(3 * BLUR[1])
    offsets = torch.arange(-reach, reach + 1, device=values.device)
    # at 1e-3 all weights but the middle one underflow to 0, so a sigma of 0 blurs nothing and divides by nothing
    weights = torch.exp(-0.5 * (offsets / sigmas.clamp(min=1e-3)[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)
    for axis in (axis for axis in (2, 3, 4) if values.shape[axis] > 1):
        # shifted sums, because a grouped convolution of volumes is many times slower on a CPU
        padding = [reach * (4 - place // 2 == axis) for place in range(6)]
        padded = F.pad(values, padding, mode="replicate")
        side = values.shape[axis]
        values = sum(_each(weights[:, at]) * padded.narrow(axis, at, side) for at in range(2 * reach + 1))
    return values


def _share(draw: Tensor) -> Tensor:
    """The share of the voxels along each axis that a view of low resolution keeps."""
    return COARSEST + (1 - COARSEST) * draw


def _coarsened(values: Tensor, *, shares: Tensor) -> Tensor:
    """Views taken to a share of their voxels along each axis and back; a share of 1 leaves a sample unchanged."""
    sides = values.shape[2:]
    seen = []
    for value, share in zip(values[:, None], shares.tolist(), strict=True):
        coarse = [max(1, round(side * share)) for side in sides]
        if coarse != list(sides):
            value = F.interpolate(F.interpolate(value, size=coarse, mode="nearest"), size=sides, mode="trilinear")
        seen.append(value)
    return torch.cat(seen)


def _coarsened_by_places(values: Tensor, *, shares: Tensor) -> Tensor:
    """The same but for rounding, by the places of what is read: to read the shares, the CPU would wait for a GPU."""
    for axis, side in enumerate(values.shape[2:], start=2):
        # halves are rounded to even numbers, as Python does it
        coarse = (side * shares).round().clamp(min=1)[:, None]
        middle = ((torch.arange(side, device=values.device) + 0.5) * coarse / side - 0.5).clamp(min=0)
        first = middle.floor()
        shape = [len(values), *(side if axis == other else 1 for other in range(1, 5))]
        around = [
            values.gather(axis, (place * side / coarse).floor().long().view(shape).expand_as(values))
            for place in (first, (first + 1).minimum(coarse - 1))
        ]
        values = torch.lerp(*around, (middle - first).to(values.dtype).view(shape))
    return values


def _each(values: Tensor | float) -> Tensor:
    """Values (batch,) reshaped to (batch, 1, 1, 1, 1), to broadcast over volumes."""
    return values.view(-1, 1, 1, 1, 1)
