"""Outlines are measured as MONAI measures them, and as the plainest form of each definition does."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from monai.metrics.meandice import compute_dice
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

from headwater.core.errors import UserError
from headwater.models import outlines

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.36, 0.36), (0.7, 0.365, 0.365)]
KNEE = SPACINGS[1]


def pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A structure and its outline by a network: smooth, thin, scattered, cut by the edge of the grid, or far apart."""
    draw = np.random.default_rng(number)
    shape = tuple(draw.integers(4, 22, 3))
    field = ndimage.gaussian_filter(draw.standard_normal(shape), draw.choice([0.0, 0.8, 1.6, 2.5]))
    other = field + field.std() * draw.choice([0.1, 0.5, 2.0]) * ndimage.gaussian_filter(draw.standard_normal(shape), 1)
    return tuple(
        np.roll(one > np.quantile(one, draw.choice([0.5, 0.8, 0.97])), draw.integers(0, 3)) for one in (field, other)
    )


def by_monai(predicted: np.ndarray, reference: np.ndarray, spacing, tolerance: float) -> dict[str, float]:
    """What MONAI says; its percentile once as it rounds it, and once without rounding."""
    one, other = (torch.from_numpy(mask)[None, None] for mask in (predicted, reference))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        how = {"include_background": True, "spacing": list(spacing)}
        directed = get_edge_surface_distance(one[0, 0], other[0, 0], spacing=list(spacing), symmetric=True)[1]
        return {
            "dice": float(compute_dice(one.float(), other.float())),
            "hausdorff95": max(float(np.percentile(part.numpy().astype(float), 95)) for part in directed),
            "rounded": float(compute_hausdorff_distance(one, other, percentile=95, **how)),
            "surface_dice": float(compute_surface_dice(one, other, class_thresholds=[tolerance], **how)),
        }


def by_hand(predicted: np.ndarray, reference: np.ndarray, spacing, tolerance: float) -> tuple[float, float]:
    """(HD95, NSD) from scipy's distance transform of the whole grid and its erosion."""
    one, other = (mask & ~ndimage.binary_erosion(mask) for mask in (predicted, reference))
    away = [ndimage.distance_transform_edt(~of, sampling=spacing)[at] for at, of in ((one, other), (other, one))]
    within = np.concatenate(away) <= tolerance + 1e-6
    return max(np.percentile(part, 95) for part in away), within.mean()


def dice(found: outlines.Outline) -> float:
    twice = 2 * found.true_positive
    return twice / (twice + found.false_positive + found.false_negative)


@pytest.mark.parametrize("pairs", [36, pytest.param(200, marks=pytest.mark.soak)])
def test_random_pairs_are_measured_as_by_monai_and_by_the_distance_transform(pairs):
    for number in range(pairs):
        predicted, reference = pair(number)
        spacing, tolerance = SPACINGS[number % 3], (0.36, 1.0, 2.5)[number // 3 % 3]
        found = outlines.measure(predicted, reference, spacing=spacing, tolerance=tolerance)
        expected = by_monai(predicted, reference, spacing, tolerance)
        # torch takes the rank of a percentile in float32
        assert found.hausdorff95 == pytest.approx(expected.pop("rounded"), rel=1e-5)
        ours = {"dice": dice(found), "hausdorff95": found.hausdorff95, "surface_dice": found.surface_dice}
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)
        plain = by_hand(predicted, reference, spacing, tolerance)
        assert (found.hausdorff95, found.surface_dice) == pytest.approx(plain, rel=1e-9, abs=1e-9)


def brute(predicted: np.ndarray, reference: np.ndarray, spacing, tolerance: float) -> tuple[float, float]:
    """(HD95, NSD) voxel by voxel, as the definitions say it."""

    def border(mask: np.ndarray) -> list[tuple[int, ...]]:
        inside = set(map(tuple, np.argwhere(mask)))
        # across an axis of one voxel there is no outside
        wide = [at for at, side in enumerate(mask.shape) if side > 1] or [0]
        steps = [tuple(sign * (axis == at) for axis in range(mask.ndim)) for at in wide for sign in (-1, 1)]
        return [at for at in inside if any(tuple(np.add(at, step)) not in inside for step in steps)]

    def away(one, other) -> list[float]:
        lengths = np.array(spacing)
        return [min(math.dist(at * lengths, to * lengths) for to in np.array(other)) for at in np.array(one)]

    both = [border(predicted), border(reference)]
    directed = [away(*both), away(*both[::-1])]
    within = [distance <= tolerance + 1e-9 for distances in directed for distance in distances]
    return max(np.percentile(distances, 95) for distances in directed), np.mean(within)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3) | st.tuples(*[st.integers(1, 6)] * 2),
    numbers=st.data(),
)
def test_small_masks_are_measured_as_the_definitions_say(shape, numbers):
    predicted, reference = (numbers.draw(arrays.arrays(bool, shape).filter(np.any)) for _ in range(2))
    spacing = [numbers.draw(st.sampled_from([0.25, 1.0, 3.0])) for _ in shape]
    found = outlines.measure(predicted, reference, spacing=spacing, tolerance=1.0)
    expected = brute(predicted, reference, spacing, 1.0)
    assert (found.hausdorff95, found.surface_dice) == pytest.approx(expected, abs=1e-9)
    turned = outlines.measure(reference, predicted, spacing=spacing, tolerance=1.0)
    assert (turned.hausdorff95, turned.surface_dice) == pytest.approx(expected, abs=1e-9)
    assert (turned.false_positive, turned.predicted_ml) == pytest.approx(
        (found.false_negative, found.reference_ml), nan_ok=True
    )


def test_a_shifted_cube_by_hand():
    reference = np.zeros((20, 20, 20), bool)
    reference[5:9, 5:9, 5:9] = True
    found = outlines.measure(np.roll(reference, 2, axis=0), reference, spacing=KNEE, tolerance=1.0)
    assert (found.true_positive, found.false_positive, found.false_negative) == (32, 32, 32)
    # two slices of 3 mm away
    assert found.hausdorff95 == pytest.approx(6.0)
    assert found.reference_ml == found.predicted_ml == pytest.approx(64 * 3 * 0.36 * 0.36 / 1000)


@pytest.mark.parametrize("corner", list(itertools.product((0, -1), repeat=3)))
def test_one_voxel_in_a_corner_of_the_grid_is_its_own_border(corner):
    one = np.zeros((6, 7, 8), bool)
    one[corner] = True
    same = outlines.measure(one, one, spacing=KNEE, tolerance=0.0)
    assert (same.hausdorff95, same.surface_dice, dice(same)) == (0.0, 1.0, 1.0)
    whole = outlines.measure(np.ones_like(one), one, spacing=KNEE, tolerance=1.0)
    expected = by_monai(np.ones_like(one), one, KNEE, 1.0)
    assert whole.hausdorff95 == pytest.approx(expected["hausdorff95"], rel=1e-6)
    assert whole.surface_dice == pytest.approx(expected["surface_dice"], rel=1e-6)


def test_a_missed_structure_has_no_overlap_and_the_largest_distance_that_its_grid_allows():
    reference = np.zeros((10, 20, 30), bool)
    reference[0, 0, 0] = True
    found = outlines.measure(np.zeros_like(reference), reference, spacing=KNEE, tolerance=1.0)
    assert (found.true_positive, found.false_positive, found.false_negative, found.surface_dice) == (0, 0, 1, 0.0)
    assert found.hausdorff95 == pytest.approx(math.sqrt(30**2 + 7.2**2 + 10.8**2))
    # the worst that can be drawn instead is nearer
    far = np.zeros_like(reference)
    far[-1, -1, -1] = True
    drawn = outlines.measure(far, reference, spacing=KNEE, tolerance=1.0)
    assert 0 < drawn.hausdorff95 < found.hausdorff95 and drawn.surface_dice == 0


def test_a_structure_that_is_not_there_has_a_volume_only_where_it_is_drawn():
    nothing, drawn = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    for predicted, voxels in ((drawn, 64), (nothing, 0)):
        found = outlines.measure(predicted, nothing, spacing=(10.0, 10.0, 10.0), tolerance=1.0)
        assert (found.true_positive, found.false_positive, found.false_negative) == (0, voxels, 0)
        assert np.isnan([found.hausdorff95, found.surface_dice]).all()
        assert (found.predicted_ml, found.reference_ml) == (voxels, 0)


def test_a_picture_has_millimetres_but_no_millilitres():
    one = np.zeros((8, 8), bool)
    one[2:5, 2:5] = True
    found = outlines.measure(np.roll(one, 1, axis=1), one, spacing=(0.5, 0.5), tolerance=0.5)
    assert found.hausdorff95 == pytest.approx(0.5) and found.surface_dice == 1.0
    assert np.isnan([found.reference_ml, found.predicted_ml]).all()


def test_masks_are_left_as_they_are_whatever_their_order_in_memory():
    predicted, reference = pair(3)
    copies = predicted.copy(), reference.copy()
    found = outlines.measure(predicted, reference, spacing=KNEE, tolerance=1.0)
    assert np.array_equal(predicted, copies[0]) and np.array_equal(reference, copies[1])
    columns = [np.asfortranarray(mask) for mask in copies]
    assert outlines.measure(*columns, spacing=KNEE, tolerance=1.0) == found


def test_masks_of_two_grids_and_spacings_that_are_none_are_refused():
    one = np.ones((2, 2, 2), bool)
    with pytest.raises(UserError, match="resample it to the grid of the reference"):
        outlines.measure(one, np.ones((2, 2, 3), bool), spacing=KNEE, tolerance=1.0)
    for spacing in ((1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, math.nan)):
        with pytest.raises(UserError, match="one positive length for each axis"):
            outlines.measure(one, one, spacing=spacing, tolerance=1.0)
