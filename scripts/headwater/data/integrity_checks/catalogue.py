"""Checks of a catalogue: counts, patients, labels, and whether the listed images are there."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

import pandas as pd

from headwater.core.text import many
from headwater.data.integrity_checks.findings import FEW, Examination, Finding, share, tally
from headwater.data.tables import SPLITS, TARGET, labels_of

MANY_UNLISTED = 0.1
"""Share of unlisted images, of the listed ones, from which on the tables and the images may be of two releases."""

WHOLE = "fetch what is absent, or go on with what there is and say so in the study"


def check_catalogue(
    examination: Examination,
    catalogue: pd.DataFrame,
    listing: pd.DataFrame,
    there: set[str] | None,
    *,
    expected: Mapping[str, int],
    twin: bool,
    card: Any,
) -> None:
    """What the archive says of its cases, and whether their images are there."""
    examination.findings += _counts(listing, expected=expected, of="its stamp" if twin else "the published")
    examination.findings += _patients(catalogue) if card.patients else []
    if there is None:
        examination.unchecked.append("images on the disk: these come with the software")
    else:
        examination.findings += _missing(catalogue, there)
        examination.findings += _unlisted(listing, there)
        examination.seen.append(f"Images       {len(there):,} on the disk, {listing['file'].nunique():,} listed")
    examination.findings += _labels(catalogue, twin=twin)
    table = _label_table(catalogue)
    examination.labels = (
        table.merge(examination.labels, on="Label", how="left").fillna("–") if len(examination.labels) else table
    )
    examination.seen += _persons(catalogue, patients=card.patients)


def _counts(listing: pd.DataFrame, *, expected: Mapping[str, int], of: str) -> Iterator[Finding]:
    """Counts that are not those expected."""
    splits = [name for name in SPLITS if name in expected]
    # a card whose splits add up to all its cases does not count those of a further split
    add_up = splits and sum(expected[name] for name in splits) == expected.get("cases")
    counted = listing[listing["split"].isin(splits)] if add_up and set(splits) < set(listing["split"]) else listing
    is_there = {"cases": len(counted), "patients": counted["patient"].nunique()}
    is_there |= {name: int((counted["split"] == name).sum()) for name in splits}
    other = [f"{is_there[name]:,} of {expected[name]:,} {_spoken(name)}" for name in expected if name in is_there]
    wrong = [text for text, name in zip(other, expected, strict=True) if is_there[name] != expected[name]]
    if wrong:
        what = f"counts are not those of {of} archive: " if of == "the published" else f"counts are not those of {of}: "
        remedy = WHOLE if of == "the published" else "make the twin again"
        yield Finding(severity="warning", what=what + ", ".join(wrong), count=len(wrong), remedy=remedy)


def _spoken(name: str) -> str:
    return f"{name} cases" if name in SPLITS else name


def _patients(catalogue: pd.DataFrame) -> Iterator[Finding]:
    """Patients in more than one official split."""
    splits = catalogue.groupby("patient")["split"].nunique()
    shared = splits.index[splits > 1]
    if len(shared):
        what = f"patients with cases in more than one official split: {len(shared):,}"
        remedy = "prepare refuses them; move all images of a patient to one split"
        yield Finding(severity="error", what=what, count=len(shared), remedy=remedy, names=tuple(shared))


def _missing(catalogue: pd.DataFrame, there: set[str]) -> Iterator[Finding]:
    """Listed images that are not on the disk."""
    absent = catalogue.loc[~catalogue["file"].isin(there), "file"]
    if len(absent):
        what = f"listed images that are not on the disk: {len(absent):,} of {len(catalogue):,}"
        severity = "error" if len(absent) > FEW * len(catalogue) else "warning"
        remedy = f"fetch them; prepare refuses more than {FEW:.0%} (archives.<name>.rejects)"
        yield Finding(severity=severity, what=what, count=len(absent), remedy=remedy, names=tuple(absent))


def _unlisted(listing: pd.DataFrame, there: set[str]) -> Iterator[Finding]:
    """Images on the disk that no table lists."""
    beyond = sorted(there - set(listing["file"]))
    if beyond:
        strange = len(beyond) > MANY_UNLISTED * len(listing)
        remedy = "are tables and images of one release?" if strange else "nothing: no job reads them"
        what = f"images on the disk that no table lists: {len(beyond):,}"
        severity = "warning" if strange else "note"
        yield Finding(severity=severity, what=what, count=len(beyond), remedy=remedy, names=tuple(beyond))


def without_beside(there: set[str], listing: pd.DataFrame, *, beside: tuple[str, ...]) -> set[str]:
    """The image files that are there without those that lie beside the listed ones by intent, such as masks."""
    listed = set(listing["file"])
    return {file for file in there if file in listed or not any(fnmatch(file, pattern) for pattern in beside)}


def _splits(catalogue: pd.DataFrame) -> list[str]:
    """The official splits that there are, in their order; "" where cases are in none."""
    return [name for name in (*SPLITS, "") if (catalogue["split"] == name).any()]


def _labels(catalogue: pd.DataFrame, *, twin: bool) -> Iterator[Finding]:
    """Labels without a positive case in a split."""
    for split in _splits(catalogue):
        part = catalogue[catalogue["split"] == split]
        lacking = [label for label in labels_of(catalogue) if not (part[TARGET + label] == 1).any()]
        if lacking:
            shown = ", ".join(lacking[:6]) + (", ..." if lacking[6:] else "")
            where = f"in {split}" if split else "of all"
            what = f"no case {where} is positive for {many(len(lacking), 'label')}: {shown}"
            remedy = f"leave them out (datasets.<name>.labels){', or make a larger twin' if twin else ''}"
            yield Finding(severity="note" if twin else "warning", what=what, count=len(lacking), remedy=remedy)


def _label_table(catalogue: pd.DataFrame) -> pd.DataFrame:
    """For each label: positive cases of the known ones in each split, and the share of unknown ones in all."""
    parts = {split.capitalize() or "All": catalogue[catalogue["split"] == split] for split in _splits(catalogue)}
    rows = []
    for label in labels_of(catalogue):
        known = {name: part[TARGET + label].dropna() for name, part in parts.items()}
        borne = {name: f"{int((target == 1).sum()):,} / {len(target):,}" for name, target in known.items()}
        rows.append(
            {"Label": label, **borne, "Unknown": share(int(catalogue[TARGET + label].isna().sum()), len(catalogue))}
        )
    return pd.DataFrame(rows)


def _persons(catalogue: pd.DataFrame, *, patients: bool) -> Iterator[str]:
    """How many cases there are, of whom, and how they were taken."""
    splits = [f"{name} {(catalogue['split'] == name).sum():,}" for name in _splits(catalogue) if name]
    of = f" of {catalogue['patient'].nunique():,} patients" if patients else "; the archive does not tell of patients"
    many = len(catalogue)
    yield f"Cases        {many:,}{of}; official splits: {', '.join(splits) or 'none'}"
    sexes = catalogue["sex"]
    by_sex = {"F": sexes == "F", "M": sexes == "M", "unknown": sexes == "", "other": ~sexes.isin(["F", "M", ""])}
    shares = ", ".join(f"{name} {share(int(which.sum()), many)}" for name, which in by_sex.items() if which.any())
    yield f"Sex, age     {shares}; age unknown in {share(int(catalogue['age'].isna().sum()), many)}"
    yield f"Projections  {tally(catalogue['view'].replace('', 'unknown'))}"
