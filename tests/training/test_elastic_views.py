"""Elastic deformation moves places as cubic B-splines between drawn control points do, and folds nothing."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

import rounding
from headwater.study.recipe import Views
from headwater.training.views import draws, elastic, pictures, volumes

SHAPES = {"picture": (23, 23), "volume": (14, 17, 12), "slice": (20, 26, 1)}
DRAW = {2: 14, 3: volumes.ELASTIC}


def some_keys(count, *, seed=0):
    return draws.keys(seed=seed, epochs=torch.zeros(count, dtype=torch.int64), cases=torch.arange(count))


def middles(sides):
    """The middles of pixels, (axes, *sides), in pixels."""
    return np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij")).astype(float)


def by_scipy(key, *, most, sides):
    """The displacement of every place in pixels, (axes, *sides), by SciPy's splines."""
    lattice = [7 if side > 1 else 1 for side in sides]
    drawn = draws.fractions(key, DRAW[len(sides)], 1 + len(sides) * int(np.prod(lattice)))[0].numpy()
    points = most * (2 * drawn[1:] - 1).reshape(len(sides), *lattice)
    # four intervals of a side; the first control point lies one interval before it
    at = [
        (along + 0.5) / side * 4 + 1 if side > 1 else along for side, along in zip(sides, middles(sides), strict=True)
    ]
    moved = []
    for axis, side in enumerate(sides):
        values = points[axis] if 1 not in lattice else points[axis][..., 0]
        places = at if 1 not in lattice else [along[..., 0] for along in at[:2]]
        spline = map_coordinates(values, places, order=3, prefilter=False).reshape(sides)
        moved.append(side * spline if side > 1 else np.zeros(sides))
    return np.stack(moved)


@rounding.in_float64()
@pytest.mark.parametrize("kind", SHAPES)
def test_a_view_is_scipys_of_the_same_displacements(kind):
    sides, count = SHAPES[kind], 3
    images = torch.rand(count, 1, *sides, generator=torch.Generator().manual_seed(1))
    chance, views = some_keys(count), Views(elastic=1, elastic_displacement=0.1)
    if len(sides) == 2:
        seen = pictures.augment(images.expand(-1, 3, -1, -1), chance, views)[:, 0]
    else:
        spacing = torch.tensor([1.0, 0.5, 3.0]).expand(count, 3)
        seen = volumes.augment(volumes.Patches(images, spacing), chance, views)[:, 0]
    for one in range(count):
        places = middles(sides) + by_scipy(chance[one : one + 1], most=0.1, sides=sides)
        # scipy reflects at the outer edges of the pixels, as views do
        expected = map_coordinates(images[one, 0].numpy(), places, order=1, mode="reflect")
        torch.testing.assert_close(seen[one].numpy(), expected, **rounding.NEAR)
        assert np.abs(expected - images[one, 0].numpy()).mean() > 0.02


@rounding.in_float64()
def test_a_crop_and_a_turn_show_what_is_displaced_within_the_view():
    size, count = 24, 150
    ramp = (torch.arange(96) + 0.5) / 96
    picture = torch.stack([ramp.expand(96, 96), ramp[:, None].expand(96, 96), torch.zeros(96, 96)])
    rest = {"crop": 0.2, "flip": 0.5, "rotation": 40}
    images, chance = picture.expand(count, -1, -1, -1), some_keys(count)
    # of a ramp, a view holds the places that it shows
    rigid, seen = (
        pictures.augment(images, chance, Views(**rest, **more), size=size)[:, :2]
        for more in ({}, {"elastic": 1, "elastic_displacement": 0.04})
    )
    inside = 0
    for one in range(count):
        if rigid[one].min() < 0.1 or rigid[one].max() > 0.9:
            continue
        inside += 1
        down, across = by_scipy(chance[one : one + 1], most=0.04, sides=(size, size))
        by_column, by_row = (rigid[one].diff(dim=axis)[:, 0, 0].numpy()[:, None, None] for axis in (2, 1))
        expected = rigid[one].numpy() + across * by_column + down * by_row
        torch.testing.assert_close(seen[one].numpy(), expected, **rounding.NEAR)
    assert inside >= 3


@pytest.mark.parametrize(("axes", "injective"), [(2, 1 / 2.046392675), (3, 1 / 2.479472335)])
def test_the_largest_displacement_folds_nothing(axes, injective):
    [most] = [bound.le for bound in Views.model_fields["elastic_displacement"].metadata if hasattr(bound, "le")]
    # Choi & Lee 2000 (doi 10.1006/gmod.2000.0531): injective while displacements are below this share of an interval
    assert 4 * most < injective
    sides, chance = (40,) * axes, some_keys(6)
    # all control points as far away as they may be, in directions of their own
    directions = draws.fractions(chance, 0, axes * 7**axes).view(6, axes, *(7,) * axes).round() * 2 - 1
    moved = elastic.between(most * directions.double(), sides=sides)
    slopes = torch.stack(torch.gradient(moved, spacing=1 / 40, dim=tuple(range(2, 2 + axes))), dim=-1).movedim(1, -2)
    assert torch.linalg.det(slopes + torch.eye(axes)).min() > 0


def test_a_share_of_the_views_is_deformed_and_the_others_are_not():
    images = torch.rand(1, 1, 16, 16).expand(400, 3, -1, -1)
    drawn = pictures.augment(images, some_keys(400), Views(elastic=0.25))
    changed = ((drawn - images).abs().flatten(1).amax(dim=1) > 1e-3).sum()
    assert 60 < changed < 140


def test_half_the_displacement_is_half_as_far():
    far, near = (
        elastic.displacements(some_keys(5), Views(elastic=1, elastic_displacement=most), draw=14, sides=(30, 30))
        for most in (0.08, 0.04)
    )
    torch.testing.assert_close(far, 2 * near)
    assert 0.02 < far.abs().amax() < 0.08 and elastic.displacements(some_keys(5), Views(), draw=14, sides=(9,)) is None


def test_deformations_know_nothing_of_each_other():
    first, second = some_keys(3000), some_keys(3000, seed=1)
    views = Views(elastic=1)
    columns = [
        elastic.displacements(chance, views, draw=draw, sides=(8, 8))[:, axis, 4, 4]
        for chance, draw in ((first, 14), (second, 14), (first, 114), (first.roll(1), 14))
        for axis in range(2)
    ]
    correlation = np.corrcoef(torch.stack(columns).numpy()) - np.eye(len(columns))
    assert np.abs(correlation).max() < 5 / np.sqrt(3000)
