"""Findings: which labels of different archives mean the same, so that what one teaches can be asked of another.

Every label of the six radiograph archives stands in findings.csv once: as the `same` finding as in other archives, as
`near` one of them but not the same, or `alone`; why is said beside it. Only what is the same is shared.
"""

import re
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path

import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean

TABLE = Path(__file__).with_suffix(".csv")

COLUMNS = ("finding", "archive", "label", "how", "why")

HOW = ("same", "near", "alone")
"""How a label stands to those of other archives."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """A checked table of findings, and the version of it that a study should tell."""

    version: int
    rows: pd.DataFrame

    def labels(self, archive: str) -> dict[str, str]:
        """An archive's own label of each finding that others have, too."""
        known = sorted(set(self.rows["archive"]))
        if archive not in known:
            raise UserError(f"the table of findings has no archive {archive!r}", remedy=did_you_mean(archive, known))
        here = self.rows[(self.rows["archive"] == archive) & (self.rows["how"] == "same")]
        return dict(zip(here["finding"], here["label"], strict=True))

    def shared(self, one: str, other: str) -> dict[str, str]:
        """Labels of one archive, and what the other calls the same."""
        ours, theirs = self.labels(one), self.labels(other)
        return {label: theirs[finding] for finding, label in ours.items() if finding in theirs}

    def archives(self, finding: str) -> dict[str, str]:
        """The archives that have a finding, and what each calls it."""
        same = self.rows[self.rows["how"] == "same"]
        here = same[same["finding"] == finding]
        if here.empty:
            remedy = did_you_mean(finding, sorted(set(same["finding"])))
            raise UserError(f"the table of findings has no {finding!r}", remedy=remedy)
        return dict(zip(here["archive"], here["label"], strict=True))


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
    try:
        rows = pd.read_csv(StringIO(rest), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"is no table: {error}", file=file, remedy="put what holds a comma into quotes") from None
    if tuple(rows.columns) != COLUMNS:
        raise UserError(f"has the columns {', '.join(rows.columns)}", file=file, remedy=f"have {', '.join(COLUMNS)}")
    wrong = [*_strange(rows), *_twice(rows), *_lonely(rows), *_forgotten(rows)]
    if wrong:
        raise UserError("; ".join(wrong), file=file)
    return Findings(version=int(version[1]), rows=rows)


def _labels_of(archive: str) -> tuple[str, ...]:
    """The labels on an archive's card; none where there is no such archive."""
    return registry.load("datasets", archive).CARD.labels if archive in registry.names("datasets") else ()


def _strange(rows: pd.DataFrame) -> list[str]:
    """Labels that no archive has, words that say nothing of them, and reasons that are not there."""
    wrong = []
    for row in rows.itertuples():
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


def _twice(rows: pd.DataFrame) -> list[str]:
    """Labels that stand there more than once, and archives with two labels for the same."""
    labels = rows[rows.duplicated(["archive", "label"])]
    same = rows[rows["how"] == "same"]
    findings = same[same.duplicated(["archive", "finding"])]
    return [f"{row.label} of {row.archive} stands there twice" for row in labels.itertuples()] + [
        f"{row.archive} has two labels for {row.finding}; one of them is near" for row in findings.itertuples()
    ]


def _lonely(rows: pd.DataFrame) -> list[str]:
    """Findings that fewer than two archives have."""
    counts = rows[rows["how"] == "same"].groupby("finding")["archive"].nunique()
    counts = counts.reindex(sorted(set(rows["finding"]) - {""}), fill_value=0)
    return [f"{finding} is in fewer than two archives; its labels are alone" for finding in counts.index[counts < 2]]


def _forgotten(rows: pd.DataFrame) -> list[str]:
    """Labels of the archives in the table that do not stand there."""
    there = set(zip(rows["archive"], rows["label"], strict=True))
    return [
        f"{label} of {archive} is forgotten; say same, near or alone"
        for archive in sorted(set(rows["archive"]))
        for label in _labels_of(archive)
        if (archive, label) not in there
    ]
