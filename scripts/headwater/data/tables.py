"""The tables that pass between rules: what each must hold, checked on read and on write."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from headwater.core.errors import UserError, check_memory
from headwater.core.files import whole

TARGET = "target:"
"""Prefix of the columns that hold a label's value: 1 present, 0 absent, NaN unknown."""

MACRO = "macro"
"""What stands for a label where a number is the mean over labels."""

OF_SUBSET = f"{MACRO}: "
"""What stands before the name of a subset where a number is the mean over its labels."""

CHANCE = "chance"
"""What stands for a reference where a source is compared with guessing."""

TEXT, WHOLE, NUMBER, FLAG = "text", "whole number", "number", "yes or no"

VERIFIED = {"page_checksum_verification": True}
"""How tables are read: a flipped bit is refused instead of changing a number; files without checksums are read too."""

DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError)
"""What pyarrow and pandas raise for a damaged file: of damaged metadata it is whatever their code stumbles over."""

SPLITS = ("train", "validation", "test")


def is_mean(label: str) -> bool:
    """Whether what stands for a label is a mean over labels, all of them or a subset."""
    return label == MACRO or label.startswith(OF_SUBSET)


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that a table of cases has targets for, in order."""
    return [column.removeprefix(TARGET) for column in frame.columns if column.startswith(TARGET)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """What a table that passes between rules must hold; declared beside the code that makes it."""

    name: str
    columns: dict[str, str]
    """Each column and its kind, in order."""
    keys: tuple[str, ...] = ()
    """Columns that together may name a row only once."""
    optional: dict[str, str] = field(default_factory=dict)
    """Columns that the table may have besides its own."""
    with_targets: bool = False
    """Whether it has a target column per label besides its own."""

    def frame(self, rows: Iterable[dict[str, Any]] | pd.DataFrame) -> pd.DataFrame:
        """Rows as a frame that has this table's columns even where there are no rows."""
        return pd.DataFrame(rows, columns=list(self.columns))

    def sort(self, rows: Iterable[dict[str, Any]] | pd.DataFrame, *, by: tuple[str, ...] = ()) -> pd.DataFrame:
        """The same in the order of the keys or of other columns, which is that of no file and of no config."""
        return self.frame(rows).sort_values(list(by or self.keys), kind="stable", ignore_index=True)

    def check(self, frame: pd.DataFrame, *, file: Path | str = "table") -> pd.DataFrame:
        """The frame with the known columns in order, in the right kinds, with unique keys; else a `UserError`."""
        optional = {name: kind for name, kind in self.optional.items() if name in frame.columns}
        columns = self.columns | optional
        targets = [column for column in frame.columns if column.startswith(TARGET)] if self.with_targets else []
        self._refuse_other_columns(frame, allowed=[*columns, *targets], required=list(columns), file=file)
        checked = pd.DataFrame({name: _column(frame[name], kind, file) for name, kind in columns.items()})
        if targets:
            values = {name: _column(frame[name], NUMBER, file).astype("float32") for name in targets}
            checked = pd.concat([checked, pd.DataFrame(values)], axis=1)
        keys = list(self.keys)
        if keys and checked.duplicated(keys).any():
            repeated = checked.loc[checked.duplicated(keys), keys].iloc[0].tolist()
            raise UserError(
                f"{', '.join(keys)} {repeated} occurs more than once", file=file, remedy="each may stand there once"
            )
        return checked

    def _refuse_other_columns(
        self, frame: pd.DataFrame, *, allowed: list[str], required: list[str], file: Path | str
    ) -> None:
        wrong = [f"column {name!r} is missing" for name in required if name not in frame.columns]
        wrong += [f"column {name!r} is unknown" for name in frame.columns if name not in allowed]
        if wrong:
            raise UserError(f"not a table of {self.name}: " + ", ".join(wrong), file=file, remedy="make it again")

    def read(self, path: Path, *, where: tuple[str, str] | None = None) -> pd.DataFrame:
        """The table from Parquet, checked; with `where`, a column and its value, only the rows that have it."""
        try:
            frame = pd.read_parquet(path, filters=where and [(where[0], "==", where[1])], **VERIFIED)
        except DAMAGED as error:
            raise _unreadable(path, error) from None
        return self.check(frame, file=path)

    def write(self, frame: pd.DataFrame, path: Path, *, origin: dict[str, str] | None = None) -> None:
        """The table, checked, as Parquet, whole or not at all; `origin` is kept in the file for `read_origin`."""
        checked = self.check(frame, file=path)
        checked.attrs = dict(sorted((origin or {}).items()))
        with whole(path) as temporary:
            checked.to_parquet(temporary, index=False, write_page_checksum=True)


def column_names(path: Path) -> list[str]:
    """The columns of a table from Parquet, without reading them."""
    try:
        return parquet.read_schema(path).names
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def read_column(path: Path, column: str) -> pd.Series:
    """One column of a table from Parquet, without reading the others."""
    try:
        return pd.read_parquet(path, columns=[column], **VERIFIED)[column]
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def read_origin(path: Path) -> dict[str, str]:
    """What a table's file says of where its content came from; nothing if it was written without."""
    try:
        return json.loads((parquet.read_schema(path).metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    check_memory(error)
    return UserError(f"cannot be read: {error}", file=path, remedy="delete it and run the rule that makes it again")


def _column(values: pd.Series, kind: str, file: Path | str) -> pd.Series:
    """One column as its kind."""
    values = values.reset_index(drop=True)
    if kind != NUMBER and values.isna().any():
        raise UserError(f"column {values.name!r} has empty cells", file=file, remedy="fill them in")
    try:
        if kind == TEXT:
            return values.astype(str)
        if kind == NUMBER:
            return values.astype("float64")
        numbers = pd.to_numeric(values)
        formed = numbers.astype("int64" if kind == WHOLE else "bool")
    except (ValueError, TypeError) as error:
        raise UserError(f"column {values.name!r} is no {kind}: {error}", file=file, remedy="make it again") from None
    if (formed != numbers).any():
        wrong = values[formed != numbers].iloc[0]
        raise UserError(f"column {values.name!r} is no {kind}: {wrong}", file=file, remedy="make it again")
    return formed


SLICE_COLUMNS = {"series": TEXT, "position": NUMBER, "row_spacing": NUMBER, "column_spacing": NUMBER}
"""Optional columns of slices: the volume that they belong to, where in it they lie along its normal, and how far apart
their rows and columns are as they were read, in millimetres."""
