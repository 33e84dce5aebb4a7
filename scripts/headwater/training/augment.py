"""Augmentation: random crops, flips, rotations, brightness, blur and noise, reproducible for each image and epoch.

An augmented view depends only on (seed, epoch, case): not on the batch, the rank, the device or earlier steps. So no
random state needs saving, and a resumed training sees the same views as one that was never interrupted.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import UserError
from headwater.study.ct_windows import AIR, Window
from headwater.study.recipe import Views

DRAWS = 16
"""How many random numbers one call of `augment` may use, starting at its `first_draw`."""

STEP, FIRST_FACTOR, SECOND_FACTOR = (
    number - 2**64 if number >= 2**63 else number
    for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
"""The constants of splitmix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195).

They are written as signed numbers because torch has no arithmetic on uint64; int64 wraps around to the same bits.
"""

SHAPES = (3 / 4, 4 / 3)
"""Aspect ratios (width / height) of the narrowest and widest crop (Szegedy et al. 2015, arXiv 1409.4842, section 6)."""

BLUR = (0.1, 2.0)
"""Range of the Gaussian blur's standard deviation in pixels (SimCLR, arXiv 2002.05709, appendix A)."""


def keys(*, seed: int, epochs: Tensor, cases: Tensor) -> Tensor:
    """A 64-bit random key per sample (batch,), the seed of all its draws; epochs and cases are int64 (batch,)."""
    start = _mixed(torch.full_like(cases, _signed(seed)) + STEP)
    return _mixed(_mixed(start + epochs * STEP) + cases * STEP)


def uniform(keys: Tensor, draw: int) -> Tensor:
    """Draw number `draw` of each sample: float32 (batch,) in [0, 1), bit-identical on every device."""
    return _uniforms(keys, draw, 1)[0]


def _uniforms(keys: Tensor, first: int, count: int) -> list[Tensor]:
    """`count` consecutive draws of each sample, as tensors (batch,)."""
    # one large tensor instead of many small ones: on a GPU a kernel launch costs the same for either
    counters = torch.arange(first + 1, first + count + 1, device=keys.device) * STEP
    return list(_fraction(_mixed(keys[:, None] + counters), 40).unbind(dim=1))


def normal(keys: Tensor, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers (batch, *shape) of draw number `draw`, one per pixel (Box & Muller 1958)."""
    bits = _stream(keys, draw, math.prod(shape))  # (batch, pixels)
    # the fraction may be 0 but never 1, so the argument of log1p stays above -1 and the logarithm finite
    radius = torch.sqrt(-2 * torch.log1p(-_fraction(bits, 40)))
    return (radius * torch.cos(2 * math.pi * _fraction(bits, 8))).view(-1, *shape)


def order(keys: Tensor, draw: int, count: int) -> Tensor:
    """A random permutation of range(count) for each sample, int64 (batch, count), identical on every device."""
    return _stream(keys, draw, count).argsort(dim=1, stable=True)


def _stream(keys: Tensor, draw: int, count: int) -> Tensor:
    """`count` random 64-bit numbers (batch, count) seeded by draw number `draw` of each sample."""

    start = _mixed(_mixed(keys + _signed((draw + 1) * STEP)))
    return _mixed(start[:, None] + torch.arange(count, device=keys.device) * STEP)


def _mixed(bits: Tensor) -> Tensor:
    """The output function of splitmix64: each result bit depends on all input bits; overflow is intended."""
    bits = (bits ^ _shifted(bits, 30)) * FIRST_FACTOR
    bits = (bits ^ _shifted(bits, 27)) * SECOND_FACTOR
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Logical shift to the right, filling with zeros; torch's own shift of int64 repeats the sign bit."""
    return (bits >> places) & ((1 << (64 - places)) - 1)


def _fraction(bits: Tensor, places: int) -> Tensor:
    """24 bits, starting at bit `places`, as a number in [0, 1); float32 holds 24 bits exactly."""
    return (_shifted(bits, places) & (2**24 - 1)).to(torch.get_default_dtype()) / 2**24


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def as_float(images: Tensor) -> Tensor:
    """Float32 (batch, 3, h, w) in [0, 1] from uint8 (batch, 1 or 3, h, w) or from float32 already in [0, 1]."""
    if images.dtype not in (torch.uint8, torch.get_default_dtype()):
        raise TypeError(f"images must be uint8 or float in [0, 1] (got {images.dtype}); apply a CT window first")
    wide = images.expand(-1, 3, -1, -1).to(torch.get_default_dtype())
    return wide / 255 if images.dtype == torch.uint8 else wide


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
    """Refuse to drop the colours of images that have none."""
    if views.grey and channels == 1:
        raise UserError("the images are grey, so views.grey has no effect", remedy="remove views.grey")


def augment(images: Tensor, keys: Tensor, views: Views, *, size: int | None = None, first_draw: int = 0) -> Tensor:
    """Augmented views (batch, 3, size, size) of float images (batch, 3, h, w) in [0, 1], determined by the keys.

    The images come back unchanged where `views` turns everything off and they have the size already.
    """
    draws = _uniforms(keys, first_draw, DRAWS)
    images = _placed(images, draws, views, size=size or images.shape[-1])
    if views.brightness or views.contrast or views.grey:
        images = _coloured(images, draws, views)
    if views.blur:
        smallest, largest = BLUR
        sigmas = torch.where(draws[10] < views.blur, smallest + (largest - smallest) * draws[11], 0.0)
        images = _blurred(images, sigmas)
    if views.noise:
        # the same noise in all channels, so that a grey image stays grey
        noise = normal(keys, first_draw + 13, (1, *images.shape[-2:]))
        images = (images + _each(views.noise * draws[12]) * noise).clamp(0, 1)
    return images


def _placed(images: Tensor, draws: list[Tensor], views: Views, *, size: int) -> Tensor:
    """Crop, left-right flip, rotation and resize in one bilinear resampling."""
    height, width = images.shape[-2:]
    if _least(views) == 1 and not views.flip and not views.rotation and (height, width) == (size, size):
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
    grid = F.affine_grid(places, [len(images), images.shape[1], size, size], align_corners=False)
    # a rotated view reaches past the image's edge; black corners would give the angle away, reflection does not
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


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
    """Brightness, contrast about the image's own mean, and conversion to grey."""
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
