"""Reads label files: tables and lists as publishers write them, every cell as text, every column by its name."""

import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from headwater.core.errors import UserError, did_you_mean


def first_there(folder: Path, *, names: Sequence[str], remedy: str) -> Path:
    """The first of several names under which a file may lie in the folder; refused if none is there."""
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise UserError("is not there", file=folder / names[0], remedy=remedy, nameless="is not there")
    return found[0]


def read_sheet(path: Path, *, columns: Mapping[str, tuple[str, ...]], optional: Collection[str] = ()) -> pd.DataFrame:
    """The wanted columns of a CSV file, compressed (.gz) or not, as text, empty cells as "".

    `columns` gives, for each name in the answer, the spellings that the file may use; a column of which the file has
    no spelling is refused, as is a file that is absent or no CSV. Columns beyond these are left out. Of the `optional`
    names, those of which the file has no spelling are empty.
    """
    try:
        with warnings.catch_warnings():
            # rows that all end in one comma more than the header must not shift by a column: index_col=False
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            sheet = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        no_sheet = "is no readable CSV"
        raise UserError(f"{no_sheet}: {error}", file=path, remedy="fetch it again", nameless=no_sheet) from None
    sheet.columns = sheet.columns.str.strip()
    found = {name: [spelling for spelling in spellings if spelling in sheet] for name, spellings in columns.items()}
    absent = [spellings for name, spellings in columns.items() if not found[name] and name not in optional]
    if absent:
        wanted = " or ".join(repr(spelling) for spelling in absent[0])
        known = [spelling for spellings in found.values() for spelling in spellings]
        # where no column is known, the first line may be a case
        remedy = did_you_mean(absent[0][0], sheet.columns) if known else "its first line is no header that we know"
        raise UserError(f"has no column {wanted}", file=path, remedy=remedy, nameless=f"has no column {wanted}")
    if sheet.empty:
        no_row = "has a header and no row"
        raise UserError(no_row, file=path, remedy="it may be cut off; fetch it again", nameless=no_row)
    held = {name: sheet[spellings[0]] if spellings else "" for name, spellings in found.items()}
    return pd.DataFrame(held, index=sheet.index, dtype=str).fillna("").apply(lambda cells: cells.str.strip())


def read_header(path: Path) -> list[str]:
    """The names of a CSV file's columns, as it writes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.ParserWarning)
        try:
            return list(pd.read_csv(path, nrows=0, index_col=False, encoding="utf-8-sig").columns.str.strip())
        except (OSError, ValueError, EOFError, zlib.error):
            return []


def refuse_empty(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet with an empty cell in one of the columns, naming the line of the file."""
    for name in columns:
        empty = (sheet[name] == "").to_numpy()
        if empty.any():
            lacks = f"line {int(empty.argmax()) + 2} has no {name}"
            many = f"{lacks} ({int(empty.sum())} such lines)"
            raise UserError(lacks, file=file, remedy="it may be cut off; fetch it again", nameless=many)


def refuse_other(
    sheet: pd.DataFrame, *, columns: Sequence[str], known: Collection[str], file: Path, remedy: str = ""
) -> None:
    """Refuse a sheet with a cell that is none of the known words, naming the line of the file."""
    for name in columns:
        strange = ~sheet[name].isin(known).to_numpy()
        if strange.any():
            line = int(strange.argmax())
            word = sheet[name].iloc[line]
            nameless = f"line {line + 2} says an unknown word for {name!r} ({int(strange.sum())} such lines)"
            remedy = remedy or did_you_mean(word, known)
            raise UserError(f"line {line + 2} says {word!r} for {name!r}", file=file, remedy=remedy, nameless=nameless)


def refuse_twice(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet in which the columns together name more than one row."""
    twice = sheet.duplicated(columns)
    if twice.any():
        name, many = " of ".join(sheet.loc[twice, columns].iloc[0]), int(twice.sum())
        what = f"{name} stands there more than once ({many} in all)"
        nameless = f"lines that name what another line names: {many}"
        raise UserError(what, file=file, remedy="leave one of each", nameless=nameless)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, each once; a line that stands there twice is refused."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except (OSError, ValueError) as error:
        no_text = "is no readable text"
        raise UserError(f"{no_text}: {error}", file=path, remedy="fetch it again", nameless=no_text) from None
    refuse_twice(pd.DataFrame({"line": lines}, dtype=str), columns=["line"], file=path)
    return lines
