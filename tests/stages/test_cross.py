"""Crossed test sets: home is what `compare` says to the last bit, and each cell is what an independent count gives."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import elsewhere_made
from headwater.core.errors import UserError
from headwater.evaluation.external import CROSSED
from headwater.evaluation.pairwise import COMPARISONS
from headwater.evaluation.predictions import ELSEWHERE
from headwater.stages.compare import compare
from headwater.stages.cross import cross
from headwater.study.shared_labels import Exchange, Exchanges

VALUE = ["value", "value_se", "value_low", "value_high"]


def crossed(folder, made, **changes) -> pd.DataFrame:
    """The table of `cross`, with some of its arguments changed."""
    arguments = {name: getattr(made, name) for name in made.__dataclass_fields__ if name != "cases"}
    cross(**(arguments | {"crossed": folder / "crossed.parquet"} | changes))
    return CROSSED.read(folder / "crossed.parquet")


def compared(folder, made) -> pd.DataFrame:
    """The table of `compare` of the networks at home."""
    names = ("comparisons", "curves", "values", "replicates", "provenance")
    products = {name: folder / f"{name}.parquet" for name in names}
    compare(comparison=made.comparison, predictions=made.predictions, labels=made.labels, **products)
    return COMPARISONS.read(products["comparisons"])


def of_home(crossed_table: pd.DataFrame, comparisons: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(the diagonal, the same rows of the comparisons), by metric, label and source."""
    at = ["metric", "label", "source"]
    home = crossed_table[crossed_table["fitted_to"] == "chest"].set_index(at).sort_index()
    first = comparisons.drop_duplicates(at).set_index(at).sort_index()
    return home, first.loc[home.index]


def reached(made, label: str, *, source: str, home: bool) -> list[float]:
    """What each seed of a source reaches by scikit-learn, from the files themselves."""
    files = made.predictions if home else made.elsewhere
    found = []
    for file in files:
        frame = pd.read_parquet(file)
        if frame["source"][0] == source:
            here = frame[(frame["label"] == label) & (frame.get("tested_on", "chest") == "chest")]
            found.append(roc_auc_score(here["target"], here["score"]))
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": ("auroc", "average_precision"), "resamples": 1001},
        {"method": "percentile", "resamples": 300},
        {"method": "delong", "seeds": (0,)},
        {"fewest_positive": 15, "seeds": (0, 1, 2)},
    ],
    ids=str,
)
def test_home_is_what_compare_says_to_the_last_bit(tmp_path, changes):
    made = elsewhere_made.made(tmp_path, **changes)
    home, first = of_home(crossed(tmp_path, made), compared(tmp_path, made))
    assert len(home) == len(made.comparison.metrics) * 4 * 2  # three labels and the macro, two sources
    for column in [*VALUE, "patients", "cases", "positives", "few"]:
        np.testing.assert_array_equal(home[column], first[column], err_msg=column)
    assert home["difference"].isna().all() and home["value"].notna().all()


def test_another_draw_of_patients_is_found_out(tmp_path):
    made = elsewhere_made.made(tmp_path)
    other = made.comparison.model_copy(update={"seed": 1})
    home, first = of_home(crossed(tmp_path, made, comparison=other), compared(tmp_path, made))
    np.testing.assert_array_equal(home["value"], first["value"])
    assert (home["value_se"] != first["value_se"]).all() and (home["value_low"] != first["value_low"]).all()


def test_each_cell_is_what_scikit_learn_counts(tmp_path):
    made = elsewhere_made.made(tmp_path, seeds=(0, 1, 2))
    table = crossed(tmp_path, made).query("fitted_to == 'other'").set_index(["label", "source"])
    assert set(table.index.get_level_values("label")) == {"Mass", "Effusion", "macro"}
    assert set(table.index.get_level_values("source")) == {"random", "dino"}
    for source in ("random", "dino"):
        there = {label: np.mean(reached(made, label, source=source, home=False)) for label in ("Mass", "Effusion")}
        here = {label: np.mean(reached(made, label, source=source, home=True)) for label in ("Mass", "Effusion")}
        there["macro"], here["macro"] = np.mean(list(there.values())), np.mean(list(here.values()))
        for label in there:
            cell = table.loc[label, source]
            assert cell.value == pytest.approx(there[label], abs=1e-12)
            assert cell.home_value == pytest.approx(here[label], abs=1e-12)
            assert cell.difference == pytest.approx(there[label] - here[label], abs=1e-12)
            assert cell.value_low < cell.value < cell.value_high
            assert cell.difference_low < cell.difference < cell.difference_high
            assert cell.findings == (2 if label == "macro" else 1) and cell.patients == 60 and cell.seeds == 3
    assert table.loc["Mass", "dino"].asked == "a mass" and table.loc["macro", "dino"].asked == "macro"


def test_a_label_at_home_is_the_same_in_every_column_that_tells_it(tmp_path):
    table = crossed(tmp_path, elsewhere_made.made(tmp_path)).set_index(["fitted_to", "label", "source"]).sort_index()
    for label in ("Mass", "Effusion"):
        home, guest = table.loc["chest", label], table.loc["other", label]
        for own, others in (("value", "home_value"), ("value_se", "home_se"), ("value_low", "home_low")):
            np.testing.assert_allclose(home[own], guest[others], rtol=1e-12)


def test_a_guest_that_is_the_network_at_home_differs_by_nothing(tmp_path):
    made = elsewhere_made.made(tmp_path, seeds=(0,))
    at_home = {file.parts[-4]: pd.read_parquet(file) for file in made.predictions}
    for file in made.elsewhere:
        frame = ELSEWHERE.read(file)
        scores = at_home[frame["source"][0]][["case", "label", "score"]].rename(columns={"score": "own"})
        own = frame.merge(scores, on=["case", "label"])["own"]
        ELSEWHERE.write(frame.assign(score=own), file)
    guests = crossed(tmp_path, made).query("fitted_to == 'other'")
    assert (guests["difference"] == 0).all() and (guests["difference_se"] == 0).all() and (guests["p"] == 1).all()


def test_the_difference_is_paired_by_patients(tmp_path):
    """The interval of a difference between networks that agree much is narrower than their own errors would allow."""
    made = elsewhere_made.made(tmp_path, seeds=(0,))
    guests = crossed(tmp_path, made).query("fitted_to == 'other'")
    apart = np.hypot(guests["value_se"], guests["home_se"])
    assert (guests["difference_se"] < apart).all()


def test_what_networks_could_not_learn_elsewhere_is_left_out(tmp_path):
    made = elsewhere_made.made(tmp_path, untaught=("a mass",))
    table = crossed(tmp_path, made).query("fitted_to == 'other'").set_index(["label", "source"]).sort_index()
    assert table.loc["Mass", "value"].isna().all() and not table.loc["Mass", "tested"].any()
    assert (table.loc["Mass", "note"] == "left out: no positive case in train of other").all()
    assert (table.loc["macro", "value"] == table.loc["Effusion", "value"]).all()
    assert (table.loc["macro", "findings"] == 1).all()


def test_the_order_of_files_and_the_number_of_threads_change_no_byte(tmp_path):
    made = elsewhere_made.made(tmp_path)
    crossed(tmp_path, made)
    before = (tmp_path / "crossed.parquet").read_bytes()
    backwards = {"predictions": made.predictions[::-1], "elsewhere": made.elsewhere[::-1]}
    crossed(tmp_path, made, **backwards, threads=2)
    assert (tmp_path / "crossed.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.assign(target=1 - frame["target"]), "differs from"),
        (lambda frame: frame[frame["label"] == "Mass"], "run transport again"),
        (lambda frame: frame[frame["case"] != "c00000_0"], "case 'c00000_0' is only in"),
        (lambda frame: frame.assign(score=np.nan), "are not finite"),
        (lambda frame: frame.assign(dataset="third"), "is of networks fitted to third"),
        (lambda frame: frame.assign(source="dino_again"), "is not declared"),
        (lambda frame: frame[frame["tested_on"] == "third"], "holds 0 values of dataset"),
    ],
)
def test_scores_that_do_not_belong_to_the_cases_are_refused(tmp_path, change, said):
    made = elsewhere_made.made(tmp_path)
    ELSEWHERE.write(change(ELSEWHERE.read(made.elsewhere[0])), made.elsewhere[0])
    with pytest.raises(UserError, match=said):
        crossed(tmp_path, made)


def test_a_run_whose_scores_are_absent_is_named(tmp_path):
    made = elsewhere_made.made(tmp_path)
    with pytest.raises(UserError, match="no predictions of run dino/finetune/seed1"):
        crossed(tmp_path, made, elsewhere=made.elsewhere[:-1])
    with pytest.raises(UserError, match="has no label 'a lump'"):
        asked = Exchanges(others=(Exchange(dataset="other", labels=(("Mass", "a lump"),)),))
        crossed(tmp_path, made, fitted_to=asked)


def test_seeds_of_trainings_on_different_images_are_nobodys_pair(tmp_path):
    made = elsewhere_made.made(tmp_path, seeds=(0, 1, 2))
    before = crossed(tmp_path, made).query("fitted_to == 'other'")
    for file in made.elsewhere:
        frame = ELSEWHERE.read(file)
        ELSEWHERE.write(frame.assign(seed=(frame["seed"] + 1) % 3), file)
    after = crossed(tmp_path, made).query("fitted_to == 'other'")
    for column in ("difference", "difference_se", "p"):
        np.testing.assert_allclose(after[column], before[column], rtol=1e-9)
