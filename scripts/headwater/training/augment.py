"""Views: each training image is shown cropped, turned, brighter or noisier, by chance but always the same chance.

A view is a function of (seed, epoch, case) alone: not of the batch, the rank, the device or what ran before. So
there is no random state to save, and a training that goes on shows the images that it would have shown.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.study.ct_windows import AIR, Window
from headwater.study.recipe import Views

DRAWS = 16
"""Random numbers that one call of `augment` may use, from its `first_draw` on."""

STEP, FIRST_FACTOR, SECOND_FACTOR = (
    number - 2**64 if number >= 2**63 else number
    for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
"""The constants of splitmix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195) as signed numbers."""

SHAPES = (3 / 4, 4 / 3)
"""Narrowest and widest crop, as width / height (Szegedy et al. 2015, arXiv 1409.4842, section 6)."""

BLUR = (0.1, 2.0)
"""Least and most Gaussian blur: standard deviation in pixels (SimCLR, arXiv 2002.05709, appendix A)."""


def keys(*, seed: int, epochs: Tensor, cases: Tensor) -> Tensor:
    """One 64-bit number per sample (batch,) from which all its random draws come; epochs and cases int64 (batch,)."""
    start = _mixed(torch.full_like(cases, _signed(seed)) + STEP)
    return _mixed(_mixed(start + epochs * STEP) + cases * STEP)


def uniform(keys: Tensor, draw: int) -> Tensor:
    """Draw number `draw` of each sample: float32 (batch,) in [0, 1), exactly the same on every device."""
    return _uniforms(keys, draw, 1)[0]


def _uniforms(keys: Tensor, first: int, count: int) -> list[Tensor]:
    """`count` draws of each sample, made at once: on a GPU sixteen small tensors cost as much as sixteen large ones."""
    counters = torch.arange(first + 1, first + count + 1, device=keys.device) * STEP
    return list(_fraction(_mixed(keys[:, None] + counters), 40).unbind(dim=1))


def normal(keys: Tensor, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers (batch, *shape) of draw number `draw`, one per pixel (Box & Muller 1958)."""
    bits = _stream(keys, draw, math.prod(shape))  # (batch, pixels)
    radius = torch.sqrt(-2 * torch.log1p(-_fraction(bits, 40)))
    return (radius * torch.cos(2 * math.pi * _fraction(bits, 8))).view(-1, *shape)


def order(keys: Tensor, draw: int, count: int) -> Tensor:
    """A random order of range(count) for each sample, int64 (batch, count): exactly the same on every device."""
    return _stream(keys, draw, count).argsort(dim=1, stable=True)


def _stream(keys: Tensor, draw: int, count: int) -> Tensor:
    """`count` random numbers of 64 bits (batch, count) from draw number `draw` of each sample."""
    start = _mixed(_mixed(keys + _signed((draw + 1) * STEP)))
    return _mixed(start[:, None] + torch.arange(count, device=keys.device) * STEP)


def _mixed(bits: Tensor) -> Tensor:
    """splitmix64's finish: every bit of the result depends on every bit of the number; overflow is meant."""
    bits = (bits ^ _shifted(bits, 30)) * FIRST_FACTOR
    bits = (bits ^ _shifted(bits, 27)) * SECOND_FACTOR
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """A shift to the right that fills in zeros; torch's own repeats the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _fraction(bits: Tensor, places: int) -> Tensor:
    """The 24 bits from `places` up as a number in [0, 1): as many as float32 holds exactly."""
    return (_shifted(bits, places) & (2**24 - 1)).to(torch.get_default_dtype()) / 2**24


def _signed(number: int) -> int:
    """The number that has the same lowest 64 bits and fits into int64."""
    return (number + 2**63) % 2**64 - 2**63


def as_float(images: Tensor) -> Tensor:
    """Float32 (batch, 3, h, w) in [0, 1] from uint8 (batch, 1 or 3, h, w), or from float32 that is so already."""
    if images.dtype not in (torch.uint8, torch.get_default_dtype()):
        raise TypeError(f"{images.dtype} are no shades: Hounsfield units go through a window first")
    wide = images.expand(-1, 3, -1, -1).to(torch.get_default_dtype())
    return wide / 255 if images.dtype == torch.uint8 else wide


def shown(images: Tensor, *, window: Window | None) -> Tensor:
    """Hounsfield units int16 (batch, 1, h, w) through a window: float32 in [0, 1]; without one, images as they are.

    LINEAR_EXACT of DICOM PS3.3 C.11.2.1.3.2; `slice` goes from the lowest value of each, air at least, to its highest.
    """
    if window is None:
        return images
    values = images.to(torch.get_default_dtype())
    if not window.slice:
        return ((values - (window.centre - window.width / 2)) / window.width).clamp(0, 1)
    values = values.clamp(min=AIR)
    black, white = values.amin((-2, -1), keepdim=True), values.amax((-2, -1), keepdim=True)
    return (values - black) / torch.where(white > black, white - black, 1)


def augment(images: Tensor, keys: Tensor, views: Views, *, size: int | None = None, first_draw: int = 0) -> Tensor:
    """Random views (batch, 3, size, size) of float images (batch, 3, h, w) in [0, 1], by the draws of each key.

    Where `views` asks for nothing and the size is that of the images, these come back as they are.
    """
    draws = _uniforms(keys, first_draw, DRAWS)
    images = _placed(images, draws, views, size=size or images.shape[-1])
    if views.brightness or views.contrast or views.grey:
        images = _coloured(images, draws, views)
    if views.blur:
        least, most = BLUR
        sigmas = torch.where(draws[10] < views.blur, least + (most - least) * draws[11], 0.0)
        images = _blurred(images, sigmas)
    if views.noise:
        # one grain for all channels, so that a grey image stays grey
        grain = normal(keys, first_draw + 13, (1, *images.shape[-2:]))
        images = (images + _each(views.noise * draws[12]) * grain).clamp(0, 1)
    return images


def _placed(images: Tensor, draws: list[Tensor], views: Views, *, size: int) -> Tensor:
    """Crop, left-right flip, rotation and resize in one bilinear look-up."""
    height, width = images.shape[-2:]
    if views.crop == 1 and not views.flip and not views.rotation and (height, width) == (size, size):
        return images
    across, down = _extents(draws, views)
    left_right = (2 * draws[2] - 1) * (1 - across)
    up_down = (2 * draws[3] - 1) * (1 - down)
    turn = math.radians(views.rotation) * (2 * draws[4] - 1)
    mirror = torch.where(draws[5] < views.flip, -1.0, 1.0)
    # where in the image, from -1 to 1 both ways, each point of the view looks; lengths in pixels stay lengths
    rows = [
        [across * torch.cos(turn) * mirror, -down * torch.sin(turn) * height / width, left_right],
        [across * torch.sin(turn) * mirror * width / height, down * torch.cos(turn), up_down],
    ]
    places = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (batch, 2, 3)
    grid = F.affine_grid(places, [len(images), images.shape[1], size, size], align_corners=False)
    # a turned view looks past the edge; mirrored there, it shows no corner that tells the angle
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _extents(draws: list[Tensor], views: Views) -> tuple[Tensor, Tensor]:
    """Width and height of each crop as shares of the image's."""
    if views.crop == 1:
        return torch.ones_like(draws[0]), torch.ones_like(draws[0])
    area = views.crop + (1 - views.crop) * draws[0]
    narrowest, widest = (math.log(shape) for shape in SHAPES)
    shape = torch.exp(narrowest + (widest - narrowest) * draws[1])
    # a crop that is longer than the image gives up its shape rather than its area
    across = (area * shape).sqrt().clamp(max=1).maximum(area)
    return across, (area / across).clamp(max=1)


def _coloured(images: Tensor, draws: list[Tensor], views: Views) -> Tensor:
    """Brightness, contrast about the image's own mean, and loss of colour."""
    images = images * _each(1 + views.brightness * (2 * draws[7] - 1))
    mean = _grey(images).mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * _each(1 + views.contrast * (2 * draws[8] - 1)) + mean
    if views.grey:
        images = torch.where(_each(draws[9]) < views.grey, _grey(images), images)
    return images.clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """Luminance (batch, 1, h, w) by ITU-R BT.601."""
    red, green, blue = images.unbind(dim=1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def _blurred(images: Tensor, sigmas: Tensor) -> Tensor:
    """Gaussian blur with a standard deviation per sample, in pixels; 0 leaves a sample as it is."""
    reach = math.ceil(3 * BLUR[1])
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigmas.clamp(min=1e-3)[:, None]) ** 2)
    weights = weights / weights.sum(dim=1, keepdim=True)  # (batch, offsets)
    batch, channels, height, width = images.shape
    kernels = weights.repeat_interleave(channels, dim=0)[:, None, None, :]
    # each channel of each sample is a group of its own
    rows = images.reshape(1, batch * channels, height, width)
    rows = F.conv2d(F.pad(rows, (reach, reach, 0, 0), mode="replicate"), kernels, groups=batch * channels)
    columns = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(columns, kernels.transpose(2, 3), groups=batch * channels).view(batch, channels, height, width)


def _each(values: Tensor) -> Tensor:
    """One value per sample (batch,) as (batch, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
