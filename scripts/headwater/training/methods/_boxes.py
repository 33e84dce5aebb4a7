"""Boxes of patches: rectangles of the grid of a picture's patches, cuboids of that of a volume, drawn from keys."""

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
    left, further, lengths = patches.clamp(min=1), sum(edge > 1 for edge in grid), []
    for edge, ratio in zip(grid, ratios, strict=True):
        if edge == 1:
            lengths.append(torch.ones_like(left))
            continue
        further -= 1
        side = left ** (1 / (further + 1)) * ratio ** (further / (further + 1))
        left = left / side
        lengths.append(side.round().clamp(1, edge))
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
