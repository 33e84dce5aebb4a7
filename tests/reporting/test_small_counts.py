"""A count of few patients is shown nowhere, and cannot be computed from what is shown."""

import numpy as np
import pandas as pd
import pytest

from headwater.core.records import Choice
from headwater.data.tables import SPLITS
from headwater.reporting import cohort, small_counts
from headwater.study.archive import Archive, Dataset
from headwater.study.comparison import Comparing
from headwater.study.grid import Grid
from headwater.study.recipe import Recipe, Training

GRID = Grid(
    archives=(Archive(name="chestxray14", kind="chestxray14"),),
    reductions={"everything": Choice(name="everything")},
    sources=(),
    datasets=(Dataset(name="chest", archive="chestxray14", labels=("Hernia", "Effusion")),),
    recipes=(Recipe(name="finetune", training=Training(steps=1)),),
    seeds=(0,),
    comparing=Comparing(),
)


def cohort_of(*, seed: int) -> pd.DataFrame:
    """Cases of which some groups are small in some splits, drawn anew for each seed."""
    random = np.random.default_rng(seed)
    count = 400
    views = random.choice(["PA", "AP", "LL", "oblique"], count, p=[0.6, 0.3, 0.07, 0.03])
    return pd.DataFrame(
        {
            "case": [f"c{number}" for number in range(count)],
            "patient": [f"p{number}" for number in range(count)],
            "split": random.choice(SPLITS, count, p=[0.7, 0.1, 0.2]),
            "sex": random.choice(["F", "M", ""], count, p=[0.05, 0.9, 0.05]),
            "age": np.where(random.random(count) < 0.1, 50.0, np.nan),
            "view": views,
            "target:Hernia": (random.random(count) < 0.03).astype(float),
            "target:Effusion": (random.random(count) < 0.4).astype(float),
        }
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_small_count_of_the_cohort_is_shown_nor_can_be_computed(seed):
    cases = cohort_of(seed=seed)
    table = cohort.table({"chestxray14": cases}, grid=GRID)
    exact = table.exact[~table.exact["characteristic"].isin(["cases", "patients", "age"])]
    values = exact["value"].astype(str)
    assert (values.isin(["<10", "≥10"])).any() and "<10: so few" in " ".join(table.notes)
    numbers = pd.to_numeric(exact["value"], errors="coerce")
    assert not numbers.between(1, 9).any()
    # splits add up to all of them
    for _, rows in exact.groupby(["characteristic", "name"]):
        parts = rows[rows["split"] != "all"]
        unknown = pd.to_numeric(parts["value"], errors="coerce").isna()
        if pd.to_numeric(rows["value"], errors="coerce").notna().iloc[0]:
            assert unknown.sum() != 1, rows
    # projections add up to the cases of a split
    for _, rows in exact[exact["characteristic"] == "projection"].groupby("split"):
        assert pd.to_numeric(rows["value"], errors="coerce").isna().sum() != 1, rows
    # either side of a yes or no tells the other
    for row in exact[exact["characteristic"].isin(["women", "label"])].itertuples():
        if not isinstance(row.value, str):
            assert not 0 < row.known - row.value < 10
    ages = table.exact[table.exact["characteristic"] == "age"]
    few = ages["known"].astype(str) == "<10"
    assert few.any() and (ages.loc[few, "value"] == "").all() and ages.loc[few, "sd"].isna().all()
    assert not set(table.shown[["All", "Train", "Validation", "Test"]].to_numpy().ravel()) & {"1", "9 (2.2%)"}


def groups(**counts: list[int]) -> pd.DataFrame:
    """Rows of one source and finding, a row for each group."""
    many = len(counts["patients"])
    places = {"dataset": "chest", "recipe": "finetune", "source": "random", "label": "Hernia", "characteristic": "sex"}
    note = "described only: 3 positive patients, fewer than 10"
    return pd.DataFrame({**places, "group": list("abcd")[:many], "cases": counts["patients"], "note": note, **counts})


def test_of_a_small_group_neither_its_counts_nor_its_neighbours_are_shown():
    rows = groups(
        patients=[100, 40, 60], positives=[50, 3, 30], positive_patients=[50, 3, 30], negative_patients=[50, 37, 30]
    )
    shown = small_counts.hidden_groups(rows, least=10)
    assert shown["patients"].tolist() == [100, 40, 60]
    assert shown["positive_patients"].tolist() == [50, "<10", "≥10"]
    assert shown["negative_patients"].tolist() == [50, "≥10", "≥10"]
    assert shown["note"].tolist()[1] == "described only: <10 positive patients"
    assert "3" not in shown["note"][1]


def test_a_group_of_few_patients_hides_all_that_is_counted_in_it():
    rows = groups(patients=[100, 4], positives=[50, 0], positive_patients=[50, 0], negative_patients=[50, 4])
    shown = small_counts.hidden_groups(rows, least=10)
    assert shown["patients"].tolist() == ["≥10", "<10"] and shown["cases"].tolist() == ["≥10", "<10"]
    assert shown["positives"].tolist() == ["≥10", "<10"]


def test_where_all_are_many_or_none_numbers_stay_numbers():
    rows = groups(patients=[100, 40], positives=[50, 0], positive_patients=[50, 0], negative_patients=[50, 40])
    shown = small_counts.hidden_groups(rows, least=10)
    pd.testing.assert_frame_equal(shown[list(rows.columns)], rows)
