"""Resampling keeps means and places, forgets no thin slice, and takes masks to a grid and back as outputs are."""

import numpy as np
import pytest

from headwater.data import geometry
from headwater.data.geometry import Grids


def grids(sides, *, spacing=(1.0, 1.0, 1.0), wanted=None, values=None):
    return geometry.grids(
        np.ones(sides, np.float32) if values is None else values, spacing=spacing, wanted=wanted, hounsfield=False
    )


def ball(sides, *, radius, spacing=(1.0, 1.0, 1.0)):
    axes = np.meshgrid(
        *((np.arange(side) - (side - 1) / 2) * step for side, step in zip(sides, spacing, strict=True)), indexing="ij"
    )
    return (sum(axis**2 for axis in axes) <= radius**2).astype(np.uint8)


def test_every_second_bright_slice_keeps_its_share_when_a_volume_shrinks():
    stripes = np.zeros((64, 8, 8), np.float32)
    stripes[::4] = 1
    small = grids((64, 8, 8), wanted=(4.0, 1.0, 1.0)).to_prepared(stripes)
    # interpolation without smoothing gives 0 or 1 by where the new voxels happen to lie
    assert small.shape == (16, 8, 8) and abs(small.mean() - 0.25) < 0.01 and small.std() < 0.05


@pytest.mark.parametrize("wanted", [(2.0, 1.5, 1.2), (0.5, 0.7, 0.9)])
def test_a_slope_stays_where_it_was(wanted):
    x, y, z = np.mgrid[:24, :20, :18].astype(np.float32)
    slope = x + 2 * y - z
    grid = grids(slope.shape, wanted=wanted)
    there = grid.to_prepared(slope)
    centres = [
        (side - 1) / 2 + (np.arange(many) - (many - 1) / 2) * step
        for side, many, step in zip(slope.shape, grid.shape, wanted, strict=True)
    ]
    expected = sum(factor * axis for factor, axis in zip((1, 2, -1), np.meshgrid(*centres, indexing="ij"), strict=True))
    inner = (slice(3, -3),) * 3
    # a voxel is 1 wide: triangles of fractional width move what they smooth by a few hundredths of that
    np.testing.assert_allclose(there[inner], expected[inner], atol=0.1 if max(wanted) > 1 else 1e-3)
    back = grid.to_source(there[None])[0]
    np.testing.assert_allclose(back[inner], slope[inner], atol=0.2 if max(wanted) > 1 else 2e-3)


def test_resampling_a_flipped_volume_flips_the_result():
    values = np.random.default_rng(0).normal(size=(13, 14, 15)).astype(np.float32)
    grid = grids(values.shape, wanted=(1.3, 0.8, 2.0))
    np.testing.assert_allclose(grid.to_prepared(values[::-1])[::-1], grid.to_prepared(values), atol=1e-5)


@pytest.mark.parametrize("hounsfield", [True, False])
def test_what_lies_outside_of_the_body_is_cropped_and_comes_back_as_nothing(hounsfield):
    values = np.full((30, 40, 20), -1000.0, np.float32)
    values[12:20, 15:30, 8:12] = 50
    grid = geometry.grids(values, spacing=(5.0, 5.0, 5.0), wanted=None, hounsfield=hounsfield)
    margin = 2 if hounsfield else 0
    assert grid.crop == (12 - margin, 15 - margin, 8 - margin)
    assert grid.shape == (8 + 2 * margin, 15 + 2 * margin, 4 + 2 * margin)
    back = grid.to_source(np.ones((2, *grid.shape), np.float32))
    assert back.shape == (2, 30, 40, 20) and back.sum() == 2 * np.prod(grid.shape) and back[:, 0].sum() == 0
    mask = (values > 0).astype(np.uint8)
    np.testing.assert_array_equal(grid.masks_to_source(grid.masks_to_prepared(mask)), mask)


def test_a_volume_at_its_own_spacing_is_left_alone_even_if_headers_round():
    values = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    grid = grids(values.shape, spacing=(0.9999, 1.0, 1.00001), wanted=(1.0, 1.0, 1.0))
    assert grid.spacing == (0.9999, 1.0, 1.00001)
    np.testing.assert_array_equal(grid.to_prepared(values), values)


def test_the_ceiling_of_thin_structures_is_low_and_of_thick_ones_high():
    thick, shell = ball((48, 48, 48), radius=20), ball((48, 48, 48), radius=20) - ball((48, 48, 48), radius=18)
    reached = []
    for mask in (thick, shell):
        grid = grids(mask.shape, wanted=(3.0, 3.0, 3.0))
        reached += geometry.dice(grid.masks_to_source(grid.masks_to_prepared(mask)), mask, structures=1)
    assert reached[0] > 0.95 and 0.3 < reached[1] < 0.85


def test_an_oracle_reaches_exactly_the_ceiling():
    mask = ball((40, 40, 24), radius=9) + ball((40, 40, 24), radius=5)
    grid = grids(mask.shape, wanted=(2.0, 1.4, 1.0))
    outline = grid.masks_to_prepared(mask)
    certain = np.stack([outline == value for value in range(3)]).astype(np.float32)
    predicted = grid.to_source(certain).argmax(axis=0).astype(np.uint8)
    ceiling = geometry.dice(grid.masks_to_source(outline), mask, structures=2)
    assert geometry.dice(predicted, mask, structures=2) == ceiling and min(ceiling) < 0.98


def test_dice_is_that_of_the_formula_and_unknown_without_a_reference():
    ours, theirs = np.array([[0, 1, 1, 2]], np.uint8), np.array([[0, 1, 0, 1]], np.uint8)
    one, two, three = geometry.dice(ours, theirs, structures=3)
    assert one == 0.5 and np.isnan(two) and np.isnan(three)


def test_the_sides_of_a_grid_cover_the_volume():
    assert Grids(*[(10, 10, 10), (1.0, 1.0, 1.0)] * 1, (0, 0, 0), (10, 10, 10), (5, 4, 10), (2.0, 2.5, 1.0)) == grids(
        (10, 10, 10), wanted=(2.0, 2.5, 1.0)
    )
