"""Views of pictures: random crops, flips, rotations, elastic deformation, brightness and colours, blur and noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import UserError
from headwater.study.ct_windows import AIR, Window
from headwater.study.idle_keys import changed
from headwater.study.recipe import JITTERED, OF_COLOURS, OF_VOLUMES, Views
from headwater.training.views import elastic
from headwater.training.views.draws import normal, uniform, uniforms

DRAWS = 16
"""How many random numbers one call of `augment` may use, starting at its `first_draw`."""

WINDOW_DRAWS = 2
"""How many random numbers one call of `window` uses."""

SHAPES = (3 / 4, 4 / 3)
"""Aspect ratios (width / height) of the narrowest and widest crop (Szegedy et al. 2015, arXiv 1409.4842, section 6)."""

BLUR = (0.1, 2.0)
"""Range of the Gaussian blur's standard deviation in pixels (SimCLR, arXiv 2002.05709, appendix A)."""

SOLARISED = 0.5
"""The lowest value that solarisation inverts: 128 of 255 (BYOL, arXiv 2006.07733, appendix B)."""


def as_float(images: Tensor) -> Tensor:
    """Float32 (batch, 3, h, w) in [0, 1] from uint8 (batch, 1 or 3, h, w) or from float32 already in [0, 1].

    Of grey images it is one channel seen three times, which takes the memory of one.
    """
    if images.dtype not in (torch.uint8, torch.get_default_dtype()):
        raise TypeError(f"images must be uint8 or float in [0, 1] (got {images.dtype}); apply a CT window first")
    values = images.to(torch.get_default_dtype())
    return _seen_thrice(values / 255 if images.dtype == torch.uint8 else values)


def _once(images: Tensor) -> Tensor:
    """The one channel of grey images that are seen three times; others as they are."""
    return images[:, :1] if images.stride(1) == 0 else images


def _seen_thrice(images: Tensor) -> Tensor:
    """Images in three channels, of grey ones without a copy."""
    return images.expand(-1, 3, -1, -1)


def shown(images: Tensor, *, window: Window | None) -> Tensor:
    """Hounsfield units int16 (batch, 1, h, w) windowed to float32 in [0, 1]; without a window, images unchanged.

    The function is LINEAR_EXACT of DICOM PS3.3 C.11.2.1.3.2. The window `slice` spans each slice's own range, from its
    lowest value (at least that of air) to its highest.
    """
    if window is None:
        return images
    values = images.to(torch.get_default_dtype())
    if not window.slice:
        return ((values - (window.centre - window.width / 2)) / window.width).clamp(0, 1)
    # scanners fill what lies outside the field of view with values far below air, which would stretch the range
    values = values.clamp(min=AIR)
    black, white = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    # a constant slice would divide by zero
    return (values - black) / torch.where(white > black, white - black, 1)


def check(views: Views, *, channels: int) -> None:
    """Refuse to change the colours of images that have none, and changes of volumes only."""
    for key in changed(views, *OF_COLOURS) if channels == 1 else ():
        raise UserError(f"the images are grey, so views.{key} has no effect", remedy=f"remove views.{key}")
    for key in changed(views, *OF_VOLUMES):
        raise UserError(f"views.{key} changes volumes only, and these are pictures", remedy=f"remove views.{key}")


def window(images: Tensor, keys: Tensor, *, share: float, draw: int) -> Tensor:
    """A cut-out at a random place of each image (batch, channels, h, w), with the fraction `share` of its area."""
    height, width = (max(1, round(side * share**0.5)) for side in images.shape[-2:])
    top = (uniform(keys, draw) * (images.shape[-2] - height + 1)).long()
    left = (uniform(keys, draw + 1) * (images.shape[-1] - width + 1)).long()
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = left[:, None] + torch.arange(width, device=images.device)
    cases = torch.arange(len(images), device=images.device)
    # each sample has its own rows and columns, so the indices broadcast to (batch, height, width)
    pixels = _once(images).permute(0, 2, 3, 1)[cases[:, None, None], rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2).expand(-1, images.shape[1], -1, -1)


def augment(
    images: Tensor,
    keys: Tensor,
    views: Views,
    *,
    size: int | None = None,
    first_draw: int = 0,
    antialias: bool = False,
) -> Tensor:
    """Augmented views (batch, 3, size, size) of float images (batch, 3, h, w) in [0, 1], determined by the keys.

    The images come back unchanged where `views` turns everything off and they have the size already. With `antialias`
    details that are too fine for a view that shrinks its crop are filtered out first.
    """
    draws, images, side = uniforms(keys, first_draw, DRAWS), _once(images), size or images.shape[-1]
    displaced = elastic.displacements(keys, views, draw=first_draw + 14, sides=(side, side))
    images = _placed(images, draws, views, size=side, displaced=displaced, antialias=antialias)
    if views.grey or any(getattr(views, key) for key in JITTERED):
        images = _coloured(images, draws, views)
    if views.blur:
        smallest, largest = BLUR
        sigmas = torch.where(draws[10] < views.blur, smallest + (largest - smallest) * draws[11], 0.0)
        images = _blurred(images, sigmas)
    if views.solarise:
        images = torch.where((_each(draws[15]) < views.solarise) & (images >= SOLARISED), 1 - images, images)
    if views.noise:
        # the same noise in all channels, so that a grey image stays grey
        noise = normal(keys, first_draw + 13, (1, *images.shape[-2:]))
        images = (images + _each(views.noise * draws[12]) * noise).clamp(0, 1)
    return _seen_thrice(images)


def _placed(
    images: Tensor, draws: list[Tensor], views: Views, *, size: int, displaced: Tensor | None, antialias: bool
) -> Tensor:
    """Crop, left-right flip, rotation, elastic deformation and resize in one resampling."""
    height, width = images.shape[-2:]
    still = _least(views) == 1 and not views.flip and not views.rotation and displaced is None
    if still and (height, width) == (size, size):
        return images
    across, down = _extents(draws, views)
    left_right = (2 * draws[2] - 1) * (1 - across)
    up_down = (2 * draws[3] - 1) * (1 - down)
    turn = math.radians(views.rotation) * (2 * draws[4] - 1)
    mirror = torch.where(draws[5] < views.flip, -1.0, 1.0)
    # affine maps from view to image coordinates, both in [-1, 1]; the ratios of height and width keep a rotation
    # rigid in pixels where the image is not square
    rows = [
        [across * torch.cos(turn) * mirror, -down * torch.sin(turn) * height / width, left_right],
        [across * torch.sin(turn) * mirror * width / height, down * torch.cos(turn), up_down],
    ]
    places = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (batch, 2, 3)
    if antialias:
        factors = (down * height / size, across * width / size)
        images = _smoothed(images, factors=factors, most=max(height, width) / size, kind=views.resampling)
    grid = F.affine_grid(places, [len(images), images.shape[1], size, size], align_corners=False)
    if displaced is not None:
        # a side is 2 long in these coordinates; what is displaced in the view moves in the image as the view lies there
        down_by, across_by = (2 * displaced[:, axis, :, :, None] for axis in range(2))
        grid = grid + across_by * places[:, None, None, :, 0] + down_by * places[:, None, None, :, 1]
    # a rotated view reaches past the image's edge; black corners would give the angle away, reflection does not
    seen = F.grid_sample(images, grid, mode=views.resampling, padding_mode="reflection", align_corners=False)
    # beside edges, cubic weights give values beyond those that there are
    return seen.clamp(0, 1) if views.resampling == "bicubic" else seen


def _smoothed(images: Tensor, *, factors: tuple[Tensor, Tensor], most: float, kind: str) -> Tensor:
    """Images without what is finer than the pixels of views that shrink each by two factors (batch,), down and across.

    The weights are those of Pillow's and torchvision's antialiased resizing of the same kind, a triangle as wide as two
    pixels of the view or a cubic (Keys 1981, a = -0.5) as wide as four, centred on each pixel of the image; a factor of
    at most 1 changes no byte. `most` is the largest factor that there can be.
    """
    half, weight = (2, _cubic) if kind == "bicubic" else (1, _triangle)
    reach = max(0, math.ceil(half * most) - 1)
    for axis, factor in zip((2, 3), factors, strict=True):
        ways = torch.arange(reach + 1, device=images.device)
        weights = weight(ways / factor.clamp(min=1)[:, None])
        weights = weights / (2 * weights.sum(dim=1, keepdim=True) - 1)  # (batch, ways), the middle one is 1 before
        padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded, side = F.pad(images, padding, mode="replicate"), images.shape[axis]
        # shifted sums, because they are the same in a batch of any size, and faster than a grouped convolution
        images = images * _each(weights[:, 0])
        for way in range(1, reach + 1):
            before, after = (padded.narrow(axis, reach + step, side) for step in (-way, way))
            images.addcmul_(before + after, _each(weights[:, way]))
    return images


def _triangle(ways: Tensor) -> Tensor:
    """The weight of linear interpolation at a distance in pixels."""
    return (1 - ways).clamp(min=0)


def _cubic(ways: Tensor) -> Tensor:
    """The weight of cubic convolution at a distance in pixels (Keys 1981, doi 10.1109/TASSP.1981.1163711, a = -0.5)."""
    near, far = (1.5 * ways - 2.5) * ways**2 + 1, ((2.5 - 0.5 * ways) * ways - 4) * ways + 2
    return torch.where(ways < 1, near, torch.where(ways < 2, far, 0))


def _extents(draws: list[Tensor], views: Views) -> tuple[Tensor, Tensor]:
    """Width and height of each crop as fractions of the image's."""
    least = _least(views)
    if least == 1:
        return torch.ones_like(draws[0]), torch.ones_like(draws[0])
    area = least + (1 - least) * draws[0]
    narrowest, widest = (math.log(shape) for shape in SHAPES)
    shape = torch.exp(narrowest + (widest - narrowest) * draws[1])
    # a crop that would be longer than the image keeps its area and gives up its aspect ratio
    across = (area * shape).sqrt().clamp(max=1).maximum(area)
    return across, (area / across).clamp(max=1)


def _least(views: Views) -> float:
    """The smallest share of the image that a crop shows; 1 without cropping."""
    return 1.0 if views.crop is None else views.crop


def _coloured(images: Tensor, draws: list[Tensor], views: Views) -> Tensor:
    """Brightness, contrast about the image's own mean, saturation, hue, and conversion to grey."""
    changes = [2 * draws[number] - 1 for number in (7, 8, 6, 14)]
    if views.jitter < 1:
        changes = [torch.where(draws[13] < views.jitter, change, 0.0) for change in changes]
    brightness, contrast, saturation, hue = changes
    images = images * _each(1 + views.brightness * brightness)
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * _each(1 + views.contrast * contrast) + mean
    if views.saturation:
        grey = _grey(images)
        images = (images - grey) * _each(1 + views.saturation * saturation) + grey
    if views.hue:
        images = _turned(images.clamp(0, 1), views.hue * hue)
    if views.grey:
        images = torch.where(_each(draws[9]) < views.grey, _grey(images), images)
    return images.clamp(0, 1)


def _turned(images: Tensor, turns: Tensor) -> Tensor:
    """Images with their hues turned by a share of the colour circle each, (batch,), value and saturation kept (HSV)."""
    red, green, blue = images.unbind(dim=1)
    highest = images.amax(dim=1)
    chroma = highest - images.amin(dim=1)
    divisor = torch.where(chroma > 0, chroma, 1)
    # in sixths of the circle, from red over green to blue
    of_blue = torch.where(highest == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    hue = torch.where(highest == red, (green - blue) / divisor, of_blue) + 6 * turns.view(-1, 1, 1)
    ways = [(first + hue) % 6 for first in (5, 3, 1)]
    return torch.stack([highest - chroma * torch.minimum(way, 4 - way).clamp(0, 1) for way in ways], dim=1)


def _grey(images: Tensor) -> Tensor:
    """Luminance (batch, 1, h, w) by ITU-R BT.601."""
    red, green, blue = _seen_thrice(images).unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _blurred(images: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation per sample, in pixels; 0 leaves a sample unchanged."""
    # three standard deviations of the strongest blur hold 99.7 % of its weight
    reach = math.ceil(3 * BLUR[1])
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    # at 1e-3 all weights but the middle one underflow to 0, so a sigma of 0 blurs nothing and divides by nothing
    weights = torch.exp(-0.5 * (offsets / sigmas.clamp(min=1e-3)[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)  # (batch, offsets)
    batch, channels, height, width = images.shape
    kernels = weights.repeat_interleave(channels, dim=0)[:, None, None, :]
    # a grouped convolution, because each sample has its own kernel: one group per channel of each sample
    rows = images.reshape(1, batch * channels, height, width)
    rows = F.conv2d(F.pad(rows, (reach, reach, 0, 0), mode="replicate"), kernels, groups=batch * channels)
    columns = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(columns, kernels.transpose(2, 3), groups=batch * channels).view(batch, channels, height, width)


def _each(values: Tensor) -> Tensor:
    """Values (batch,) reshaped to (batch, 1, 1, 1), to broadcast over images."""
    return values.view(-1, 1, 1, 1)
