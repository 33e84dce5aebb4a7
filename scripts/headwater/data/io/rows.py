"""Divides a CSV file into rows, each with the lines of the file that it takes; names what is no CSV."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from headwater.core.errors import UserError, stop_if_disk
from headwater.data.io.folders import refuse_special

SEPARATORS = (",", ";", "\t", "|")
"""What may divide columns; of several that divide a first line equally, the first."""

BEGINNING = 2**16
"""Bytes in which the first line of a CSV file must end."""

GZIP, ZIP, OLE = b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How compressed files begin, and the containers of .xlsx and of .xls."""

WORKBOOKS = {b"xl/": "an Excel file", b"opendocument.spreadsheet": "an OpenDocument spreadsheet"}
"""What only these hold among their first bytes, which name the first files of a ZIP archive."""

LINE_BREAK = re.compile(r"\r\n|\r|\n")

UNREADABLE = (OSError, ValueError, EOFError, zlib.error, csv.Error)
"""What is raised for a file that is no CSV."""


class Form(NamedTuple):
    """How a CSV file is written."""

    separator: str
    encoding: str


class Row(NamedTuple):
    """A row of a CSV file."""

    line: int
    """The line of the file in which it begins, from 1."""
    cells: list[str]
    lines: Sequence[str]
    """The lines that it takes, with their ends: more than one if a cell in quotes has line breaks."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Refuse a file that turns out to be no CSV."""
    try:
        yield
    except FileNotFoundError:
        remedy = "give the folder as the archive lays it out"
        raise UserError("is not there", file=path, remedy=remedy, nameless="is not there") from None
    except UnicodeDecodeError as error:
        encoding = f"is not UTF-8 text (byte 0x{error.object[error.start]:02x})"
        remedy = "save it as CSV UTF-8, or convert it: iconv -f WINDOWS-1252 -t UTF-8"
        raise UserError(encoding, file=path, remedy=remedy, nameless=encoding) from None
    except UNREADABLE as error:
        stop_if_disk(error, file=path)
        no_sheet = "is not a readable CSV"
        raise UserError(f"{no_sheet}: {error}", file=path, remedy="fetch it again", nameless=no_sheet) from None


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed by gzip, or is called so."""
    refuse_special(path)
    with path.open("rb") as file:
        return path.suffix == ".gz" or file.read(len(GZIP)) == GZIP


def opened(path: Path) -> BinaryIO:
    """The bytes of a CSV file, unpacked if it is compressed."""
    return gzip.open(path) if is_compressed(path) else path.open("rb")


def form_of(path: Path) -> Form:
    """The separator and encoding of a CSV file: commas unless another separator divides its first line into more.

    A workbook, a ZIP archive, and UTF-16 without a byte order mark are refused by name.
    """
    with opened(path) as file:
        beginning = file.read(BEGINNING)
    # utf-8-sig, because spreadsheets begin a CSV with a byte order mark
    encoding = "utf-16" if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    if encoding != "utf-16":
        _refuse_others(beginning, path)
    first = beginning.decode(encoding, errors="replace").lstrip().splitlines()[:1]
    columns = {separator: len(next(csv.reader(first, delimiter=separator), [])) for separator in SEPARATORS}
    return Form(max(SEPARATORS, key=columns.get), encoding)


def _refuse_others(beginning: bytes, path: Path) -> None:
    """Refuse what people name .csv without saving it as such, by its first bytes."""
    what, remedy = "", "save its sheet as CSV UTF-8"
    if beginning.startswith(OLE):
        what = "is an Excel file (.xls)"
    elif beginning.startswith(ZIP):
        what = next((f"is {name}" for mark, name in WORKBOOKS.items() if mark in beginning), "is a ZIP archive")
        remedy = "unzip it" if what == "is a ZIP archive" else remedy
    elif order := _unmarked_utf_16(beginning):
        what = "is UTF-16 text without a byte order mark"
        remedy = f"save it as CSV UTF-8, or convert it: iconv -f UTF-16{order} -t UTF-8"
    if what:
        raise UserError(f"{what}, not a CSV", file=path, remedy=remedy, nameless=f"{what}, not a CSV")


def _unmarked_utf_16(beginning: bytes) -> str:
    """The byte order of a text in UTF-16 that does not state it; "" for other files.

    Of every two bytes of Latin letters, digits and separators one is zero, always the same; UTF-8 has no zeros.
    """
    zeros = [beginning[place::2].count(0) for place in (0, 1)]
    if len(beginning) < 4 or min(zeros) > 0 or max(zeros) < len(beginning) / 4:
        return ""
    return "LE" if zeros[1] else "BE"


def rows_of(path: Path, form: Form) -> Iterator[Row]:
    """The rows of a CSV file without blank lines, the header first; a quote that nothing closes is refused."""
    taken: list[str] = []
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        for line in io.TextIOWrapper(file, encoding=form.encoding, newline=""):
            taken.append(line)
            yield line
        ended = True
        # an empty row, unless the quotes of the last one are still open
        yield "\n"

    line = 1
    with opened(path) as file:
        reader = csv.reader(lines(), delimiter=form.separator)
        try:
            for cells in reader:
                if ended and taken:
                    raise _open_quote(path, line)
                # a blank line is no row
                if cells and (len(cells) > 1 or taken[0].strip()):
                    yield Row(line, cells, taken[:])
                line += len(taken)
                taken.clear()
        except csv.Error as error:
            if len(taken) > 1:
                # the reader gives up on a cell of 131,072 characters
                raise _open_quote(path, line) from None
            raise ValueError(f"line {line}: {error}") from None


def _open_quote(path: Path, line: int) -> UserError:
    what = f'line {line} begins a row with a quote (") that nothing closes'
    return UserError(what, file=path, remedy="remove the quote, or fetch it again", nameless=what)


def refuse_swallowed(row: Row, *, width: int, form: Form, path: Path) -> None:
    """Refuse a row of several lines if a cell of it holds what looks like rows, or a quote is closed within a cell.

    A stray quote at the start of a cell turns all that follows into one cell, up to the next quote. The lines of
    reports differ: they do not have the separators of `width` cells each, or have spaces after them.
    """
    if not any(_holds_rows(row, place, width=width, separator=form.separator) for place in range(len(row.cells))):
        try:
            list(csv.reader(row.lines, delimiter=form.separator, strict=True))
            return
        except csv.Error:
            # text behind a closing quote
            pass
    what = f'a stray quote (") swallows rows: lines {row.line} to {row.line + len(row.lines) - 1} are read as one'
    raise UserError(what, file=path, remedy="remove the quote, or double those within a cell", nameless=what)


def _holds_rows(row: Row, place: int, *, width: int, separator: str) -> bool:
    """Whether a cell begins with the rest of one row and ends with the beginning of another, or holds whole ones."""
    # -1 for prose, in which a space follows a separator
    first, *others = (
        -1 if f"{separator} " in line else line.count(separator) for line in LINE_BREAK.split(row.cells[place])
    )
    if not others:
        return False
    *inner, last = others
    behind = len(row.cells) - 1 - place
    rest = (first, last) == (width - 1 - place, width - 1 - behind)
    return rest or (width > 2 and 0 < len(inner) <= 2 * inner.count(width - 1))
