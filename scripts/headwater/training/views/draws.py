"""Random numbers of a view: functions of (seed, epoch, case) and of the number of the draw, and of nothing else.

They do not depend on the batch, the rank, the device or earlier steps. So no random state needs saving, and a resumed
training sees the same views as one that was never interrupted.
"""

import math

import torch
from torch import Tensor

STEP, FIRST_FACTOR, SECOND_FACTOR = (
    number - 2**64 if number >= 2**63 else number
    for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
"""The constants of splitmix64 (Steele, Lea & Flood 2014, doi 10.1145/2660193.2660195).

They are written as signed numbers because torch has no arithmetic on uint64; int64 wraps around to the same bits.
"""


def keys(*, seed: int, epochs: Tensor, cases: Tensor) -> Tensor:
    """A 64-bit random key per sample (batch,), the seed of all its draws; epochs and cases are int64 (batch,)."""
    start = _mixed(torch.full_like(cases, _signed(seed)) + STEP)
    return _mixed(_mixed(start + epochs * STEP) + cases * STEP)


def uniform(keys: Tensor, draw: int) -> Tensor:
    """Draw number `draw` of each sample: float32 (batch,) in [0, 1), bit-identical on every device."""
    return uniforms(keys, draw, 1)[0]


def uniforms(keys: Tensor, first: int, count: int) -> list[Tensor]:
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


def fractions(keys: Tensor, draw: int, count: int) -> Tensor:
    """`count` numbers (batch, count) in [0, 1) of draw number `draw` of each sample."""
    return _fraction(_stream(keys, draw, count), 40)


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
