"""How often outlines of two equally good sources are told apart: two knees a participant, Dice that is not normal."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

import segmented_made
from headwater.evaluation import bootstrap, eligibility, pairwise
from headwater.study.comparison import Comparison

LEVEL, MISSED, BETTER = 0.05, 0.04, 0.8


@pytest.fixture(scope="module", autouse=True)
def task(tmp_path_factory) -> Iterator[None]:
    """The task `segmentation` is there."""
    with segmented_made.there(tmp_path_factory.mktemp("plugins")):
        yield


def compared(grid: int, *, participants: int, spread: float, pairing: str, sure: float) -> dict[str, dict]:
    """The rows of Dice of one grid: of an equal source and of a better one, each against the first; three seeds."""
    draw, seeds = np.random.default_rng([11, grid]), (0, 1, 2)
    levels = {"one": 1.0, "equal": 1.0, "better": BETTER}
    made = segmented_made.knees(draw, participants=participants, missed=MISSED, sure=sure)
    paired = pairing == "paired"
    factors = segmented_made.trainings(draw, seeds=3, sources=3, spread=spread, paired=paired)
    runs = {}
    for of_source, (source, level) in zip(factors, levels.items(), strict=True):
        for seed, overlap in zip(seeds, segmented_made.dice(draw, made, level=level, factors=of_source), strict=True):
            columns = segmented_made.evidence(draw, made, overlap)
            run = (source, "finetune", seed)
            runs[run] = segmented_made.predictions(made, run, columns, labels=("cartilage",))
    plan = Comparison(
        dataset="knees",
        sources=tuple(levels),
        recipes=("finetune",),
        seeds=seeds,
        task="segmentation",
        reference="one",
        metrics=("dice",),
        pairing=pairing,
        resamples=512,
        seed=grid,
    )
    labels = eligibility.parts(next(iter(runs.values())), comparison=plan, untaught={})
    of_macro = list(bootstrap.statistics(runs, labels, comparison=plan, threads=1))[-1]
    return {row["source"]: row for row in pairwise.rows(of_macro, comparison=plan)}


def claims(grids: int, **design) -> dict[str, float]:
    """Shares of grids: a difference claimed between equals, and intervals that hold the truth."""
    value = segmented_made.expected(1.0, missed=MISSED)
    gain = segmented_made.expected(BETTER, missed=MISSED) - value
    counted = []
    for grid in range(grids):
        rows = compared(grid, **design)
        equal, better = rows["equal"], rows["better"]
        counted.append(
            {
                "type I": equal["p"] <= LEVEL,
                "coverage of the difference": better["difference_low"] <= gain <= better["difference_high"],
                "coverage of the value": equal["value_low"] <= value <= equal["value_high"],
                "power": better["p"] <= LEVEL,
            }
        )
    return {name: float(np.mean([one[name] for one in counted])) for name in counted[0]}


@pytest.mark.parametrize("grids", [40, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("pairing", ["paired", "nested"])
def test_equal_sources_are_told_apart_at_the_level_and_intervals_hold_the_truth(grids, pairing):
    found = claims(grids, participants=100, spread=0.1, pairing=pairing, sure=0.8)
    _, high = stats.binom.interval(0.999, grids, LEVEL + 0.015)
    assert found["type I"] <= high / grids
    assert min(found["coverage of the difference"], found["coverage of the value"]) >= 1 - high / grids
    assert found["power"] > found["type I"]
