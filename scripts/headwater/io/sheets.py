"""Reads label files: tables and lists as publishers write them, every cell as text, every column by its name."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from headwater.refusals import Refusal, did_you_mean


def read_sheet(path: Path, *, columns: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """The wanted columns of a CSV file as text, empty cells as "".

    `columns` gives, for each name in the answer, the spellings that the file may use; a column of which the file has
    no spelling is refused, as is a file that is absent or no CSV. Columns beyond these are left out.
    """
    try:
        with warnings.catch_warnings():
            # rows that all end in one comma more than the header must not shift by a column: index_col=False
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            sheet = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise Refusal("is not there", file=path, remedy="give the folder as the archive lays it out") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"is no readable CSV: {error}", file=path, remedy="fetch it again") from None
    sheet.columns = sheet.columns.str.strip()
    found = {name: [spelling for spelling in spellings if spelling in sheet] for name, spellings in columns.items()}
    absent = [spellings for name, spellings in columns.items() if not found[name]]
    if absent:
        wanted = " or ".join(repr(spelling) for spelling in absent[0])
        raise Refusal(f"has no column {wanted}", file=path, remedy=did_you_mean(absent[0][0], sheet.columns))
    wanted = sheet[[spellings[0] for spellings in found.values()]].set_axis(list(found), axis=1)
    return wanted.fillna("").apply(lambda cells: cells.str.strip())


def refuse_empty(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet with an empty cell in one of the columns, naming the line of the file."""
    for name in columns:
        empty = (sheet[name] == "").to_numpy()
        if empty.any():
            line = int(empty.argmax()) + 2
            raise Refusal(f"line {line} has no {name}", file=file, remedy="it may be cut off; fetch it again")


def refuse_twice(sheet: pd.DataFrame, *, columns: list[str], file: Path) -> None:
    """Refuse a sheet in which the columns together name more than one row."""
    twice = sheet.duplicated(columns)
    if twice.any():
        name, many = " of ".join(sheet.loc[twice, columns].iloc[0]), int(twice.sum())
        raise Refusal(f"{name} stands there more than once ({many} in all)", file=file, remedy="leave one of each")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank, each once; a line that stands there twice is refused."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        raise Refusal("is not there", file=path, remedy="give the folder as the archive lays it out") from None
    except (OSError, ValueError) as error:
        raise Refusal(f"is no readable text: {error}", file=path, remedy="fetch it again") from None
    refuse_twice(pd.DataFrame({"line": lines}, dtype=str), columns=["line"], file=path)
    return lines
