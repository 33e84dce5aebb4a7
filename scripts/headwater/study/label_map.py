"""Label map: which labels of different archives mean the same finding, so that networks can be tested across archives.

label_map.csv lists every label of the six radiograph archives once: as the `same` finding as in other archives, as
`near` one of them but not the same, or `alone`, with the reason. Only labels of the same finding are shared.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean

TABLE = Path(__file__).with_suffix(".csv")

HOW = ("same", "near", "alone")
"""How a label can relate to those of other archives."""


class Row(NamedTuple):
    """One label of one archive, its finding, how it relates to it (one of HOW), and the reason."""

    finding: str
    archive: str
    label: str
    how: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A checked label map, and its version, which a study should report."""

    version: int
    rows: tuple[Row, ...]

    @property
    def described(self) -> tuple[str, ...]:
        """The archives whose labels are in the table."""
        return tuple(sorted({row.archive for row in self.rows}))

    @property
    def same(self) -> Iterator[Row]:
        """Rows whose label means exactly its finding."""
        return (row for row in self.rows if row.how == "same")

    def labels(self, archive: str) -> dict[str, str]:
        """By finding, the archive's label for it; only findings that other archives share."""
        if archive not in self.described:
            remedy = did_you_mean(archive, self.described)
            raise UserError(f"the label map has no archive {archive!r}", remedy=remedy)
        return {row.finding: row.label for row in self.same if row.archive == archive}

    def shared(self, archive: str, other: str) -> dict[str, str]:
        """Labels of an archive, and the other's labels of the same findings."""
        ours, theirs = self.labels(archive), self.labels(other)
        return {label: theirs[finding] for finding, label in ours.items() if finding in theirs}

    def archives(self, finding: str) -> dict[str, str]:
        """The archives that have a finding, with each one's label for it."""
        labels = {row.archive: row.label for row in self.same if row.finding == finding}
        if not labels:
            remedy = did_you_mean(finding, {row.finding for row in self.same})
            raise UserError(f"the label map has no finding {finding!r}", remedy=remedy)
        return labels


@cache
def table() -> Findings:
    """The label map of this release."""
    return read(TABLE)


def shared(archive: str, other: str) -> dict[str, str]:
    """Labels of an archive, and the other's of the same findings; archives by the names of their files in datasets/."""
    return table().shared(archive, other)


def read(file: Path) -> Findings:
    """The label map in a CSV file whose first line gives its version; one error lists all mistakes."""
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    version = re.fullmatch(r"# version (\d+)", first)
    if not version:
        raise UserError(f"the first line is {first!r}", file=file, remedy="begin with a line such as: # version 1")
    header, *lines = csv.reader(StringIO(rest))
    if tuple(header) != Row._fields:
        columns = ", ".join(Row._fields)
        raise UserError(f"the columns are {', '.join(header)}", file=file, remedy=f"they must be {columns}")
    # line 1 is the version and line 2 the header
    for number, line in enumerate(lines, start=3):
        if len(line) != len(header):
            thing = f"line {number} has {len(line)} values, not {len(header)}"
            raise UserError(thing, file=file, remedy="put values that contain a comma into quotes")
    rows = tuple(map(Row._make, lines))
    mistakes = [*_invalid(rows), *_duplicates(rows), *_unshared(rows), *_absent(rows)]
    if mistakes:
        raise UserError("; ".join(mistakes), file=file)
    return Findings(version=int(version[1]), rows=rows)


def _labels_of(archive: str) -> tuple[str, ...]:
    """The labels on an archive's card; none where there is no such archive."""
    return registry.load("datasets", archive).CARD.labels if archive in registry.names("datasets") else ()


def _invalid(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels that an archive does not have, relations that are not in HOW, and missing reasons."""
    for row in rows:
        labels = _labels_of(row.archive)
        if row.label not in labels:
            yield f"{row.archive} has no {row.label!r}; {did_you_mean(row.label, labels)}"
        if row.how not in HOW:
            yield f"{row.label} of {row.archive} is {row.how!r}; {did_you_mean(row.how, HOW)}"
        if (row.how == "alone") == bool(row.finding):
            yield f"{row.label} of {row.archive}: needs a finding unless it is alone, and none if it is"
        if not row.why:
            yield f"{row.label} of {row.archive}: the reason is missing; fill in the column why"


def _duplicates(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels that are listed more than once, and archives with two labels of the same finding."""
    labels = Counter((row.archive, row.label) for row in rows)
    findings = Counter((row.archive, row.finding) for row in rows if row.how == "same")
    yield from (f"{label} of {archive} is listed twice" for (archive, label), n in labels.items() if n > 1)
    for (archive, finding), count in findings.items():
        if count > 1:
            yield f"{archive} has two labels for {finding}; make one of them near"


def _unshared(rows: tuple[Row, ...]) -> Iterator[str]:
    """Findings that fewer than two archives have."""
    archives = defaultdict(set)
    for row in rows:
        if row.finding:
            archives[row.finding] |= {row.archive} if row.how == "same" else set()
    for finding in sorted(archives):
        if len(archives[finding]) < 2:
            yield f"{finding} is in fewer than two archives; make its labels alone"


def _absent(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels that an archive of the table has and the table does not list."""
    listed = {(row.archive, row.label) for row in rows}
    return (
        f"{label} of {archive} is missing; add it as same, near or alone"
        for archive in sorted({row.archive for row in rows})
        for label in _labels_of(archive)
        if (archive, label) not in listed
    )
