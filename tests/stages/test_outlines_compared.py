"""Outlines from evidence to tables: a test set of knees through `compare` and `examine`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import segmented_made
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.evaluation import bootstrap, calibration, eligibility, pairwise, predictions, subgroups
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.study.comparison import Comparison
from predictions_made import counted, told

STRUCTURES = ("femoral", "tibial")
LEVELS = {"random": 1.0, "suprem": 0.6}
METRICS = ("dice", "hausdorff95", "surface_dice", "volume_error", "hallucination", "hallucinated_volume")
PRODUCTS = ("comparisons", "curves", "values", "replicates", "provenance")


@pytest.fixture(scope="module", autouse=True)
def task(tmp_path_factory) -> Iterator[None]:
    """The task `segmentation` is there."""
    with segmented_made.there(tmp_path_factory.mktemp("plugins")):
        yield


def comparison(**changes) -> Comparison:
    """The comparison of both sources by all that is measured of outlines."""
    settings = {
        "reference": "random",
        "metrics": METRICS,
        "resamples": 512,
        "seeds": (0, 1, 2),
        "recipes": ("finetune",),
    }
    return Comparison(dataset="knees", sources=tuple(LEVELS), task="segmentation", **(settings | changes))


def compared(folder: Path, files: list[Path], **changes) -> dict[str, Path]:
    """The products of `compare`."""
    products = {name: folder / f"{name}.parquet" for name in PRODUCTS}
    labels = counted(folder / "labels.parquet", files)
    compare(comparison=comparison(**changes), predictions=files, labels=labels, **products)
    return products


@pytest.fixture(scope="module")
def knees(task, tmp_path_factory) -> tuple[list[Path], dict[str, Path]]:
    """Two sources on forty participants, and what `compare` makes of them."""
    folder = tmp_path_factory.mktemp("knees")
    files = segmented_made.written(folder, levels=LEVELS, structures=STRUCTURES)
    return files, compared(folder, files)


def test_a_better_source_is_found_better_by_measures_of_either_direction(knees):
    rows = pairwise.COMPARISONS.read(knees[1]["comparisons"])
    assert set(rows["metric"]) == set(METRICS) and set(rows["label"]) == {*STRUCTURES, "macro"}
    macro = rows[(rows["label"] == "macro") & (rows["source"] == "suprem")].set_index("metric")
    # not by the distance, which the penalty for what either misses outweighs
    for metric in ("dice", "surface_dice", "volume_error"):
        sign = 1 if registry.load("metrics", metric).BETTER == "higher" else -1
        assert sign * macro.loc[metric, "difference"] > 0 and macro.loc[metric, "superiority"] > 0.5, metric
    # misses at random cost Dice much of its power; what is made up differs clearly
    assert macro.loc["hallucination", "p"] < 0.05
    for row in rows[rows["source"] == "suprem"].itertuples():
        lowest, highest = registry.load("metrics", row.metric).RANGE
        assert lowest <= row.value_low < row.value < row.value_high <= highest
        assert row.difference_low < row.difference < row.difference_high


def test_values_are_means_over_the_cases_of_the_reference(knees):
    files, products = knees
    frame = pd.read_parquet(files[0]).query("label == 'femoral'")
    values = bootstrap.VALUES.read(products["values"])
    found = values.query("label == 'femoral' and source == 'random' and seed == 0").set_index("metric")["value"]
    there, lacking = frame[frame["target"] == 1], frame[frame["target"] == 0]
    assert (there["true_positive"] == 0).any() and len(lacking) > 3
    twice = 2 * there["true_positive"]
    assert found["dice"] == pytest.approx((twice / (twice + there["false_positive"] + there["false_negative"])).mean())
    assert found["hausdorff95"] == pytest.approx(there["hausdorff95"].mean())
    assert found["volume_error"] == pytest.approx((there["predicted_ml"] - there["reference_ml"]).abs().mean())
    assert found["hallucination"] == pytest.approx((lacking["false_positive"] > 0).mean())
    assert found["hallucinated_volume"] == pytest.approx(lacking["predicted_ml"].mean())


def test_rows_count_the_cases_that_they_measure(knees):
    files, products = knees
    frame = pd.read_parquet(files[0])
    rows = pairwise.COMPARISONS.read(products["comparisons"]).query("source == 'suprem'").set_index(["metric", "label"])
    for label, part in frame.groupby("label"):
        for metric, value in (("dice", 1), ("hallucination", 0)):
            inside = part[part["target"] == value]
            row = rows.loc[metric, label]
            assert (row["cases"], row["patients"]) == (len(inside), inside["patient"].nunique())
    there = frame[frame["target"] == 1]
    assert rows.loc[("dice", "macro"), "cases"] == there["case"].nunique()


def test_degrees_of_freedom_are_limited_by_the_participants_that_a_measure_is_about(tmp_path):
    files = segmented_made.written(tmp_path, levels=LEVELS, structures=STRUCTURES, participants=40, lacking=0.2)
    rows = pairwise.COMPARISONS.read(compared(tmp_path, files)["comparisons"])
    rows = rows.query("source == 'suprem' and label in @STRUCTURES").set_index(["metric", "label"])
    for label in STRUCTURES:
        of_dice, lacking = rows.loc["dice", label], rows.loc["hallucination", label]
        assert not of_dice["few"] and of_dice["note"] == ""
        assert lacking["few"] and 10 <= lacking["negative_patients"] < 20
        assert lacking["degrees_of_freedom"] <= lacking["negative_patients"] - 1
        assert f"few patients: {lacking['negative_patients']} negative patients" in lacking["note"]


def test_a_structure_that_all_have_is_compared_but_cannot_be_hallucinated(tmp_path):
    files = segmented_made.written(tmp_path, levels=LEVELS, structures=STRUCTURES, lacking=0)
    rows = pairwise.COMPARISONS.read(compared(tmp_path, files)["comparisons"])
    lacking = rows[rows["metric"] == "hallucination"]
    assert lacking["value"].isna().all() and not lacking["tested"].any()
    assert set(lacking.query("label in @STRUCTURES")["note"]) == {"left out: no negative case in test"}
    assert rows[rows["metric"] == "dice"].query("source == 'suprem'")["tested"].all()


def test_both_knees_of_a_participant_are_drawn_together(knees):
    files, _ = knees
    runs = predictions.read_all(comparison(metrics=("dice",)), files)
    alone = {run: replace(read, patients=read.cases) for run, read in runs.items()}
    errors = []
    for chosen in (runs, alone):
        parts = eligibility.parts(next(iter(chosen.values())), comparison=comparison(metrics=("dice",)), untaught={})
        plan = comparison(metrics=("dice",), resamples=2048)
        macro = [
            one for one in bootstrap.statistics(chosen, parts, comparison=plan, threads=1) if one.label.name == "macro"
        ]
        errors.append(np.sqrt(np.diag(macro[0].covariance)).mean())
    assert errors[0] > 1.05 * errors[1]


def test_networks_without_scores_are_not_calibrated_but_have_subgroups(knees, tmp_path):
    files, _ = knees
    validation = segmented_made.written(tmp_path, levels=LEVELS, structures=STRUCTURES, product="validation", number=9)
    frame = pd.read_parquet(files[0])
    cases = frame[frame["label"] == "femoral"][["case", "patient"]].reset_index(drop=True)
    women = pd.factorize(cases["patient"])[0] % 2 == 0
    names = ("calibration", "reliability", "thresholds", "subgroups", "settled", "provenance")
    products = {name: tmp_path / f"{name}.parquet" for name in names}
    examine(
        comparison=comparison(),
        predictions=files,
        validation=validation,
        labels=counted(tmp_path / "labels.parquet", files),
        cases=told(tmp_path / "cases.parquet", cases, sex=np.where(women, "F", "M")),
        **products,
    )
    assert calibration.CALIBRATION.read(products["calibration"]).empty
    rows = subgroups.SUBGROUPS.read(products["subgroups"]).query("group == 'F' and label == 'femoral'")
    inside = frame[(frame["label"] == "femoral") & (frame["target"] == 1) & frame["case"].isin(cases["case"][women])]
    assert set(rows["metric"]) == {"dice"} and rows["value"].between(0.3, 1).all()
    assert (rows["cases"] == len(inside)).all()


@pytest.mark.parametrize(
    ("column", "wanted", "said"),
    [
        (
            "hausdorff95",
            1,
            "hausdorff95 needs hausdorff95 of every case that it is about, but 1 have none, such as case",
        ),
        ("true_positive", 1, "dice needs true_positive of every case"),
        ("predicted_ml", 0, "hallucinated_volume needs predicted_ml of every case"),
    ],
)
def test_a_source_that_leaves_out_a_case_is_refused(knees, tmp_path, column, wanted, said):
    files = list(knees[0])
    frame = pd.read_parquet(files[1])
    frame.loc[frame.index[frame["target"] == wanted][0], column] = np.nan
    files[1] = tmp_path / "predictions.parquet"
    frame.to_parquet(files[1])
    with pytest.raises(UserError, match=said):
        predictions.read_all(comparison(), files)
