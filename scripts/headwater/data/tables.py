"""The tables that pass between rules: what each must hold, checked on read and on write."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
from pyarrow import parquet

from headwater.core.errors import UserError, check_memory
from headwater.core.files import whole
from headwater.study.target import MEAN

TARGET = "target:"
"""Prefix of the columns that hold a label's value: 1 present, 0 absent, NaN unknown."""

NUMBERS = "number:"
"""Prefix of the columns that hold a number of each case, such as an age; NaN unknown."""

MACRO = MEAN
"""What stands for a label where a number is the mean over labels."""

OF_SUBSET = f"{MACRO}: "
"""What stands before the name of a subset where a number is the mean over its labels."""

CHANCE = "chance"
"""What stands for a reference where a source is compared with guessing."""

TEXT, WHOLE, NUMBER, FLAG = "text", "whole number", "number", "yes or no"

DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, pyarrow.ArrowException)
"""What pyarrow and pandas raise for a damaged file: of damaged metadata it is whatever their code stumbles over."""

SPLITS = ("train", "validation", "test")

MADE_AGAIN = "delete it and run the rule that makes it again"

CONTENT = "headwater-content"
"""The entry of a file's metadata that holds the digest of all bytes of the file, with zeros in the digest's place."""

MARK = "headwater-blake2b:"
"""What a digest begins with, so that a search of the bytes finds it."""

UNSIGNED = MARK + "0" * 32
"""What stands in the digest's place while it is computed."""

SIGNED = re.compile(MARK.encode() + rb"[0-9a-f]{32}")


def is_mean(label: str) -> bool:
    """Whether what stands for a label is a mean over labels, all of them or a subset."""
    return label == MACRO or label.startswith(OF_SUBSET)


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that a table of cases has targets for, in order."""
    return [column.removeprefix(TARGET) for column in frame.columns if column.startswith(TARGET)]


def numbers_of(frame: pd.DataFrame) -> list[str]:
    """The names of the numbers that a table of cases has, in order."""
    return [column.removeprefix(NUMBERS) for column in frame.columns if column.startswith(NUMBERS)]


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
    """Whether it has a target column per label, and a column per number, besides its own."""

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
        targets = [column for column in frame.columns if column.startswith((TARGET, NUMBERS))]
        targets = targets if self.with_targets else []
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
        refuse_changed(path)
        try:
            frame = pd.read_parquet(path, filters=where and [(where[0], "==", where[1])])
        except DAMAGED as error:
            raise _unreadable(path, error) from None
        return self.check(frame, file=path)

    def write(self, frame: pd.DataFrame, path: Path, *, origin: dict[str, str] | None = None) -> None:
        """The table, checked, as Parquet, whole or not at all; `origin` is kept in the file for `read_origin`."""
        checked = self.check(frame, file=path)
        checked.attrs = dict(sorted((origin or {}).items()))
        with whole(path) as temporary:
            parquet.write_table(_with_place_for_digest(checked), temporary)
            _sign(temporary)


def refuse_changed(path: Path) -> None:
    """Refuse a table of which a bit has changed since it was written; those written by other tools are let pass.

    Parquet's own checksums cover its pages only, not the names, lengths and places that its last part holds.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    digest = SIGNED.search(content)
    # one changed bit can hit the entry's name or the digest, but not both
    if digest is None and CONTENT.encode() not in content and MARK.encode() not in content:
        return
    if digest is None or _digest(content, at=digest.start()) != digest[0]:
        raise _unreadable(path, "it has changed since headwater wrote it")


def _with_place_for_digest(frame: pd.DataFrame) -> pyarrow.Table:
    """The frame for Parquet as pandas writes it, with an entry that pandas would not hand on to an edited copy."""
    table = pyarrow.Table.from_pandas(frame, preserve_index=False)
    attributes = {"PANDAS_ATTRS": json.dumps(frame.attrs)} if frame.attrs else {}
    return table.replace_schema_metadata({**table.schema.metadata, **attributes, CONTENT: UNSIGNED})


def _sign(path: Path) -> None:
    """Write the digest of a file over the zeros that stand in its place."""
    with path.open("r+b") as file:
        content = file.read()
        at = content.index(UNSIGNED.encode())
        file.seek(at)
        file.write(_digest(content, at=at))


def _digest(content: bytes, *, at: int) -> bytes:
    """The entry for a file's content, in which the entry itself counts as zeros."""
    hashed = hashlib.blake2b(memoryview(content)[:at], digest_size=16)
    hashed.update(UNSIGNED.encode())
    hashed.update(memoryview(content)[at + len(UNSIGNED) :])
    return (MARK + hashed.hexdigest()).encode()


def column_names(path: Path) -> list[str]:
    """The columns of a table from Parquet, without reading them."""
    refuse_changed(path)
    try:
        return parquet.read_schema(path).names
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def read_column(path: Path, column: str) -> pd.Series:
    """One column of a table from Parquet, without reading the others."""
    refuse_changed(path)
    try:
        return pd.read_parquet(path, columns=[column])[column]
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def read_origin(path: Path) -> dict[str, str]:
    """What a table's file says of where its content came from; nothing if it was written without."""
    try:
        return json.loads((parquet.read_schema(path).metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception | str) -> UserError:
    if isinstance(error, Exception):
        check_memory(error)
    return UserError(f"cannot be read: {error}", file=path, remedy=MADE_AGAIN)


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

_AXES = ("x", "y", "z")

VOLUME_COLUMNS = {
    "offset": WHOLE,
    **{f"shape_{axis}": WHOLE for axis in _AXES},
    **{f"spacing_{axis}": NUMBER for axis in _AXES},
    "slope": NUMBER,
    "intercept": NUMBER,
    **dict.fromkeys(("mean", "std", "low", "high"), NUMBER),
    "outline": TEXT,
    "reference": TEXT,
    "reference_offset": WHOLE,
    **{f"source_shape_{axis}": WHOLE for axis in _AXES},
    **{f"source_spacing_{axis}": NUMBER for axis in _AXES},
    "affine": TEXT,
    **{f"crop_{axis}": WHOLE for axis in _AXES},
    **{f"kept_{axis}": WHOLE for axis in _AXES},
}
"""Optional columns of volumes, along x, y and z: voxel at which a case begins in images.npy and masks.npy, sides,
millimetres between voxels; value = slope x stored + intercept; mean, standard deviation, 0.5th and 99.5th percentile of
the voxels above the background; digests of its mask on the prepared grid (`outline`) and on the source's (`reference`),
and where in references.npy that begins; the source's grid in orientation RAS, its affine (JSON), and the box kept."""
