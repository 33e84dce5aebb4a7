"""Reads the tables and lists of publishers: every cell as text, every column by its name."""

import codecs
import csv
import gzip
import io
import itertools
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean, stop_if_disk
from headwater.data.io.folders import refuse_special

SEPARATORS = (",", ";", "\t", "|")
"""What may divide columns; of several that divide a first line equally, the first."""

BEGINNING = 2**16
"""Bytes in which the first line of a CSV file must end."""


def first_there(folder: Path, *, names: Sequence[str], remedy: str) -> Path:
    """The first existing file among several possible names in the folder; refused if there is none."""
    for name in names:
        refuse_special(folder / name)
    present = [folder / name for name in names if (folder / name).is_file()]
    if not present:
        raise UserError("is not there", file=folder / names[0], remedy=remedy, nameless="is not there")
    return present[0]


def read_sheet(
    path: Path, *, columns: Mapping[str, tuple[str, ...]], optional: Collection[str] = (), rows: int | None = None
) -> pd.DataFrame:
    """The wanted columns of a CSV file, compressed (.gz) or not, as text, empty cells as "".

    `columns` gives, for each name in the result, the spellings that the file may use. A file that is absent, not a CSV
    or without any spelling of a column is refused; a missing column of the `optional` names is empty. All other columns
    are left out. With `rows`, only so many of its first rows are read, and as many spread over the others; the index
    counts rows from 0 in either case. A row with more cells than the header is refused, as is a last row that is cut
    off; other rows may lack cells at their end, which spreadsheets leave out if they are empty.
    """
    try:
        form = _form(path)
        _refuse_other_widths(path, form, rows=rows)
        with warnings.catch_warnings():
            # with index_col=False, rows that end in one comma more than the header are not shifted by a column
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            # as text and with keep_default_na=False, because an identifier may be 007 and a word may be NA or None
            how = {"dtype": str, "keep_default_na": False, "index_col": False, **form}
            sheet = pd.read_csv(path, nrows=rows, **how)
            if rows is not None and len(sheet) == rows:
                sheet = pd.concat([sheet, _spread(path, after=rows, rows=rows, how=how)])
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except UnicodeDecodeError as error:
        encoding = f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        remedy = "save it as CSV UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8"
        raise UserError(encoding, file=path, remedy=remedy, nameless=encoding) from None
    except (OSError, ValueError, EOFError, zlib.error, csv.Error) as error:
        stop_if_disk(error, file=path)
        no_sheet = "is not a readable CSV"
        raise UserError(f"{no_sheet}: {error}", file=path, remedy="fetch it again", nameless=no_sheet) from None
    sheet.columns = sheet.columns.str.strip()
    present = {name: [spelling for spelling in spellings if spelling in sheet] for name, spellings in columns.items()}
    absent = [spellings for name, spellings in columns.items() if not present[name] and name not in optional]
    if absent:
        wanted = " or ".join(repr(spelling) for spelling in absent[0])
        # without any expected column, the first line may be a case, whose cells must not be shown
        has_header = any(present.values())
        remedy = (
            did_you_mean(absent[0][0], sheet.columns) if has_header else "its first line is not the expected header"
        )
        raise UserError(f"has no column {wanted}", file=path, remedy=remedy, nameless=f"has no column {wanted}")
    header = read_header(path)
    for spelling in (spellings[0] for spellings in present.values() if spellings):
        if header.count(spelling) > 1:
            twice = f"has {header.count(spelling)} columns {spelling!r}"
            raise UserError(twice, file=path, remedy="rename or remove one of them", nameless=twice)
    sheet = _without_empty_end(sheet)
    if sheet.empty:
        no_row = "has a header but no rows"
        raise UserError(no_row, file=path, remedy="it may be cut off; fetch it again", nameless=no_row)
    cells = {name: sheet[spellings[0]] if spellings else "" for name, spellings in present.items()}
    return pd.DataFrame(cells, index=sheet.index, dtype=str).fillna("").apply(lambda column: column.str.strip())


def _refuse_other_widths(path: Path, form: Mapping[str, str], *, rows: int | None) -> None:
    """Refuse a row whose cells cannot be those of the header's columns; of all rows, or of so many of the first.

    A comma too many shifts all cells behind it, and pandas would drop the last one.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding=form["encoding"], newline="") as file:
        ends = "\n"

        def lines() -> Iterator[str]:
            nonlocal ends
            for line in file:
                ends = line[-1:]
                yield line

        reader = csv.reader(lines(), delimiter=form["sep"])
        filled = (row for row in reader if row)
        header = row = next(filled, [])
        for row in itertools.islice(filled, rows):
            if any(map(str.strip, row[len(header) :])):
                shifted = f"line {reader.line_num} has {len(row)} cells, but the header has {len(header)}"
                remedy = "quote cells that hold the separator, or remove the cell too many"
                raise UserError(shifted, file=path, remedy=remedy, nameless="has a row with more cells than the header")
        if len(row) < len(header) and ends not in "\r\n":
            cut = f"line {reader.line_num}, the last, is cut off: {len(row)} of {len(header)} cells"
            raise UserError(cut, file=path, remedy="fetch it again", nameless="its last row is cut off")


def _spread(path: Path, *, after: int, rows: int, how: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of a CSV file at even distances behind the first ones, without a pass of the parser over the whole file.

    None of a file in which a line might not be a row: a compressed one, or one with quotes or two-byte letters.
    """
    if path.suffix == ".gz" or how["encoding"] == "utf-16":
        return pd.DataFrame()
    content = path.read_bytes()
    if b'"' in content or b"\r" in content.replace(b"\r\n", b""):
        return pd.DataFrame()
    lines = [line for line in content.splitlines() if line.strip()]
    spread = {round(place) for place in np.linspace(after + 1, len(lines) - 1, rows)}
    places = sorted(spread & set(range(after + 1, len(lines))))
    chosen = b"\n".join([lines[0], *(lines[place] for place in places)])
    return pd.read_csv(io.BytesIO(chosen), **how).set_axis([place - 1 for place in places], axis="index")


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file as written, without empty ones; none if it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        try:
            # header=None, because pandas would rename repeated and empty names
            first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **_form(path))
            return [name.strip() for name in first.iloc[0] if name.strip()]
        except (OSError, ValueError, EOFError, zlib.error):
            # read_sheet refuses the same file with the reason
            return []


def _form(path: Path) -> dict[str, str]:
    """The separator and encoding of a CSV file: commas unless another separator divides its first line into more."""
    refuse_special(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        beginning = file.read(BEGINNING)
    # utf-8-sig, because spreadsheets begin a CSV with a byte order mark
    encoding = "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    first = beginning.decode(encoding, errors="replace").lstrip().splitlines()[:1]
    columns = {separator: len(next(csv.reader(first, delimiter=separator), [])) for separator in SEPARATORS}
    return {"sep": max(SEPARATORS, key=columns.get), "encoding": encoding}


def _without_empty_end(sheet: pd.DataFrame) -> pd.DataFrame:
    """The sheet without the rows of separators alone that spreadsheets write behind the last one."""
    filled = (sheet.fillna("") != "").any(axis=1).to_numpy().nonzero()[0]
    return sheet.iloc[: filled[-1] + 1 if len(filled) else 0]


def line_of(sheet: pd.DataFrame | pd.Series, which: np.ndarray) -> int:
    """The line in its file of the first row of a sheet for which `which` (rows,) is true."""
    # one for the header, one because lines are counted from 1
    return int(sheet.index[int(which.argmax())]) + 2


def refuse_empty(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet with an empty cell in one of these columns, naming the first such line."""
    for name in columns:
        empty = (sheet[name] == "").to_numpy()
        if empty.any():
            lacks = f"line {line_of(sheet, empty)} has no {name}"
            many = f"{lacks} ({int(empty.sum())} such lines)"
            raise UserError(lacks, file=file, remedy="it may be cut off; fetch it again", nameless=many)


def refuse_other(
    sheet: pd.DataFrame, *, columns: Sequence[str], known: Collection[str], file: Path, remedy: str = ""
) -> None:
    """Refuse a sheet with a cell outside of the known words, naming the first such line."""
    for name in columns:
        strange = ~sheet[name].isin(known).to_numpy()
        if strange.any():
            line, word = line_of(sheet, strange), sheet[name].iloc[int(strange.argmax())]
            nameless = f"line {line} says an unknown word for {name!r} ({int(strange.sum())} such lines)"
            remedy = remedy or did_you_mean(word, known)
            raise UserError(f"line {line} says {word!r} for {name!r}", file=file, remedy=remedy, nameless=nameless)


def refuse_twice(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet in which two rows agree in all of these columns."""
    is_repeated = sheet.duplicated(columns)
    if is_repeated.any():
        name, many = " of ".join(sheet.loc[is_repeated, columns].iloc[0]), int(is_repeated.sum())
        what = f"{name} is listed more than once ({many} in all)"
        nameless = f"entries listed more than once: {many}"
        raise UserError(what, file=file, remedy="keep one of each", nameless=nameless)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank; a repeated line is refused."""
    refuse_special(path)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except (OSError, ValueError) as error:
        stop_if_disk(error, file=path)
        no_text = "is not a readable text"
        raise UserError(f"{no_text}: {error}", file=path, remedy="fetch it again", nameless=no_text) from None
    refuse_twice(pd.DataFrame({"line": lines}, dtype=str), columns=["line"], file=path)
    return lines
