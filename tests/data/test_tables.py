"""Tables are checked when they are read and written, and files appear completely or not at all."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from declared_tables import declared_tables
from headwater.core import files
from headwater.core.errors import UserError
from headwater.data import reduction, tables
from headwater.data.index import CATALOGUE
from headwater.evaluation.pairwise import COMPARISONS
from headwater.evaluation.predictions import PREDICTIONS

CASES = pd.DataFrame(
    {
        "case": ["a", "b"],
        "patient": ["1", "1"],
        "study": ["1/0", ""],
        "site": ["", ""],
        "file": ["a.png", "b.png"],
        "split": ["train", "test"],
        "sex": ["F", ""],
        "age": [51.0, np.nan],
        "view": ["PA", "AP"],
        "target:Nodule": [1.0, np.nan],
    }
)
ROWS = pd.DataFrame({"row": [0, 2], "case": ["a", "c"]})


def test_a_table_comes_back_as_it_was_written(tmp_path: Path):
    CATALOGUE.write(CASES, tmp_path / "made" / "catalogue.parquet")
    back = CATALOGUE.read(tmp_path / "made" / "catalogue.parquet")
    pd.testing.assert_frame_equal(back, CASES.astype({"target:Nodule": "float32"}))
    assert tables.labels_of(back) == ["Nodule"]


def test_slices_may_tell_their_series_and_position(tmp_path: Path):
    slices = CASES.assign(position=[-12.5, np.nan], series=["1.2", ""])
    CATALOGUE.write(slices, tmp_path / "catalogue.parquet")
    back = CATALOGUE.read(tmp_path / "catalogue.parquet")
    assert back["series"].tolist() == ["1.2", ""]
    assert back["position"][0] == -12.5 and np.isnan(back["position"][1])
    assert list(back.columns[-3:]) == ["series", "position", "target:Nodule"]
    with pytest.raises(UserError, match="column 'series' is unknown"):
        reduction.ROWS.check(ROWS.assign(series="1.2"))
    with pytest.raises(UserError, match="column 'position' is no number"):
        CATALOGUE.check(slices.assign(position=["front", "back"]))


def test_columns_are_put_in_order_and_rows_counted_anew():
    mixed = CASES[CASES.columns[::-1]].iloc[::-1]
    formed = CATALOGUE.check(mixed)
    assert list(formed.columns) == [*CATALOGUE.columns, "target:Nodule"]
    assert list(formed.index) == [0, 1]
    assert formed.loc[1, "case"] == "a"
    assert formed.loc[1, "target:Nodule"] == 1


@pytest.mark.parametrize("table", declared_tables().values(), ids=lambda table: table.name)
def test_each_table_may_be_empty(table: tables.Table):
    empty = pd.DataFrame({name: [] for name in table.columns})
    assert len(table.check(empty)) == 0


@pytest.mark.parametrize("table", declared_tables().values(), ids=lambda table: table.name)
def test_each_key_is_a_column(table: tables.Table):
    assert set(table.keys) <= set(table.columns)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (ROWS.drop(columns="case"), "rows.parquet: not a table of rows: column 'case' is missing"),
        (ROWS.assign(caes="a"), "column 'caes' is unknown"),
        (ROWS.drop(columns="case").assign(caes="a"), "column 'case' is missing, column 'caes' is unknown"),
        (ROWS.assign(row=["0", "two"]), "column 'row' is no whole number"),
        (ROWS.assign(row=[0, 1.5]), "column 'row' is no whole number: 1.5"),
        (ROWS.assign(row=[0, np.inf]), "column 'row' is no whole number"),
        (ROWS.assign(row=[0, np.nan]), "column 'row' has empty cells"),
        (ROWS.assign(case=["a", None]), "column 'case' has empty cells"),
        (ROWS.assign(case=["a", np.nan]), "column 'case' has empty cells"),
        (ROWS.assign(row=[1, 1]), "row [1] occurs more than once"),
        (ROWS.assign(**{"target:Nodule": 1.0}), "column 'target:Nodule' is unknown"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(frame: pd.DataFrame, said: str):
    with pytest.raises(UserError, match=r"^rows\.parquet: ") as refusal:
        reduction.ROWS.check(frame, file="rows.parquet")
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("age", ["old", "young"], "column 'age' is no number"),
        ("target:Nodule", ["yes", "no"], "column 'target:Nodule' is no number"),
        ("case", ["a", "a"], "case ['a'] occurs more than once"),
    ],
)
def test_wrong_cases_are_refused(column: str, values: list, said: str):
    with pytest.raises(UserError) as refusal:
        CATALOGUE.check(CASES.assign(**{column: values}))
    assert said in str(refusal.value)


def test_yes_or_no_is_no_text():
    good = pd.DataFrame(
        {name: [{"text": "a", "yes or no": True}.get(kind, 1)] for name, kind in COMPARISONS.columns.items()}
    )
    assert COMPARISONS.check(good)["tested"].dtype == bool
    with pytest.raises(UserError, match="'tested' is no yes or no"):
        COMPARISONS.check(good.assign(tested="no"))
    with pytest.raises(UserError, match="'tested' is no yes or no: 2"):
        COMPARISONS.check(good.assign(tested=2))


def test_keys_are_looked_at_together():
    frame = pd.DataFrame({name: ["a", "a"] for name in PREDICTIONS.columns})
    frame = frame.assign(seed=0, target=1.0, score=0.5, label=["Nodule", "Mass"])
    assert len(PREDICTIONS.check(frame)) == 2
    with pytest.raises(UserError, match="occurs more than once"):
        PREDICTIONS.check(frame.assign(label="Nodule"))


def test_a_wrong_table_is_not_written(tmp_path: Path):
    with pytest.raises(UserError):
        reduction.ROWS.write(ROWS.assign(row=[1, 1]), tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_a_torn_table_is_refused(tmp_path: Path, kept: int):
    file = tmp_path / "rows.parquet"
    reduction.ROWS.write(ROWS, file)
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"rows.parquet: cannot be read: .*; delete it and run the rule"):
        reduction.ROWS.read(file)


def test_an_absent_table_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"absent\.parquet"):
        reduction.ROWS.read(tmp_path / "absent.parquet")


def test_a_file_appears_when_it_is_whole(tmp_path: Path):
    file = tmp_path / "a" / "b.txt"
    with files.whole(file) as temporary:
        temporary.write_text("new")
        assert temporary.parent == file.parent
        assert temporary.suffix == file.suffix
        assert not file.exists()
    assert file.read_text() == "new"
    assert [path.name for path in file.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, kind: type[BaseException]):
    file = tmp_path / "b.txt"
    file.write_text("old")
    with pytest.raises(kind), files.whole(file) as temporary:
        temporary.write_text("half of the ne")
        raise kind
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_two_writers_do_not_meet(tmp_path: Path):
    file = tmp_path / "b.txt"
    with files.whole(file) as first, files.whole(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, content: object):
    file = tmp_path_factory.getbasetemp() / "content.json"
    files.write_json(content, file)
    assert files.read_json(file) == content


def test_json_has_no_numbers_that_are_none(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json({"p": float("nan")}, tmp_path / "fit.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_torn_json_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "fit.json").write_bytes(content)
    with pytest.raises(UserError, match=r"fit\.json: cannot be read"):
        files.read_json(tmp_path / "fit.json")


def test_json_is_the_same_whatever_the_order(tmp_path: Path):
    files.write_json({"b": 1, "a": [2]}, tmp_path / "one.json")
    files.write_json({"a": [2], "b": 1}, tmp_path / "other.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()
    assert json.loads((tmp_path / "one.json").read_text()) == {"a": [2], "b": 1}
