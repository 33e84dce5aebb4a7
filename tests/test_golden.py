"""Golden: digests, plans, names, chance and results are those that were recorded before the code changed its shape.

`golden_made.py` says what is recorded, and records anew what is meant to change. Where a plan has moved, print its jobs
before and after the change (`python tests/golden_plan.py CONFIG`) and compare. Numbers in results may differ by a
billionth, because processors round differently; everything else is held to the byte.
"""

import csv
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

import golden_made
from golden_made import CONFIGS, HOME

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
TABLES = sorted(file.stem for file in (HOME / "report").glob("*.csv"))


def recorded(name: str) -> Any:
    return json.loads((HOME / f"{name}.json").read_text())


def planned(config: str) -> Any:
    """A config for a test of its plan; a plan of many jobs takes a while."""
    plan = recorded("configs").get(config, {"plan": {}})["plan"]
    jobs = sum(of["jobs"] for rule, of in plan.items() if rule != "listing")
    return pytest.param(config, marks=pytest.mark.slow) if jobs > 500 else config


def moved(before: Any, now: Any, *, place: str = "", more: bool = False) -> Iterator[str]:
    """What is not as it was, a line each; with `more` there may be new entries beside the old ones."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        if before != now:
            yield f"{place}: was {before!r}, is {now!r}"
        return
    for key in sorted({*before, *now} if not more else before):
        here = f"{place}.{key}".lstrip(".")
        if key not in now:
            yield f"{here}: is gone"
        elif key not in before:
            yield f"{here}: is new"
        else:
            yield from moved(before[key], now[key], place=here, more=more)


def nothing_in(lines: Iterator[str]) -> None:
    """Fail with all the lines, if there is one."""
    found = list(lines)
    assert not found, "\n" + "\n".join(found)


def differing(before: list[list[str]], now: list[list[str]]) -> Iterator[str]:
    """Cells that are not as they were, a line each; numbers may differ by rounding."""
    if [len(row) for row in before] != [len(row) for row in now]:
        yield f"was {len(before)} rows of {len(before[0])} cells, is {len(now)} of {len(now[0])}"
        return
    for number, (old, new) in enumerate(zip(before, now, strict=True)):
        for column, one, other in zip(before[0], old, new, strict=True):
            if not alike(one, other):
                yield f"row {number}, {column}: was {one!r}, is {other!r}"


def alike(one: str, other: str) -> bool:
    """Whether two cells are the same, or the same number up to rounding."""
    if one == other or not all("." in cell or "e" in cell for cell in (one, other)):
        return one == other
    if not (NUMBER.fullmatch(one) and NUMBER.fullmatch(other)):
        return False
    return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-12)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return golden_made.results(tmp_path_factory.mktemp("golden"))


def test_every_shipped_config_is_recorded():
    assert sorted(recorded("configs")) == CONFIGS


@pytest.mark.parametrize("config", CONFIGS)
def test_records_have_their_digests(config):
    nothing_in(moved(recorded("configs")[config]["digests"], golden_made.digests(config)))


@pytest.mark.parametrize("config", [planned(config) for config in CONFIGS])
def test_the_same_jobs_are_planned(config):
    nothing_in(moved(recorded("configs")[config]["plan"], golden_made.plan(config)))


def test_fields_columns_and_plugins_keep_their_names():
    nothing_in(moved(recorded("names"), golden_made.names(), more=True))


def test_splits_trainings_and_resamplings_draw_the_same():
    now = golden_made.seeds()
    before = {name: entry for name, entry in recorded("seeds").items() if name != "twins"}
    # a library may come to hash texts of its own, but ours must be among them
    lists = [name for name, entry in before.items() if isinstance(entry, list)]
    assert {name: sorted(set(before[name]) - set(now[name])) for name in lists} == {name: [] for name in lists}
    nothing_in(moved({name: before[name] for name in before if name not in lists}, now, more=True))


def test_twins_are_the_same_archives():
    nothing_in(moved(recorded("seeds")["twins"], golden_made.twins(), more=True))


def test_the_same_tables_are_written(results):
    assert sorted(results) == TABLES and "significance" in TABLES


@pytest.mark.parametrize("table", TABLES)
def test_tables_say_the_same(results, table):
    before = list(csv.reader((HOME / "report" / f"{table}.csv").read_text().splitlines()))
    nothing_in(differing(before, golden_made.cells(results[table])))


@pytest.mark.parametrize("table", TABLES)
def test_tables_are_written_in_full_precision_with_commas_and_bare_line_ends(results, table):
    text = results[table]
    rows = list(csv.reader(text.splitlines()))
    assert golden_made.as_csv(rows) == text
    numbers = [cell for row in rows for cell in row if NUMBER.fullmatch(cell) and ("." in cell or "e" in cell)]
    assert [cell for cell in numbers if repr(float(cell)) != cell] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda names: names["records"]["Training"].update(lr="0.01"), "records.Training.lr: was '0.001', is '0.01'"),
        (lambda names: names["records"]["Source"].pop("start"), "records.Source.start: is gone"),
        (lambda names: names["plugins"]["metrics"].pop("auroc"), "plugins.metrics.auroc: is gone"),
        (lambda names: names["tables"].update(rows="case row"), "tables.rows: was 'row case', is 'case row'"),
    ],
)
def test_what_moves_is_named(change, said):
    now = recorded("names")
    change(now)
    assert list(moved(recorded("names"), now, more=True)) == [said]


def test_what_is_new_is_told_where_nothing_may_be():
    assert list(moved({}, {"a": 1})) == ["a: is new"] and list(moved({}, {"a": 1}, more=True)) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.1", "0.10000000001", True),
        ("0.1", "0.1000000011", False),
        ("0.0", "1e-17", True),
        ("3", "3.0", False),
        ("3", "4", False),
        ("note 0.1", "note 0.2", False),
        ("", "0.1", False),
    ],
)
def test_cells_are_alike_up_to_rounding(one, other, same):
    assert (not list(differing([["p"], [one]], [["p"], [other]]))) == same
