"""Leakage: patients, examinations and images that two parts of a study share; a part is a split of an archive."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.text import many
from headwater.data import (
    dropping,
    examinations,
    leaking_pairs,
    opposite_labels,
    perceptual_hash,
    splits,
    store,
    tables,
)
from headwater.data.shared_units import NEAR, Alike, Units, alike, equal, matching, near
from headwater.data.tables import FLAG, TARGET, TEXT, WHOLE
from headwater.study.leaks import Excuse, Overlaps, is_leak, is_tested_side

LEDGER = tables.Table(
    name="ledger",
    columns={
        "kind": TEXT,
        "part": TEXT,
        "other": TEXT,
        "cases": WHOLE,
        "other_cases": WHOLE,
        "patients": WHOLE,
        "example": TEXT,
        "other_example": TEXT,
        "must_be_apart": FLAG,
        "excuse": TEXT,
    },
    keys=("kind", "part", "other"),
    # pairs of images with opposite labels, where there are any; cases that `leaks.resolve` took out of training
    optional={"pairs": WHOLE, "dropped": WHOLE},
)
"""The overlap of each pair of parts, and the duplicates within each part."""

SHARED = {
    "patients": "patients",
    "studies": "studies",
    "identical": "identical images",
    "near-identical": "near-identical images",
    "declared": "the scans that they stem from",
}
"""Names of the kinds of overlap in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the parts of a study share, and which cases are taken out for it."""

    ledger: pd.DataFrame
    pairs: pd.DataFrame
    """The leaks case by case, as they were before any case was taken out; it names cases and patients."""
    opposite: pd.DataFrame
    """Images that look the same and have opposite labels; it names cases and patients."""
    dropped: dict[str, pd.DataFrame]
    """By archive: the cases that are taken out."""
    cases: int
    """The number of cases in all parts."""


def measured(overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]) -> Measured:
    """What the parts share once leaks are resolved as the config says; files are given by archive."""
    frame, words, targets = _all_cases(overlaps, cases=cases, hashes=hashes)
    images = alike(
        frame["pixels"],
        words,
        distance=overlaps.leaks.distance,
        edited_copies=overlaps.leaks.edited_copies,
    )
    units = _kinds(frame, images, parts=len(overlaps.parts))
    rows = list(_rows(frame, units, overlaps=overlaps))
    pairs = leaking_pairs.of(
        units, frame, leaks=[row for row in rows if row["must_be_apart"] and row["cases"]], overlaps=overlaps
    )
    left = ~np.isin(np.arange(len(frame)), pairs.loc[pairs["handling"] == leaking_pairs.DROPPED, "learned"])
    opposite = opposite_labels.of(frame, images, targets=targets)
    if overlaps.leaks.resolve:
        _refuse_emptied(frame, left, targets=targets, overlaps=overlaps)
        rows = _resolved(rows, frame[left], images.of(left), overlaps=overlaps)
    rows += [*_declared(frame[left], overlaps=overlaps), *_opposite(opposite.counts, parts=overlaps.parts)]
    return Measured(
        ledger=_ledger(rows),
        pairs=leaking_pairs.named(pairs, frame, images, left=left),
        opposite=opposite_labels.named(opposite.pairs, frame, parts=overlaps.parts),
        dropped={
            learned.archive: leaking_pairs.dropped(pairs, frame, learned.archive) for learned in overlaps.archives
        },
        cases=len(frame),
    )


def _ledger(rows: list[dict]) -> pd.DataFrame:
    """The ledger; columns that no row has are left out, and their empty cells are 0."""
    optional = [name for name in LEDGER.optional if any(name in row for row in rows)]
    table = pd.DataFrame(rows, columns=[*LEDGER.columns, *optional])
    return LEDGER.check(table.fillna(dict.fromkeys(optional, 0)))


def leaks(ledger: pd.DataFrame) -> pd.DataFrame:
    """The overlaps by which a network would be tested on its training data, excused or not."""
    return ledger[ledger["must_be_apart"] & (ledger["cases"] > 0)]


def remedy(leak: pd.Series, *, overlaps: Overlaps) -> str:
    """The remedies for a leak, with keys that can be pasted into the config."""
    kind, part, other = leak["kind"], leak["part"], leak["other"]
    ways = ["remove them from one of the two"]
    if kind != "declared":
        ways.append(f"let the study do so: leaks.resolve: {{{kind}: {leaking_pairs.DROP}}}")
    ways.append(f"excuse them: leaks.excused: [{{kind: {kind}, between: [{part}, {other}], reason: ...}}]")
    return ", or ".join([*ways, *_renumbered(leak, overlaps)])


def _renumbered(leak: pd.Series, overlaps: Overlaps) -> list[str]:
    """The remedy for two archives of one's own whose patients are taken for the same because their numbers are."""
    one, other = (leak[side].rpartition(" ")[0] for side in ("part", "other"))
    numbering = {learned.archive: learned.numbering for learned in overlaps.archives}
    owner = numbering.get(one, "")
    by_number = leak["kind"] in ("patients", "studies") and one != other and owner == numbering.get(other)
    # a publisher's numbers, and those of its twins, are what they are
    if not by_number or owner.partition(", twin ")[0] in registry.names("datasets"):
        return []
    return [
        f"if equal numbers are different people there, say who numbered each: archives.{one}.kind.numbering and "
        f"archives.{other}.kind.numbering (both {owner!r} now)"
    ]


def in_words(row: pd.Series) -> str:
    """An overlap in words."""
    return (
        f"{row['part']} and {row['other']} share {SHARED[row['kind']]}: {many(row['cases'], 'case')} of"
        f" {many(row['patients'], 'patient')} and {many(row['other_cases'], 'case')},"
        f" such as {row['example']} and {row['other_example']}"
    )


def _all_cases(
    overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]
) -> tuple[pd.DataFrame, np.ndarray, dict[str, pd.DataFrame]]:
    """The cases of all parts, their ledger hashes (cases, words), and by archive their targets.

    Each case has the number of its part, and what names its person and its examination. Targets have the cases'
    positions as index.
    """
    parts = {name: number for number, name in enumerate(overlaps.parts)}
    frames, words, targets, count = [], [], {}, 0
    for learned in overlaps.archives:
        table = store.CASES.read(cases[learned.archive])
        of_archive = store.read_hashes(hashes[learned.archive], cases=table, table=cases[learned.archive])
        table = splits.by_fold(table, learned.folds) if learned.folds else table
        used = table["split"].isin(learned.splits).to_numpy()
        named = table.assign(
            part=(learned.archive + " " + table["split"]).map(parts),
            archive=learned.archive,
            # equal numbers mean the same person only within one numbering
            person=learned.numbering + "\n" + table["patient"],
            examination=examinations.named(table, numbering=learned.numbering),
        )[used]
        frames.append(named[["case", "patient", "split", "pixels", "archive", "part", "person", "examination"]])
        if overlaps.leaks.edited_copies and of_archive.shape[1] < perceptual_hash.WORDS:
            print(
                f"ledger: {learned.archive} was prepared without sketches, so edited copies of its images are not "
                f"found; snakemake --forcerun prepare makes them",
                flush=True,
            )
        words.append(perceptual_hash.of_ledger(of_archive[used]))
        labels = named[[TARGET + label for label in tables.labels_of(named)]]
        targets[learned.archive] = labels.set_axis(range(count, count := count + len(labels)))
    frame = pd.concat(frames, ignore_index=True)
    return frame.astype({"part": np.int64}), np.concatenate(words), targets


def _kinds(frame: pd.DataFrame, images: Alike, *, parts: int) -> list[Units]:
    """The units of every kind of overlap."""
    part = frame["part"].to_numpy()
    names = {"patients": "person", "studies": "examination", "identical": "pixels"}
    exact = [equal(kind, frame[column], part, parts=parts) for kind, column in names.items()]
    return [*exact, near(images, part, parts=parts)]


def _rows(frame: pd.DataFrame, kinds: list[Units], *, overlaps: Overlaps) -> Iterator[dict]:
    """One row for each kind of overlap and pair of parts, including those that share nothing."""
    parts, excused = overlaps.parts, overlaps.leaks.excused
    for units in kinds:
        for part, other in combinations_with_replacement(range(len(parts)), 2):
            # several cases of one patient within a part are no overlap, but repeated images are
            if part != other or units.kind in ("identical", NEAR):
                key = {"kind": units.kind, "part": parts[part], "other": parts[other]}
                leak = is_leak(parts[part], parts[other])
                yield {
                    **key,
                    **_shared(frame, units, part, other),
                    "must_be_apart": leak,
                    "excuse": _excuse(key, excused) if leak else "",
                }


def _resolved(rows: list[dict], frame: pd.DataFrame, images: Alike, *, overlaps: Overlaps) -> list[dict]:
    """The rows of the cases that are left, each with how many cases were taken out for it."""
    left = _rows(frame, _kinds(frame, images, parts=len(overlaps.parts)), overlaps=overlaps)
    taken = [
        _learned_cases(row) if leaking_pairs.handling(row, overlaps) == leaking_pairs.DROPPED else 0 for row in rows
    ]
    return [{**row, "dropped": count} for row, count in zip(left, taken, strict=True)]


def _refuse_emptied(
    frame: pd.DataFrame, left: np.ndarray, *, targets: dict[str, pd.DataFrame], overlaps: Overlaps
) -> None:
    """Refuse to take all cases out of a part, or the last example of a label out of one that networks are fitted to."""
    for learned in overlaps.archives:
        fitted = "test" in learned.splits
        for split in learned.splits:
            name = f"{learned.archive} {split}"
            places = np.flatnonzero(frame["part"].to_numpy() == overlaps.parts.index(name))
            labels = learned.labels if fitted else None
            dropping.refuse_emptied(targets[learned.archive].loc[places], ~left[places], part=name, labels=labels)


def _learned_cases(row: dict) -> int:
    """The number of cases of a leak on the side that is learned from."""
    return row["other_cases"] if is_tested_side(row["part"], row["other"]) else row["cases"]


def _opposite(counts: pd.DataFrame, *, parts: list[str]) -> Iterator[dict]:
    """One row for each two parts of an archive in which images look the same and have opposite labels."""
    for row in counts.to_dict("records"):
        yield {
            **{name: row[name] for name in ("cases", "other_cases", "patients", "pairs")},
            "kind": opposite_labels.KINDS[row["kind"]],
            "part": parts[row["part"]],
            "other": parts[row["other"]],
            **dict.fromkeys(("example", "other_example", "excuse"), ""),
            "must_be_apart": False,
        }


def _declared(frame: pd.DataFrame, *, overlaps: Overlaps) -> Iterator[dict]:
    """One row for each test split with an origin that training data have too; no file shows the shared patients."""
    parts = {name: frame[frame["part"] == number] for number, name in enumerate(overlaps.parts)}
    # of an archive in folds every case is tested
    parts |= {f"{one.archive} test": frame[frame["archive"] == one.archive] for one in overlaps.archives if one.folds}
    for overlap in overlaps.declared:
        key = {"kind": "declared", "part": overlap.test, "other": overlap.learned}
        yield {
            **key,
            # upper bounds: any case of either part may be shared
            "cases": len(parts[overlap.test]),
            # adopted weights are no part of the grid, and their training cases are not counted
            "other_cases": len(parts.get(overlap.learned, ())),
            "patients": parts[overlap.test]["patient"].nunique(),
            **dict.fromkeys(("example", "other_example"), f"made from {', '.join(overlap.origins)}"),
            "must_be_apart": True,
            "excuse": _excuse(key, overlaps.leaks.excused),
        }


def _excuse(key: dict[str, str], excused: tuple[Excuse, ...]) -> str:
    """The reason for which the config accepts an overlap; empty if it does not."""
    between = {key["part"], key["other"]}
    return next((excuse.reason for excuse in excused if (excuse.kind, {*excuse.between}) == (key["kind"], between)), "")


def _shared(frame: pd.DataFrame, units: Units, part: int, other: int) -> dict:
    """The numbers of cases in either part that match a case of the other, of their patients, and the first pair."""
    part_of = frame["part"].to_numpy()
    cases, other_cases = matching(units, part_of, part, among=other), matching(units, part_of, other, among=part)
    partner = units.partners(cases[:1], other_cases)
    return {
        "cases": len(cases),
        "other_cases": len(other_cases),
        "patients": frame["patient"].iloc[cases].nunique(),
        "example": frame["case"].iloc[cases[0]] if len(cases) else "",
        "other_example": frame["case"].iloc[partner[0]] if len(cases) else "",
    }
