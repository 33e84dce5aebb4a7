"""What the demo promises, checked on what `make demo` wrote; run by name, after it."""

from pathlib import Path

import pandas as pd
import pytest

REPORT = Path(__file__).parent.parent / "results" / "demo" / "report"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.read_csv(REPORT / "significance.csv", keep_default_na=True)


def test_each_dataset_label_and_the_macro_are_there(table):
    assert set(table["dataset"]) == {"chestxray14", "vindr"}
    for _, rows in table.groupby("dataset"):
        assert rows["label"].nunique() == 5 and "macro" in set(rows["label"])
        assert set(rows["source"]) - set(rows["reference"].dropna()) >= {
            "random_again",
            "photographs_supervised",
            "photographs_dino",
            "radiographs_supervised",
        }


def test_the_columns_that_a_reviewer_asks_for_are_there(table):
    for column in (
        "source",
        "reference",
        "value",
        "value_low",
        "value_high",
        "difference",
        "difference_low",
        "difference_high",
        "p",
        "p_adjusted",
        "patients",
        "seeds",
        "resamples",
    ):
        assert column in table.columns


def test_the_control_does_not_differ(table):
    control = table[table["source"] == "random_again"]
    assert len(control) >= 10 and (control["p_adjusted"] > 0.05).all()


def test_some_source_is_better_than_random(table):
    better = table[(table["p_adjusted"] < 0.05) & (table["difference"] > 0) & (table["label"] == "macro")]
    assert len(better) >= 1


def test_the_signal_is_neither_absent_nor_trivial(table):
    assert table["value"].between(0.6, 0.98).all()
    assert table["reference_value"].dropna().between(0.6, 0.98).all()
