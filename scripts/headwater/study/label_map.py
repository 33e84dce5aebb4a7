"""Findings: which labels of different archives mean the same, so that what one teaches can be asked of another.

Every label of the six radiograph archives stands in findings.csv once: as the `same` finding as in other archives, as
`near` one of them but not the same, or `alone`; why is said beside it. Only what is the same is shared.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean

TABLE = Path(__file__).with_suffix(".csv")

HOW = ("same", "near", "alone")
"""How a label stands to those of other archives."""


class Row(NamedTuple):
    """A label of an archive, and how it stands to those of other archives."""

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
    def known_archives(self) -> list[str]:
        """The archives that the table knows."""
        return sorted({row.archive for row in self.rows})

    def labels(self, archive: str) -> dict[str, str]:
        """An archive's own label of each finding that others have, too."""
        if archive not in self.known_archives:
            remedy = did_you_mean(archive, self.known_archives)
            raise UserError(f"the table of findings has no archive {archive!r}", remedy=remedy)
        return {row.finding: row.label for row in self.rows if (row.archive, row.how) == (archive, "same")}

    def shared(self, one: str, other: str) -> dict[str, str]:
        """Labels of one archive, and what the other calls the same."""
        ours, theirs = self.labels(one), self.labels(other)
        return {label: theirs[finding] for finding, label in ours.items() if finding in theirs}

    def archives(self, finding: str) -> dict[str, str]:
        """The archives that have a finding, and what each calls it."""
        same = [row for row in self.rows if row.how == "same"]
        if not (labels := {row.archive: row.label for row in same if row.finding == finding}):
            remedy = did_you_mean(finding, sorted({row.finding for row in same}))
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
    """A table of findings from a CSV file whose first line says its version; one refusal tells all that is wrong."""
    first, _, rest = file.read_text(encoding="utf-8").partition("\n")
    version = re.fullmatch(r"# version (\d+)", first)
    if not version:
        raise UserError(f"begins with {first!r}", file=file, remedy="begin with a line such as: # version 1")
    header, *lines = list(csv.reader(rest.splitlines())) or [[]]
    if tuple(header) != Row._fields:
        raise UserError(f"has the columns {', '.join(header)}", file=file, remedy=f"have {', '.join(Row._fields)}")
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            remedy = "put what holds a comma into quotes"
            raise UserError(f"row {number} has {len(line)} cells for {len(header)} columns", file=file, remedy=remedy)
    rows = tuple(Row(*line) for line in lines)
    wrong = [*_strange(rows), *_twice(rows), *_lonely(rows), *_forgotten(rows)]
    if wrong:
        raise UserError("; ".join(wrong), file=file)
    return Findings(version=int(version[1]), rows=rows)


def _labels_of(archive: str) -> tuple[str, ...]:
    """The labels on an archive's card; none where there is no such archive."""
    return registry.load("datasets", archive).CARD.labels if archive in registry.names("datasets") else ()


def _strange(rows: tuple[Row, ...]) -> list[str]:
    """Labels that no archive has, words that say nothing of them, and reasons that are not there."""
    wrong = []
    for row in rows:
        known = _labels_of(row.archive)
        if row.label not in known:
            wrong.append(f"{row.archive} has no {row.label!r}; {did_you_mean(row.label, known)}")
        if row.how not in HOW:
            wrong.append(f"{row.label} of {row.archive} is {row.how!r}; {did_you_mean(row.how, HOW)}")
        if (row.how == "alone") == bool(row.finding):
            wrong.append(f"{row.label} of {row.archive}: a finding is named where, and only where, it is not alone")
        if not row.why:
            wrong.append(f"{row.label} of {row.archive}: say why")
    return wrong


def _twice(rows: tuple[Row, ...]) -> list[str]:
    """Labels that stand there more than once, and archives with two labels for the same."""
    labels = Counter((row.archive, row.label) for row in rows)
    findings = Counter((row.archive, row.finding) for row in rows if row.how == "same")
    return [f"{label} of {archive} stands there twice" for (archive, label), count in labels.items() if count > 1] + [
        f"{archive} has two labels for {finding}; one of them is near"
        for (archive, finding), count in findings.items()
        if count > 1
    ]


def _lonely(rows: tuple[Row, ...]) -> list[str]:
    """Findings that fewer than two archives have."""
    archives: dict[str, set[str]] = {row.finding: set() for row in rows if row.finding}
    for row in rows:
        if row.how == "same" and row.finding:
            archives[row.finding].add(row.archive)
    lonely = sorted(finding for finding, having in archives.items() if len(having) < 2)
    return [f"{finding} is in fewer than two archives; its labels are alone" for finding in lonely]


def _forgotten(rows: tuple[Row, ...]) -> list[str]:
    """Labels of the archives in the table that do not stand there."""
    there = {(row.archive, row.label) for row in rows}
    return [
        f"{label} of {archive} is forgotten; say same, near or alone"
        for archive in sorted({row.archive for row in rows})
        for label in _labels_of(archive)
        if (archive, label) not in there
    ]
