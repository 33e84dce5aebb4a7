import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import UserError
from headwater.data.splits import account, by_fold, digests, in_fold, origin, with_splits
from headwater.data.tables import SPLITS
from headwater.study.folds import Fold, Folds


def catalogue(patients, splits=None, targets=None):
    return pd.DataFrame(
        {
            "case": [f"case{number}" for number in range(len(patients))],
            "patient": patients,
            "split": splits or [""] * len(patients),
            "target:Mass": targets or [number % 3 == 0 for number in range(len(patients))],
            "target:Hernia": [number % 11 == 0 for number in range(len(patients))],
        }
    ).astype({"target:Mass": float, "target:Hernia": float})


def split(cases, validation=0.1, test=0.2, seed=0, files=None):
    return with_splits(cases, validation=validation, test=test, seed=seed, files=files or {})


patient_lists = st.lists(st.integers(0, 40).map("patient{}".format), min_size=20, max_size=120).filter(
    lambda patients: len(set(patients)) >= 8
)


@settings(deadline=None, max_examples=40)
@given(patients=patient_lists, seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_patients_stay_together_and_rows_may_come_in_any_order(patients, seed, order):
    cases = catalogue(patients)
    made = split(cases, seed=seed)
    assert list(made["case"]) == list(cases["case"])
    assert set(made["split"]) == set(SPLITS)
    assert (made.groupby("patient")["split"].agg(set).map(len) == 1).all()
    shuffled = cases.sample(frac=1, random_state=order.randrange(2**32))
    pd.testing.assert_series_equal(split(shuffled, seed=seed)["split"].sort_index(), made["split"])


@settings(deadline=None, max_examples=40)
@given(many=st.integers(20, 200), validation=st.floats(0.05, 0.4), test=st.floats(0.05, 0.5), seed=st.integers(0, 9))
def test_the_shares_are_shares_of_patients(many, validation, test, seed):
    made = split(catalogue([f"patient{number}" for number in range(many)]), validation, test, seed)
    patients = made.groupby("split")["patient"].nunique()
    assert abs(patients["test"] - test * many) <= 1
    assert abs(patients["validation"] - validation * (many - patients["test"])) <= 1


def test_labels_are_spread_evenly():
    made = split(catalogue([f"patient{number}" for number in range(1100)]), validation=0.2, test=0.25)
    hernia = made[made["target:Hernia"] == 1]["split"].value_counts(normalize=True)
    assert hernia["test"] == pytest.approx(0.25, abs=0.02)
    assert hernia["validation"] == pytest.approx(0.15, abs=0.02)


def test_the_seed_draws_others():
    cases = catalogue([f"patient{number}" for number in range(60)])
    assert not split(cases, seed=0)["split"].equals(split(cases, seed=1)["split"])


def test_official_splits_stay(tmp_path):
    patients = [f"patient{number // 2}" for number in range(60)]
    official = np.where(np.arange(60) < 40, "train", "test").tolist()
    made = split(catalogue(patients, official), validation=0.25)
    assert (made["split"] == "test").equals(pd.Series(official) == "test")
    assert made.loc[made["split"] == "validation", "patient"].nunique() == 5
    three = np.where(np.arange(60) < 40, "train", np.where(np.arange(60) < 50, "validation", "test")).tolist()
    assert split(catalogue(patients, three))["split"].tolist() == three


def test_cases_without_labels_can_be_split():
    cases = catalogue([f"patient{number}" for number in range(30)]).drop(columns=["target:Mass", "target:Hernia"])
    made = split(cases, validation=0.25)
    assert made["split"].value_counts().to_dict() == {"train": 18, "test": 6, "validation": 6}


def test_a_patient_in_two_official_splits_is_refused_by_name_of_both_files(tmp_path):
    files = {"train": tmp_path / "train_list.txt", "test": tmp_path / "test_list.txt"}
    cases = catalogue(["anna", "anna", "bert", "carl", "carl"], ["train", "test", "train", "train", "test"])
    with pytest.raises(UserError) as refused:
        split(cases, files=files)
    for words in (*map(str, files.values()), "patient anna", "2 such patients"):
        assert words in str(refused.value)


def test_an_empty_split_is_refused():
    with pytest.raises(UserError, match="no case is left for the train split"):
        split(catalogue(["anna", "bert"]))
    with pytest.raises(UserError, match="no case is left for the train split"):
        split(catalogue(["anna", "bert"], ["test", "test"]))


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="there is no split 'val'"):
        split(catalogue(["anna", "bert"], ["val", "test"]))


@settings(deadline=None, max_examples=40)
@given(patients=patient_lists, order=st.randoms(use_true_random=False))
def test_a_digest_knows_no_order_and_no_more_than_split_patient_and_case(patients, order):
    made = split(catalogue(patients)).assign(age=40.0)
    rows = list(made.index)
    order.shuffle(rows)
    turned = made.loc[rows, ["split", "case", "patient"]]
    assert digests(made) == digests(turned)


def test_a_digest_is_the_one_that_its_words_say():
    made = pd.DataFrame({"split": ["test", "train", "train", ""], "patient": list("zbap"), "case": list("1234")})
    train = hashlib.sha256(b'["train", "a", "3"]\n["train", "b", "2"]\n').hexdigest()
    whole = hashlib.sha256(b'["test", "z", "1"]\n["train", "a", "3"]\n["train", "b", "2"]\n').hexdigest()
    nobody = hashlib.sha256(b"").hexdigest()
    found = digests(made)
    assert (found["train"], found["validation"], found["all"]) == (train, nobody, whole)


def test_one_patient_in_another_split_changes_those_two_digests_and_that_of_all():
    made = split(catalogue([f"patient{number // 2}" for number in range(40)]))
    mover = made.loc[made["split"] == "train", "patient"].iloc[0]
    moved = made.assign(split=made["split"].mask(made["patient"] == mover, "test"))
    before, after = digests(made), digests(moved)
    assert {name for name in before if before[name] != after[name]} == {"train", "test", "all"}


def test_the_account_says_how_many_and_how_the_splits_were_made():
    listed = catalogue([f"patient{number // 2}" for number in range(40)], splits=["test"] * 10 + [""] * 30)
    made = split(listed, validation=0.2)
    told = account(made, made=origin(listed, validation=0.2, test=0.5, seed=7))
    assert told["made"]["test"] == {"made": "official"} and told["made"]["train"] == {"made": "what is left"}
    assert told["made"]["validation"] == {"made": "drawn by patient", "share": 0.2, "seed": 7}
    assert (told["splits"]["test"]["cases"], told["splits"]["test"]["patients"]) == (10, 5)
    assert told["splits"]["train"]["cases"] + told["splits"]["validation"]["cases"] == 30
    assert told["digest"] == digests(made)["all"]


def test_splits_are_official_where_each_is():
    listed = catalogue([f"patient{number}" for number in range(9)], splits=["train", "validation", "test"] * 3)
    made = origin(listed, validation=0.1, test=0.2, seed=0)["made"]
    assert made == {name: {"made": "official"} for name in ("train", "validation", "test")}


# folds


@settings(deadline=None, max_examples=15)
@given(
    patients=patient_lists, folds=st.integers(2, 8), seed=st.integers(0, 99), order=st.randoms(use_true_random=False)
)
def test_each_patient_is_in_one_fold_and_in_one_split_of_each(patients, folds, seed, order):
    cases, dealing = catalogue(patients, splits=["train"] * len(patients)), Folds(folds=folds, seed=seed)
    dealt = by_fold(cases, dealing)
    assert set(dealt["split"]) == set(dealing.names)
    assert (dealt.groupby("patient")["split"].agg(set).map(len) == 1).all()
    sizes = dealt.groupby("split")["patient"].nunique()
    assert sizes.max() - sizes.min() <= 1
    shuffled = cases.sample(frac=1, random_state=order.randrange(2**32))
    pd.testing.assert_series_equal(by_fold(shuffled, dealing)["split"].sort_index(), dealt["split"])
    for number in range(folds):
        of_fold = in_fold(cases, Fold(folds=dealing, number=number))
        assert (of_fold.groupby("patient")["split"].agg(set).map(len) == 1).all() and set(of_fold["split"]) == set(
            SPLITS
        )
        assert (of_fold["split"] == "test").equals(dealt["split"] == f"fold{number}")


@settings(deadline=None, max_examples=20)
@given(many=st.integers(40, 300), folds=st.integers(2, 8), seed=st.integers(0, 9))
def test_folds_are_stratified_by_the_rarest_label(many, folds, seed):
    cases = catalogue([f"patient{number}" for number in range(many)], splits=["train"] * many)
    dealt = by_fold(cases, Folds(folds=folds, seed=seed))
    for rarest in (dealt["target:Hernia"] == 1, (dealt["target:Hernia"] == 0) & (dealt["target:Mass"] == 1)):
        counts = dealt[rarest]["split"].value_counts().reindex(dealt["split"].unique(), fill_value=0)
        assert counts.max() - counts.min() <= 1


def test_a_fold_is_dealt_from_all_splits_but_not_from_what_is_in_none():
    many = 60
    cases = catalogue([f"patient{number}" for number in range(many)], splits=["train", "validation", "test", ""] * 15)
    other = Folds(folds=5, validation=0.25)
    of_fold = in_fold(cases, Fold(folds=other, number=1))
    assert of_fold["split"].value_counts().to_dict() == {"train": 27, "": 15, "test": 9, "validation": 9}
    assert (of_fold["split"] == "").equals(cases["split"] == "")
    reseeded = by_fold(cases, Folds(folds=5, seed=1))["split"]
    assert not reseeded.equals(by_fold(cases, other)["split"])
    # without a fold the splits are those of the archive
    assert in_fold(cases, None) is cases


def test_more_folds_than_patients_are_refused():
    cases = catalogue(["one", "one", "two"], splits=["train"] * 3)
    with pytest.raises(UserError, match=r"3 folds need as many patients or more \(got 2 patients\); set fewer folds"):
        by_fold(cases, Folds(folds=3))
    with pytest.raises(UserError, match="no case is left for the train split of 3 cases, 2 patients; add patients"):
        in_fold(cases, Fold(folds=Folds(folds=2), number=0))
