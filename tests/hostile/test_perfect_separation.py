"""Perfect separation: an interval without width is named as such, and none leaves the metric's range."""

import numpy as np
import pytest

from headwater.evaluation.pairwise import without_width
from headwater.evaluation.statistics.readers import Estimate
from predictions_made import cohort, written
from test_compare import compared, row


def predictions(folder, **strengths: float):
    cases = cohort(patients=60, images=2, labels={"Effusion": 0.4, "Mass": 0.3})
    return written(folder, cases, strengths=strengths)


@pytest.mark.parametrize("method", ["obuchowski_rockette", "percentile"])
def test_a_source_that_is_always_right_has_a_note(tmp_path, method):
    frame = compared(tmp_path, predictions(tmp_path, random=1.0, dino=50.0), method=method)
    best = row(frame)
    assert (best.value, best.value_low, best.value_high) == (1.0, 1.0, 1.0)
    assert "interval without width: dino the same in every resample, which is no certainty" in best.note
    # its reference is right at times only, so the difference has a width
    assert best.reference_low < best.reference_high <= 1 and best.difference_low < best.difference_high
    ordinary = compared(tmp_path, predictions(tmp_path, random=1.0, dino=1.5), method=method)
    assert not ordinary["note"].str.contains("without width").any()
    bounded = ordinary[["value_low", "reference_low", "value_high", "reference_high"]].to_numpy()
    assert np.nanmin(bounded) >= 0 and np.nanmax(bounded) <= 1


def test_two_sources_that_are_always_right_are_both_named(tmp_path):
    frame = compared(tmp_path, predictions(tmp_path, random=50.0, dino=50.0))
    assert "interval without width: dino and random the same in every resample" in row(frame).note


def test_chance_is_no_interval_and_unknown_ones_are_none():
    nothing = dict.fromkeys(
        [f"{part}_{end}" for part in ("value", "reference", "difference") for end in ("low", "high")], np.nan
    )
    assert without_width(nothing, source="a", reference="b") == ""
    wide = nothing | {"value_low": 0.4, "value_high": 0.6, "reference_low": 0.5, "reference_high": 0.5}
    assert without_width(wide, source="a", reference="chance") == ""
    equal = wide | {"difference_low": 0.0, "difference_high": 0.0}
    assert without_width(equal, source="a", reference="chance").startswith("interval without width: the difference")


@pytest.mark.parametrize(("value", "bounds"), [(1.0, (0.0, 1.0)), (0.0, (0.0, 1.0)), (0.5, (0.0, np.inf))])
def test_no_interval_leaves_the_range_of_its_metric(value, bounds):
    estimate = Estimate(value, 0.25, 3.0)
    low, high = estimate.interval_inside(0.05, bounds=bounds)
    assert bounds[0] <= low < high <= bounds[1]
    assert estimate.interval(0.05)[0] < 0 or estimate.interval(0.05)[1] > 1
    least, most = Estimate(0.9, 1.0, 3.0).interval_of_difference(0.05, bounds=(0.0, 1.0))
    assert (least, most) == (-1.0, 1.0)
