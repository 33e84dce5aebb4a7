import numpy as np
import pandas as pd
import pytest

from archives_made import edit, make_uka_cxr
from headwater.core.errors import UserError
from headwater.data.datasets.uka_cxr import BOTH_SIDES, CARD, GRADED, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET

TABLE = "uka_cxr.csv"
TARGETS = [TARGET + label for label in CARD.labels]


@pytest.fixture
def folder(tmp_path):
    return make_uka_cxr(tmp_path / "archive")


def cases_of(folder, **options):
    return CATALOGUE.check(read_cases(folder, Options(**options)))


def refusal_of(folder):
    with pytest.raises(UserError) as refused:
        read_cases(folder, Options())
    assert "\n" not in str(refused.value)
    return str(refused.value)


def grades_of(folder):
    return pd.read_csv(folder / TABLE)[list(GRADED)]


def test_the_catalogue(folder):
    cases = cases_of(folder)
    assert len(cases) == 12
    second = cases.iloc[1]
    assert (second["case"], second["patient"], second["study"]) == ("i1", "000", "000/000-1")
    assert (second["file"], second["split"], second["view"]) == ("images/i1.png", "", "AP")
    assert (second["sex"], second["age"]) == ("F", 70)
    assert [column for column in cases if column.startswith(TARGET)] == TARGETS
    assert read_pixels(folder, second.to_dict()).shape == (24, 20)
    assert label_files(folder, Options()) == [folder / TABLE]
    assert list(cases["target:healthy"]) == [0, 1] * 6


def test_tables_can_say_that_the_schema_is_our_own():
    assert "schema of our own" in CARD.title
    assert CARD.note == "synthetic schema of our own: the archive is private"
    assert not CARD.hosted_logging


@pytest.mark.parametrize("least", [2, 3, 4])
def test_a_grade_counts_from_the_given_one_on(folder, least):
    default, cases, grades = cases_of(folder), cases_of(folder, positive_from=least), grades_of(folder)
    for label in GRADED:
        expected = np.where(grades[label].isna(), np.nan, grades[label] >= least)
        np.testing.assert_array_equal(cases[TARGET + label], expected)
    pd.testing.assert_frame_equal(cases.drop(columns=TARGETS), default.drop(columns=TARGETS))
    pd.testing.assert_series_equal(cases["target:healthy"], default["target:healthy"])
    # only grades between the two thresholds change
    between = (grades >= min(least, 3)) & (grades < max(least, 3))
    graded = [TARGET + label for label in GRADED]
    assert ((cases[graded] != default[graded]) & cases[graded].notna().to_numpy() == between.to_numpy()).all(axis=None)


def test_a_label_of_both_sides_holds_where_either_does(folder):
    cases = cases_of(folder)
    for label in BOTH_SIDES:
        for right, left, both in cases[[f"target:{label}_right", f"target:{label}_left", TARGET + label]].to_numpy():
            known = 1.0 if 1 in (right, left) else right + left
            assert both == pytest.approx(known, nan_ok=True)
    assert cases[[TARGET + label for label in BOTH_SIDES]].isna().any(axis=None)


def test_a_split_that_is_filled_in_is_official(folder):
    text = (folder / TABLE).read_text()
    for number in range(12):
        split = "test" if number > 9 else "validation" if number > 7 else "train"
        start, person = f"i{number},", f"{number // 2:03d}"
        text = text.replace(f"{start}{person},{person}-1,,", f"{start}{person},,{split},")
    (folder / TABLE).write_text(text)
    cases = cases_of(folder)
    assert cases["split"].value_counts().to_dict() == {"train": 8, "validation": 2, "test": 2}
    assert set(cases["study"]) == {""}
    edit(folder / TABLE, old=",train,", new=",,")
    assert "line 2 has no split" in refusal_of(folder)


def test_a_split_of_another_name_is_refused(folder):
    text = (folder / TABLE).read_text()
    (folder / TABLE).write_text(text.replace("-1,,", "-1,tset,", 1).replace("-1,,", "-1,train,"))
    assert "line 2 says 'tset' for 'split'; did you mean 'test'?" in refusal_of(folder)


def test_an_absent_table_is_refused(folder):
    (folder / TABLE).unlink()
    assert f"{folder / TABLE}: is not there; lay the images out as described in" in refusal_of(folder)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("congestion", "congested", "no column 'congestion'; did you mean 'congested'?"),
        ("70,1,2", "70,5,2", "line 2 says '5' for 'cardiomegaly'; 1, 2, 3, 4 or nothing at all"),
        (",M,", ",male,", "line 2 says 'male' for 'sex'; F, M or nothing at all"),
        ("i1,", "i0,", "i0 is listed more than once"),
        ("i1,000,", "i1,,", "line 3 has no patient"),
    ],
)
def test_broken_tables_are_refused(folder, old, new, wanted):
    edit(folder / TABLE, old=old, new=new)
    line = refusal_of(folder)
    assert str(folder / TABLE) in line
    assert wanted in line
