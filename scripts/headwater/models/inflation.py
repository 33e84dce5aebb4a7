"""Inflation: the weights of a network of slices turned into those of a network of volumes of the same form.

Each kernel is repeated along the depth and divided by its extent there, so that a volume which is the same in each of
its slices gives what the slice gave (I3D: Carreira and Zisserman 2017, arXiv 1705.07750, section 2.2), but for borders
and for the class token, which is not repeated and so weighs less among more tokens.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.models.slices import as_volumes
from headwater.models.timm_library import timm
from headwater.study.source import DEPTH

SHIFTED = {"conv1.weight": "bn1.running_mean", "patch_embed.proj.weight": "patch_embed.proj.bias"}
"""What takes up a constant added to the output of a first layer, with its sign: a norm's mean, or the layer's bias."""


@dataclass(frozen=True, kw_only=True)
class Inflation:
    """How a network of slices becomes one of volumes: the plane of the slices, and both normalisations of the input."""

    plane: str
    slices: tuple[tuple[float, ...], tuple[float, ...]]
    """(mean, std) of the network of slices, for each of its colours."""
    grid: tuple[int, int, int] | None = None
    """Tokens of the network of volumes along each axis, if it is a vision transformer."""

    @property
    def volumes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) of the network of volumes, which are grey: the mean over the colours."""
        return tuple((sum(values) / len(values),) for values in self.slices)

    def inflated(self, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """(tensors of the network of volumes, what changed by name); all others as they were."""
        found, changed = dict(tensors), {}
        for key in [key for key in tensors if key in expected and key in found]:
            own, given = expected[key], tensors[key]
            if key == "pos_embed" and self.grid and given.ndim == 3:
                found[key] = self._positions(given, prefix=own.shape[1] - math.prod(self.grid))
            elif given.ndim == 4 and own.ndim == 5:
                grey = self._in_grey(given, key, found) if given.shape[1] == 3 and own.shape[1] == 1 else given
                found[key] = self._along_the_depth(grey, extent=own.shape[DEPTH[self.plane]])
            if found[key].shape != given.shape:
                changed[key] = f"{_shape(given)} -> {_shape(found[key])}"
        return found, changed

    def _along_the_depth(self, kernel: Tensor, *, extent: int) -> Tensor:
        """A kernel (outputs, inputs, rows, columns) as (outputs, inputs, x, y, z), divided by its extent in depth."""
        return self._turned(kernel, extent=extent) / extent

    def _turned(self, slices: Tensor, *, extent: int) -> Tensor:
        """(..., rows, columns) as (..., x, y, z), the same throughout the depth."""
        upright = as_volumes(slices, depth=DEPTH[self.plane])
        return upright.repeat_interleave(extent, dim=DEPTH[self.plane])

    def _in_grey(self, kernel: Tensor, key: str, found: dict[str, Tensor]) -> Tensor:
        """A first layer that sees the same grey in place of three colours; `found` takes up what normalisation changes.

        Colours are normalised by a mean and a standard deviation each, grey by one: w (x - m) / s of each colour is
        (w S / s) (x - M) / S and a constant, w (M - m) / s.
        """
        (means, stds), ((mean,), (std,)) = self.slices, self.volumes
        means, stds = (torch.tensor(_three(values), dtype=kernel.dtype)[:, None, None] for values in (means, stds))
        constant = (kernel * (mean - means) / stds).sum(dim=(1, 2, 3))
        place = SHIFTED.get(key)
        if place in found:
            found[place] = found[place] - constant if place.endswith("running_mean") else found[place] + constant
        return (kernel * std / stds).sum(dim=1, keepdim=True)

    def _positions(self, positions: Tensor, *, prefix: int) -> Tensor:
        """Position embeddings (1, prefix + tokens, width) of a square of tokens, repeated along the depth."""
        side = math.isqrt(max(0, positions.shape[1] - prefix))
        if not side or side**2 + prefix != positions.shape[1]:
            return positions
        sides = [length for axis, length in enumerate(self.grid, start=-3) if axis != DEPTH[self.plane]]
        # columns lie along the first of the two axes, rows along the second
        resampled = timm.layers.resample_abs_pos_embed(
            positions, new_size=sides[::-1], old_size=[side, side], num_prefix_tokens=prefix
        )
        square = resampled[0, prefix:].T.unflatten(1, sides[::-1])
        cube = self._turned(square, extent=self.grid[DEPTH[self.plane]])
        return torch.cat([resampled[:, :prefix], cube.flatten(1).T[None]], dim=1)


def _three(values: Collection[float]) -> list[float]:
    """One value for each of three colours."""
    return list(values) * (3 // len(values))


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
