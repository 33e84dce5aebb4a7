"""Reads the tables and lists of publishers: every cell as text, every column by its name."""

import csv
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError, did_you_mean, stop_if_disk
from headwater.data.io.folders import refuse_special
from headwater.data.io.identifiers import flaws_of_patients, unseen
from headwater.data.io.rows import UNREADABLE, Form, Row, form_of, is_compressed, readable, refuse_swallowed, rows_of

FIRST = 2
"""The line of the first row in a plain file, behind that of the header; lines are counted from 1."""

PATIENT = "patient"
SEEN = ("study", "series", "site", "view")
"""Names of columns whose cells are compared with each other: of patients, and of what a character would divide."""

_NO_ROW = Row(1, [], ())


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
    """The wanted columns of a CSV file, compressed or not, as text, empty cells as "".

    `columns` gives, for each name in the result, the spellings that the file may use. A file that is absent, not a CSV
    or without any spelling of a column is refused; a missing column of the `optional` names is empty. All other columns
    are left out. With `rows`, only so many of its first rows are read, and as many spread over the others; the index
    is in either case what `line_of` needs, which counts from 0 in a file without blank lines. A row with more cells
    than the header is refused, as is a last row that is cut off; other rows may lack cells at their end, which
    spreadsheets leave out if they are empty. Quotes that swallow rows are refused, and line breaks in wanted cells; so
    are unclear names of a column `patient`, and what is not visible in one of `SEEN`.
    """
    with readable(path):
        form = form_of(path)
        listed = rows_of(path, form)
        header = [name.strip() for name in next(listed, _NO_ROW).cells]
        if not header:
            raise ValueError("it is empty")
        places = _places(header, columns=columns, optional=optional, path=path)
        cells, lines, filled = {name: [] for name in places}, [], 0
        wanted = [(cells[name].append, place) for name, place in places.items() if place is not None]
        for row in _chosen(path, form, listed, rows=rows):
            if len(row.lines) > 1:
                refuse_swallowed(row, width=len(header), form=form, path=path)
                _refuse_line_breaks(row, places, path=path)
            if len(row.cells) != len(header):
                _refuse_other_width(row, header, path=path)
                row.cells.extend([""] * (len(header) - len(row.cells)))
            for append, place in wanted:
                append(row.cells[place])
            lines.append(row.line - FIRST)
            # spreadsheets write rows of separators alone behind the last one
            filled = len(lines) if any(row.cells) else filled
    if not filled:
        no_row = "has a header but no rows"
        raise UserError(no_row, file=path, remedy="it may be cut off; fetch it again", nameless=no_row)
    texts = {name: [cell.strip() for cell in column[:filled]] or "" for name, column in cells.items()}
    sheet = pd.DataFrame(texts, index=lines[:filled], dtype=str)
    _refuse_unclear(sheet, path=path)
    return sheet


def _refuse_unclear(sheet: pd.DataFrame, *, path: Path) -> None:
    """Refuse names in a sheet that look like others, and patients that are no one or one in two forms."""
    found = [(name, unseen(sheet[name].unique(), what=name)) for name in SEEN if name in sheet]
    if PATIENT in sheet:
        found.append((PATIENT, flaws_of_patients(sheet[PATIENT].unique())))
    for name, flaws in found:
        for flaw in flaws:
            which = sheet[name].isin(flaw.names).to_numpy()
            line, many = line_of(sheet, which), f"({int(which.sum())} such lines)"
            nameless = f"line {line}: {flaw.nameless} {many}"
            raise UserError(f"line {line}: {flaw.what} {many}", file=path, remedy=flaw.remedy, nameless=nameless)


def _places(
    header: list[str], *, columns: Mapping[str, tuple[str, ...]], optional: Collection[str], path: Path
) -> dict[str, int | None]:
    """The place in the header of each name's column; None for an optional one that is not there."""
    present = {name: [spelling for spelling in spellings if spelling in header] for name, spellings in columns.items()}
    absent = [spellings for name, spellings in columns.items() if not present[name] and name not in optional]
    if absent:
        wanted = " or ".join(repr(spelling) for spelling in absent[0])
        # without any expected column, the first line may be a case, whose cells must not be shown
        has_header = any(present.values())
        remedy = did_you_mean(absent[0][0], header) if has_header else "its first line is not the expected header"
        raise UserError(f"has no column {wanted}", file=path, remedy=remedy, nameless=f"has no column {wanted}")
    for spelling in (spellings[0] for spellings in present.values() if spellings):
        if header.count(spelling) > 1:
            twice = f"has {header.count(spelling)} columns {spelling!r}"
            raise UserError(twice, file=path, remedy="rename or remove one of them", nameless=twice)
    return {name: header.index(spellings[0]) if spellings else None for name, spellings in present.items()}


def _refuse_other_width(row: Row, header: list[str], *, path: Path) -> None:
    """Refuse a row whose cells cannot be those of the header's columns: a comma too many shifts all behind it."""
    if any(map(str.strip, row.cells[len(header) :])):
        shifted = f"line {row.line} has {len(row.cells)} cells, but the header has {len(header)}"
        remedy = "quote cells that hold the separator, or remove the cell too many"
        raise UserError(shifted, file=path, remedy=remedy, nameless="has a row with more cells than the header")
    if len(row.cells) < len(header) and row.lines[-1][-1:] not in "\r\n":
        cut = f"line {row.line}, the last, is cut off: {len(row.cells)} of {len(header)} cells"
        raise UserError(cut, file=path, remedy="fetch it again", nameless="its last row is cut off")


def _refuse_line_breaks(row: Row, places: Mapping[str, int | None], *, path: Path) -> None:
    """Refuse a wanted cell that goes on in another line: it is two cells, or its quotes are wrong."""
    for name, place in places.items():
        # a row may lack its last cells
        if place is not None and len("".join(row.cells[place : place + 1]).strip().splitlines()) > 1:
            what = f"line {row.line}: the cell of {name!r} goes on in another line"
            raise UserError(what, file=path, remedy="remove the line break, or a stray quote", nameless=what)


def _chosen(path: Path, form: Form, listed: Iterator[Row], *, rows: int | None) -> Iterator[Row]:
    """All rows, or so many of the first and as many spread over the others."""
    yield from itertools.islice(listed, rows)
    if rows is not None:
        yield from _spread(path, form, after=rows, rows=rows)


def _spread(path: Path, form: Form, *, after: int, rows: int) -> Iterator[Row]:
    """Rows of a CSV file at even distances behind the first ones, without dividing the whole file.

    None of a file in which a line might not be a row: a compressed one, or one with quotes or two-byte letters.
    """
    if is_compressed(path) or form.encoding == "utf-16":
        return
    content = path.read_bytes()
    if b'"' in content or b"\r" in content.replace(b"\r\n", b""):
        return
    lines = content.splitlines(keepends=True)
    filled = [number for number, line in enumerate(lines) if line.strip()]
    spread = {round(place) for place in np.linspace(after + 1, len(filled) - 1, rows)}
    chosen = [filled[place] for place in sorted(spread & set(range(after + 1, len(filled))))]
    texts = [lines[number].decode(form.encoding) for number in chosen]
    cells = csv.reader(texts, delimiter=form.separator)
    yield from (Row(number + 1, row, [text]) for number, row, text in zip(chosen, cells, texts, strict=True))


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file as written, without empty ones; none if it cannot be read."""
    try:
        first = next(rows_of(path, form_of(path)), _NO_ROW)
    except (UserError, *UNREADABLE):
        # read_sheet refuses the same file with the reason
        return []
    return [name.strip() for name in first.cells if name.strip()]


def line_of(sheet: pd.DataFrame | pd.Series, which: np.ndarray) -> int:
    """The line in its file of the first row of a sheet for which `which` (rows,) is true."""
    return int(sheet.index[int(which.argmax())]) + FIRST


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
