"""Checks of tables: their columns, and what their cells say before anything is made of them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pandas as pd

from headwater.core.records import Record
from headwater.data.integrity_checks.findings import Examination, Finding, share
from headwater.data.io.ages import OLDEST, in_years
from headwater.data.io.sheets import FIRST, line_of, read_header, read_sheet

UNCERTAIN = ("-1", "-1.0")


def check_sheets(examination: Examination, plugin: ModuleType, folder: Path, options: Record) -> None:
    """Which form each table has, and what its cells say before anything is made of them."""
    if not hasattr(plugin, "sheets"):
        return
    wanted = examination.tried(lambda: plugin.sheets(folder, options), otherwise="cells of the tables") or {}
    shares: dict[str, Counter] = {}
    for file, columns in wanted.items():
        sheet = examination.tried(
            lambda file=file, columns=columns: _sheet(file, columns), otherwise=f"cells of {file.name}"
        )
        if sheet is not None:
            examination.seen.append(f"Table        {_variant(file, columns, rows=len(sheet))}")
            examination.findings += _ages(sheet, file=file)
            for label in set(plugin.CARD.labels) & set(columns):
                shares.setdefault(label, Counter()).update(_mentions(sheet[label]))
    examination.labels = _cell_shares(shares)


def _sheet(file: Path, columns: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """A table's cells, whatever columns it lacks: that is the plug-in's to refuse."""
    return read_sheet(file, columns=columns, optional=columns)


def _variant(file: Path, columns: Mapping[str, tuple[str, ...]], *, rows: int) -> str:
    """How a table is written: its rows, which of several spellings its columns have, which of ours it lacks."""
    header = read_header(file)
    spelt = {names: next((name for name in names if name in header), None) for names in columns.values()}
    chosen = [f"{name!r} (also known: {_others(names, name)})" for names, name in spelt.items() if name and names[1:]]
    lacks = [names[0] for names, name in spelt.items() if name is None]
    parts = [f"{file.name}: {rows:,} rows, {len(columns) - len(lacks)} of {len(columns)} columns that we know"]
    parts += [f"writes {', '.join(chosen)}"] if chosen else []
    return ", ".join(parts + ([f"lacks {', '.join(map(repr, lacks))}"] if lacks else []))


def _others(names: tuple[str, ...], name: str) -> str:
    return ", ".join(repr(other) for other in names if other != name)


def _ages(sheet: pd.DataFrame, *, file: Path) -> Iterator[Finding]:
    """Ages that make no sense."""
    strange = pd.Series(False, sheet.index)
    if "age" in sheet:
        strange |= (sheet["age"] != "") & sheet["age"].map(in_years).isna()
    if {"date", "birth"} <= set(sheet):
        years = (pd.to_numeric(sheet[name].str[:4], errors="coerce") for name in ("date", "birth"))
        age = next(years) - next(years)
        strange |= age.notna() & ~age.between(0, OLDEST)
    if count := int(strange.sum()):
        first = line_of(sheet, strange.to_numpy())
        what = f"{file.name}: ages below 0, above {OLDEST} or no number: {count:,}, first in line {first}"
        lines = tuple(f"{file.name} line {line + FIRST}" for line in sheet.index[strange])
        remedy = "they count as unknown; mend them if ages matter to you"
        yield Finding(severity="warning", what=what, count=count, remedy=remedy, names=lines)


def _mentions(cells: pd.Series) -> dict[str, int]:
    """How many cells of a label there are, how many of them are uncertain, and how many empty."""
    return {"cells": len(cells), "uncertain": int(cells.isin(UNCERTAIN).sum()), "missing": int((cells == "").sum())}


def _cell_shares(shares: Mapping[str, Mapping[str, int]]) -> pd.DataFrame:
    """For each label the shares of its cells that are uncertain and that are empty, where there are any."""
    kinds = [kind for kind in ("uncertain", "missing") if any(counted[kind] for counted in shares.values())]
    return pd.DataFrame(
        {"Label": label, **{f"Cells {kind}": share(counted[kind], counted["cells"]) for kind in kinds}}
        for label, counted in shares.items()
    )
