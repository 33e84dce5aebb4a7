"""Elastic deformation: a smooth random displacement of what a view shows, by cubic B-splines between control points.

It is free-form deformation (Rueckert et al. 1999, doi 10.1109/42.796284, section II): each view has a lattice of
control points, which are displaced at random, and each place follows the four control points around it along each axis.
"""

import math

import torch
from torch import Tensor

from headwater.study.recipe import Views
from headwater.training.views.draws import fractions

POINTS = 7
"""Control points along each side, one of them beyond each edge: four intervals, as in TorchIO (arXiv 2003.04696)."""


def displacements(keys: Tensor, views: Views, *, draw: int, sides: tuple[int, ...]) -> Tensor | None:
    """How far each place of views of these sides is displaced along each axis, (batch, axes, *sides), as a share of
    the side; 0 where none is drawn, and None where none can be.

    Along an axis that is one voxel wide nothing is displaced.
    """
    if not views.elastic:
        return None
    lattice = [_points(side) for side in sides]
    drawn = fractions(keys, draw, 1 + len(sides) * math.prod(lattice))
    most = torch.where(drawn[:, :1] < views.elastic, views.elastic_displacement, 0.0)
    along = torch.tensor([float(side > 1) for side in sides], device=keys.device, dtype=drawn.dtype)
    points = (most * (2 * drawn[:, 1:] - 1)).view(len(keys), len(sides), *lattice)
    return between(points, sides=sides) * along.view(-1, *(1 for _ in sides))


def between(points: Tensor, *, sides: tuple[int, ...]) -> Tensor:
    """The splines (batch, axes, *sides) of control points (batch, axes, *points), at the middles of pixels."""
    for axis, side in enumerate(sides, start=2):
        count, shape = points.shape[axis], [-1 if place == axis else 1 for place in range(points.ndim)]
        weights = _weights(side, count, like=points)
        # sums of few terms, because a matrix product may round differently in another batch
        points = sum(weights[at].view(shape) * points.narrow(axis, at, 1) for at in range(count))
    return points


def _points(side: int) -> int:
    """Control points along a side; one is enough where nothing is displaced."""
    return POINTS if side > 1 else 1


def _weights(side: int, points: int, *, like: Tensor) -> Tensor:
    """The weight of each control point at the middle of each pixel, (points, side)."""
    if points == 1:
        return like.new_ones(1, side)
    middles = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * (points - 3) / side
    away = (middles - torch.arange(-1, points - 1, device=like.device)[:, None]).abs()
    near, far = 2 / 3 - away**2 + away**3 / 2, (2 - away).clamp(min=0) ** 3 / 6
    return torch.where(away < 1, near, far)
