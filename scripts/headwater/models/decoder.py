"""The decoder: a plain U-Net's way up, from an encoder's maps of features to an outline at full resolution.

It is for backbones without a decoder of their own, of pictures and of volumes, after nnU-Net (Isensee 2021, Nature
Methods 18, 203, supplementary note 2).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from headwater.core.errors import UserError

WIDEST = 320
"""Most channels of a layer, as in nnU-Net."""

GROUPS = 8
"""Groups of channels of a norm, which sees one case alone and needs no more than one position."""

KINDS = {2: (nn.Conv2d, nn.ConvTranspose2d), 3: (nn.Conv3d, nn.ConvTranspose3d)}
"""Convolution and transposed convolution by the image's dimensions."""

SLOPE = 0.01
"""Slope of the leaky ReLU below zero, as in nnU-Net."""


class Decoder(nn.Module):
    """A plain U-Net's way up: `levels` of an encoder, the finest first, to (batch, width, *space).

    `widths` and `strides` are those of the levels. Each step doubles the resolution, or, where the stride is odd, goes
    on to the next level's; it has `width` channels times its stride, at most `WIDEST`. A level that has the step's
    resolution is joined. Weights are drawn under `seed`.
    """

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int], *, dimensions: int, seed: int, width: int = 32
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.outlines = outlines(strides, width=width)
        beside, channels, before = dict(zip(strides[:-1], widths[:-1], strict=True)), widths[-1], strides[-1]
        self.steps = nn.ModuleDict()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for outputs, stride in reversed(self.outlines):
                step = _Step(
                    channels, outputs, beside=beside.get(stride, 0), by=before // stride, dimensions=dimensions
                )
                self.steps[str(stride)] = step
                channels, before = outputs, stride

    def forward(self, levels: Sequence[Tensor], *, space: Sequence[int] | None = None) -> list[Tensor]:
        """The outputs of the steps, the finest, (batch, width, *space), first.

        `space` are the image's sides, by default those of the finest level times its stride. Encoders round up sides
        that their strides do not divide, so what is brought up is cut to the size it has.
        """
        space = space or [side * self.strides[0] for side in levels[0].shape[2:]]
        beside = dict(zip(self.strides[:-1], levels[:-1], strict=True))
        outputs = [levels[-1]]
        for stride, step in self.steps.items():
            level = beside.get(int(stride))
            sides = [-(-side // int(stride)) for side in space] if level is None else level.shape[2:]
            outputs.append(step(outputs[-1], level, sides))
        if tuple(outputs[-1].shape[2:]) != tuple(space):
            raise UserError(
                f"the backbone's maps of features do not cover images of {tuple(space)}", remedy="use another size"
            )
        return outputs[:0:-1]


class _Step(nn.Module):
    """A transposed convolution, unless the resolution stays, and two convolutions of its output and of a level."""

    def __init__(self, inputs: int, outputs: int, *, beside: int, by: int, dimensions: int) -> None:
        super().__init__()
        _, transposed = KINDS[dimensions]
        self.up = transposed(inputs, outputs, kernel_size=by, stride=by, bias=False)
        nn.init.kaiming_normal_(self.up.weight, a=SLOPE)
        self.convolutions = nn.Sequential(
            *_convolution(outputs + beside, outputs, dimensions), *_convolution(outputs, outputs, dimensions)
        )

    def forward(self, x: Tensor, level: Tensor | None, sides: Sequence[int]) -> Tensor:
        """(batch, outputs, *sides) of the deeper output and of the level of this resolution, if there is one."""
        x = self.up(x)[(..., *(slice(side) for side in sides))]
        return self.convolutions(x if level is None else torch.cat([x, level], dim=1))


def outlines(strides: Sequence[int], *, width: int = 32) -> tuple[tuple[int, int], ...]:
    """(channels, stride) of the outputs of a decoder on levels of these strides, the finest first."""
    _refuse_indivisible(strides)
    return tuple((min(width * stride, WIDEST), stride) for stride in reversed(_resolutions(strides)))


def _refuse_indivisible(strides: Sequence[int]) -> None:
    """Refuse levels of which one is not a whole number of times as fine as the next."""
    if any(coarse % fine for fine, coarse in pairwise(sorted(strides))):
        raise UserError(
            f"maps of features with strides {', '.join(map(str, strides))} cannot be joined",
            remedy="choose another backbone",
        )


def _resolutions(strides: Sequence[int]) -> list[int]:
    """The strides of the steps, the coarsest first: half of the one before, or else the next level's, down to 1."""
    found, stride, levels = [], strides[-1], [*reversed(strides[:-1])]
    if stride in levels:
        found.append(stride)
    while stride > 1:
        further = next((level for level in levels if level < stride), 1)
        stride = stride // 2 if stride % 2 == 0 else further
        found.append(stride)
    return found or [1]


def _convolution(inputs: int, outputs: int, dimensions: int) -> tuple[nn.Module, ...]:
    """Convolution, norm and leaky ReLU; first weights are normal (He, fan in)."""
    layer = KINDS[dimensions][0](inputs, outputs, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    groups = GROUPS if outputs % GROUPS == 0 else 1
    return layer, nn.GroupNorm(groups, outputs), nn.LeakyReLU(SLOPE, inplace=True)
