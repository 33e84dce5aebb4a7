"""Boxes of patches: rectangles of the grid of a picture's patches, cuboids of that of a volume, drawn from keys."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.training.views.draws import uniforms

ATTEMPTS = 20
"""How often a further box is tried for a mask; the published codes stop after ten misses in a row."""

RATIO = 0.3
"""Smallest ratio of two sides of a masked box; its reciprocal is the largest (Bao et al. 2021, arXiv 2106.08254)."""


def sides(patches: Tensor, ratios: Sequence[Tensor], *, grid: Sequence[int]) -> list[Tensor]:
    """The sides of boxes of about so many patches (batch,) each along each axis, at least 1 and within the grid.

    `ratios[axis]`: of the side along this axis to the geometric mean of those along all later ones.
    """
    lengths = _unrounded(patches, ratios, grid=grid)
    return [length.round().clamp(1, edge) for length, edge in zip(lengths, grid, strict=True)]


def most(patches: float, ratio: tuple[float, float], *, grid: Sequence[int]) -> int:
    """A number of patches that no box with `sides` exceeds, of up to so many patches and ratios within this range.

    A side gains half a patch by rounding. The product of such sides is convex in the logarithms of the ratios, so it
    is largest where each of them is at an end of its range.
    """
    ends = torch.cartesian_prod(*[torch.tensor(ratio, dtype=torch.float64)] * len(grid))
    lengths = _unrounded(torch.full((len(ends),), patches, dtype=torch.float64), ends.unbind(dim=1), grid=grid)
    wide = [(length + 0.5).clamp(min=1) for length, edge in zip(lengths, grid, strict=True) if edge > 1]
    return min(math.ceil(torch.stack(wide).prod(dim=0).max()), math.prod(grid))


def _unrounded(patches: Tensor, ratios: Sequence[Tensor], *, grid: Sequence[int]) -> list[Tensor]:
    """The sides of boxes of exactly so many patches, in fractions of a patch; 1 where a grid is that thin."""
    left, further, lengths = patches.clamp(min=1), sum(edge > 1 for edge in grid), []
    for edge, ratio in zip(grid, ratios, strict=True):
        further -= edge > 1
        side = torch.ones_like(left) if edge == 1 else left ** (1 / (further + 1)) * ratio ** (further / (further + 1))
        left = left / side
        lengths.append(side)
    return lengths


def placed(lengths: Sequence[Tensor], chances: Sequence[Tensor], *, grid: Sequence[int]) -> Tensor:
    """Which patches (batch, *grid) lie in a box with these sides; `chances`, each in [0, 1), say where it is."""
    inside = torch.ones((), dtype=torch.bool, device=chances[0].device)
    for axis, (length, chance, edge) in enumerate(zip(lengths, chances, grid, strict=True)):
        start = (chance * (edge - length + 1)).floor()
        place = torch.arange(edge, device=chance.device)
        along = (place >= start[:, None]) & (place < (start + length)[:, None])
        inside = inside & along.view(-1, *(edge if other == axis else 1 for other in range(len(grid))))
    return inside


def masks(keys: Tensor, shares: Tensor, *, grid: Sequence[int], first_draw: int) -> Tensor:
    """Which patches of each image are masked (batch, *grid): boxes, of no more than this share (batch,) of the grid.

    Block-wise masking (Bao et al. 2021, arXiv 2106.08254, algorithm 1), as iBOT has it: a box has at least a ninth of
    the grid's shorter side squared, unless less is left to be masked. Uses (2 * axes + 1) * ATTEMPTS draws.
    """
    axes, masked = len(grid), torch.zeros(len(keys), *grid, dtype=torch.bool, device=keys.device)
    wide = [edge for edge in grid if edge > 1]
    least, wanted = (min(wide) // 3) ** len(wide), shares * masked[0].numel()
    for attempt in range(ATTEMPTS):
        chances = uniforms(keys, first_draw + attempt * (2 * axes + 1), 2 * axes + 1)
        left = wanted - masked.flatten(1).sum(dim=1)
        patches = least + chances[0] * (left - least)
        ratios = [RATIO ** (2 * chance - 1) for chance in chances[1 : axes + 1]]
        new = placed(sides(patches, ratios, grid=grid), chances[axes + 1 :], grid=grid) & ~masked
        count = new.flatten(1).sum(dim=1)
        masked = masked | new & ((count > 0) & (count <= left)).view(-1, *[1] * axes)
    return masked
