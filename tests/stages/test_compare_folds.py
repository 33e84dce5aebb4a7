"""Compare on a dataset in folds: values fold by fold, and Nadeau and Bengio's test, computed here in other words."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from folds_made import PRODUCTS, predicted, prepared
from headwater.core.errors import UserError
from headwater.evaluation import cross_validation
from headwater.evaluation.bootstrap import VALUES
from headwater.evaluation.pairwise import COMPARISONS, REPLICATES
from headwater.evaluation.predictions import PREDICTIONS
from headwater.evaluation.roc import CURVES
from headwater.evaluation.run_files import RUN_FILES
from headwater.stages.compare import compare
from headwater.study.folds import Folds
from predictions_made import comparison

FOLDS = Folds(folds=4)
LABELS = {"Effusion": 0.4, "Mass": 0.3, "Rare": 0.03}
PLAN = {"sources": ("random", "dino", "mae"), "splits": FOLDS, "subsets": {"some": {"chest": ("Mass",)}}}


class Made:
    """Cases, predictions of all runs, and what `compare` writes of them."""

    def __init__(self, folder, files=None):
        self.cases_file = folder / "cases.parquet"
        self.cases = prepared(self.cases_file, labels=LABELS)
        strengths = {"random": 0.3, "dino": 0.9, "mae": 0.5}
        self.files = files or predicted(folder, self.cases, strengths=strengths, folds=FOLDS)
        self.products = {name: folder / f"{name}.parquet" for name in PRODUCTS}

    def compared(self, **changes) -> pd.DataFrame:
        plan = comparison(**(PLAN | changes))
        compare(comparison=plan, predictions=self.files, labels=self.cases_file, **self.products)
        return COMPARISONS.read(self.products["comparisons"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("folds"))


@pytest.fixture(scope="module")
def rows(made):
    return made.compared().set_index(["label", "source", "reference"])


@pytest.fixture(scope="module")
def areas(made) -> dict[str, dict[str, np.ndarray]]:
    """By label and source the AUROC (folds, seeds), by another library."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for file in made.files:
        frame = PREDICTIONS.read(file)
        place = int(frame["dataset"].iloc[0].partition(".fold")[2]), int(frame["seed"].iloc[0])
        for label in ("Effusion", "Mass"):
            part = frame[frame["label"] == label]
            values = found.setdefault(label, {}).setdefault(frame["source"].iloc[0], np.empty((4, 2)))
            values[place] = roc_auc_score(part["target"], part["score"])
    return found


def corrected(apart: np.ndarray, tested: np.ndarray, *, fraction: float = 1.0) -> tuple[float, float]:
    """(standard error of the mean, p) of differences (folds,), by the formula of the paper."""
    variance = apart.var(ddof=1) * (1 / len(apart) + tested.mean() / (fraction * (tested.sum() - tested).mean()))
    error = np.sqrt(variance)
    return error, 2 * stats.t.sf(abs(apart.mean()) / error, len(apart) - 1)


@pytest.mark.parametrize("labels", [["Effusion"], ["Mass"], ["Effusion", "Mass"]])
def test_differences_are_those_of_the_corrected_t_test(areas, rows, labels):
    values = {source: np.mean([areas[label][source] for label in labels], axis=0) for source in PLAN["sources"]}
    tested = np.full(4, 15.0)
    row = rows.loc[labels[0] if len(labels) == 1 else "macro", "dino", "random"]
    apart = (values["dino"] - values["random"]).mean(axis=1)
    error, p = corrected(apart, tested)
    assert (row["difference"], row["difference_se"], row["p"]) == pytest.approx((apart.mean(), error, p), rel=1e-9)
    assert row["degrees_of_freedom"] == 3 and row["value"] == pytest.approx(values["dino"].mean())
    assert row["value_se"] == pytest.approx(corrected(values["dino"].mean(axis=1), tested)[0])
    ends = apart.mean() + stats.t.ppf([0.025, 0.975], 3) * error
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(tuple(ends))
    assert (row["resamples"], row["patients"], row["cases"]) == (0, 60, 120) and np.isnan(row["p_percentile"])
    assert "corrected t over 4 folds" in row["note"] and row["tested"]
    assert "degrees of freedom" not in row["note"] and row["few"] == ("positive patients in all folds" in row["note"])
    # no training has the standard deviation of means over folds
    assert np.isnan(row["effect"]) and np.isnan(row["superiority"])


def test_a_label_that_a_fold_lacks_is_left_out_by_name_and_is_in_no_macro(rows):
    rare = rows.loc["Rare", "dino", "random"]
    assert "left out: no positive case in fold " in rare["note"] and not rare["tested"] and np.isnan(rare["value"])
    assert "mean of 2 labels; without Rare (no positive case in fold" in rows.loc["macro", "dino", "random"]["note"]
    # the macro over a part of the tested labels is that label's
    some, mass = (rows.loc[label, "mae", "random"] for label in ("macro: some", "Mass"))
    assert some["difference"] == mass["difference"] and some["p"] == mass["p"]


def test_each_run_has_its_mean_over_folds_and_each_file_its_provenance(made, areas, rows):
    values = VALUES.read(made.products["values"]).set_index(["label", "source", "seed"])["value"]
    for seed in (0, 1):
        assert values["Mass", "mae", seed] == pytest.approx(areas["Mass"]["mae"][:, seed].mean())
    origin = RUN_FILES.read(made.products["provenance"])
    assert len(origin) == len(made.files) == 24 and set(origin["dataset"]) == {"chest"}
    assert set(origin["run"]) == {"/".join(file.parent.parts[-4:]) for file in made.files}
    # scores of different networks are pooled nowhere
    assert not len(CURVES.read(made.products["curves"])) and not len(REPLICATES.read(made.products["replicates"]))


def test_files_may_come_in_any_order_one_seed_is_enough_and_a_fraction_learns_from_fewer(made, areas, tmp_path):
    one_seed = [file for file in made.files if file.parent.name == "seed0"]
    made_again = Made(tmp_path, files=one_seed[::-1])
    rows = made_again.compared(seeds=(0,), fractions={"finetune": 0.5})
    row = rows.set_index(["label", "source", "reference"]).loc["Mass", "dino", "random"]
    apart = (areas["Mass"]["dino"] - areas["Mass"]["random"])[:, 0]
    error, p = corrected(apart, np.full(4, 15.0), fraction=0.5)
    assert (row["difference_se"], row["p"]) == pytest.approx((error, p))
    # folds tell how much trainings vary
    assert "training noise" not in row["note"]


def test_folds_that_are_not_whole_or_not_apart_are_refused(made, tmp_path):
    less = Made(tmp_path, files=made.files[:-1])
    with pytest.raises(UserError, match=r"chest.fold3: no predictions of run mae/finetune/seed1; predict it first"):
        less.compared()
    other = Made(tmp_path, files=made.files)
    with pytest.raises(UserError, match=r"is about chest.fold3, no fold of chest"):
        other.compared(splits=Folds(folds=3))
    # the last fold tests a patient of the first as well
    patient = PREDICTIONS.read(made.files[0])["patient"].iloc[0]
    mixed = []
    for file in made.files:
        frame = PREDICTIONS.read(file)
        if frame["dataset"].iloc[0] == "chest.fold3":
            frame["patient"] = frame["patient"].where(frame["patient"] != frame["patient"].iloc[0], patient)
        mixed.append(tmp_path / "mixed" / f"{len(mixed)}.parquet")
        PREDICTIONS.write(frame, mixed[-1])
    with pytest.raises(UserError, match=f"patient '{patient}' is tested in two folds"):
        Made(tmp_path, files=mixed).compared()


def test_controls_and_a_margin_are_judged_over_folds_too(made, rows, tmp_path):
    renamed = []
    for file in made.files:
        frame = PREDICTIONS.read(file)
        frame["source"] = frame["source"].replace({"mae": "random_again"})
        renamed.append(tmp_path / f"{len(renamed)}.parquet")
        PREDICTIONS.write(frame, renamed[-1])
    plan = {"sources": ("random", "dino", "random_again"), "again": {"random_again": "random"}, "margin": 0.2}
    row = Made(tmp_path, files=renamed).compared(**plan).set_index(["label", "source"]).loc["Mass", "random_again"]
    before = rows.loc["Mass", "mae", "random"]
    assert (row["p"], row["difference"]) == (before["p"], before["difference"])
    t = (row["difference"] + 0.2) / row["difference_se"]
    assert row["p_noninferior"] == pytest.approx(stats.t.sf(t, 3))


def test_a_label_without_a_case_to_learn_from_is_said_of_its_fold():
    cases = pd.DataFrame(
        {"case": list("abcd"), "patient": list("abcd"), "split": "train", "target:Mass": [1.0, 0, 0, 0]}
    )
    plan = comparison(sources=("random", "dino"), splits=Folds(folds=2, validation=0.4))
    reasons = cross_validation.untaught(cases, np.array(["Mass"]), comparison=plan, file="cases.parquet")
    assert reasons["Mass"].startswith("no positive case in train of fold ")
