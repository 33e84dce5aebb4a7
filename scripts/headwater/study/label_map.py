"""Label map: which labels of different archives mean the same, so that what one teaches can be asked of another.

Every label of the six radiograph archives stands in label_map.csv once: as the `same` finding as in other archives, as
`near` one of them but not the same, or `alone`; why is said beside it. Only what is the same is shared.
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
"""How a label stands to those of other archives."""


class Row(NamedTuple):
    """One label of one archive, the finding that it names, how closely, and why."""

    finding: str
    archive: str
    label: str
    how: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A checked table of findings, and the version of it that a study should tell."""

    version: int
    rows: tuple[Row, ...]

    @property
    def described(self) -> tuple[str, ...]:
        """The archives whose labels stand in the table."""
        return tuple(sorted({row.archive for row in self.rows}))

    @property
    def same(self) -> Iterator[Row]:
        """Labels that name a finding exactly."""
        return (row for row in self.rows if row.how == "same")

    def labels(self, archive: str) -> dict[str, str]:
        """An archive's own label of each finding that others have, too."""
        if archive not in self.described:
            remedy = did_you_mean(archive, self.described)
            raise UserError(f"the table of findings has no archive {archive!r}", remedy=remedy)
        return {row.finding: row.label for row in self.same if row.archive == archive}

    def shared(self, one: str, other: str) -> dict[str, str]:
        """Labels of one archive, and what the other calls the same."""
        ours, theirs = self.labels(one), self.labels(other)
        return {label: theirs[finding] for finding, label in ours.items() if finding in theirs}

    def archives(self, finding: str) -> dict[str, str]:
        """The archives that have a finding, and what each calls it."""
        labels = {row.archive: row.label for row in self.same if row.finding == finding}
        if not labels:
            remedy = did_you_mean(finding, {row.finding for row in self.same})
            raise UserError(f"the table of findings has no {finding!r}", remedy=remedy)
        return labels


@cache
def table() -> Findings:
    """The findings as this release knows them."""
    return read(TABLE)


def shared(one: str, other: str) -> dict[str, str]:
    """Labels of one archive, and what the other calls the same; archives by the names of their files in datasets/."""
    return table().shared(one, other)


def read(file: Path) -> Findings:
    """A table of findings from a CSV file whose first line gives its version; one error names all that is wrong."""
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    version = re.fullmatch(r"# version (\d+)", first)
    if not version:
        raise UserError(f"begins with {first!r}", file=file, remedy="begin with a line such as: # version 1")
    header, *lines = csv.reader(StringIO(rest))
    if tuple(header) != Row._fields:
        raise UserError(f"has the columns {', '.join(header)}", file=file, remedy=f"have {', '.join(Row._fields)}")
    for number, line in enumerate(lines, start=3):
        if len(line) != len(header):
            wrong = f"line {number} has {len(line)} values, not {len(header)}"
            raise UserError(f"is no table: {wrong}", file=file, remedy="put what holds a comma into quotes")
    rows = tuple(map(Row._make, lines))
    mistakes = [*_strange(rows), *_twice(rows), *_lonely(rows), *_forgotten(rows)]
    if mistakes:
        raise UserError("; ".join(mistakes), file=file)
    return Findings(version=int(version[1]), rows=rows)


def _labels_of(archive: str) -> tuple[str, ...]:
    """The labels on an archive's card; none where there is no such archive."""
    return registry.load("datasets", archive).CARD.labels if archive in registry.names("datasets") else ()


def _strange(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels that no archive has, words that say nothing of them, and reasons that are not there."""
    for row in rows:
        labels = _labels_of(row.archive)
        if row.label not in labels:
            yield f"{row.archive} has no {row.label!r}; {did_you_mean(row.label, labels)}"
        if row.how not in HOW:
            yield f"{row.label} of {row.archive} is {row.how!r}; {did_you_mean(row.how, HOW)}"
        if (row.how == "alone") == bool(row.finding):
            yield f"{row.label} of {row.archive}: a finding is named where, and only where, it is not alone"
        if not row.why:
            yield f"{row.label} of {row.archive}: say why"


def _twice(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels that stand there more than once, and archives with two labels for the same."""
    labels = Counter((row.archive, row.label) for row in rows)
    findings = Counter((row.archive, row.finding) for row in rows if row.how == "same")
    yield from (f"{label} of {archive} stands there twice" for (archive, label), n in labels.items() if n > 1)
    for (archive, finding), count in findings.items():
        if count > 1:
            yield f"{archive} has two labels for {finding}; one of them is near"


def _lonely(rows: tuple[Row, ...]) -> Iterator[str]:
    """Findings that fewer than two archives have."""
    archives = defaultdict(set)
    for row in rows:
        if row.finding:
            archives[row.finding] |= {row.archive} if row.how == "same" else set()
    for finding in sorted(archives):
        if len(archives[finding]) < 2:
            yield f"{finding} is in fewer than two archives; its labels are alone"


def _forgotten(rows: tuple[Row, ...]) -> Iterator[str]:
    """Labels of the archives in the table that do not stand there."""
    there = {(row.archive, row.label) for row in rows}
    return (
        f"{label} of {archive} is forgotten; say same, near or alone"
        for archive in sorted({row.archive for row in rows})
        for label in _labels_of(archive)
        if (archive, label) not in there
    )
