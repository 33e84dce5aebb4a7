"""Leakage: patients, examinations and images that two parts of a study share; a part is a split of an archive."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.text import many
from headwater.data import copies, perceptual_hash, store, tables
from headwater.data.tables import FLAG, TEXT, WHOLE
from headwater.study.leaks import Excuse, Overlaps

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
)
"""The overlap of each pair of parts, and the duplicates within each part."""

NEAR = "near-identical"

SHARED = {
    "patients": "patients",
    "studies": "studies",
    "identical": "identical images",
    "near-identical": "near-identical images",
    "declared": "the scans that they stem from",
}
"""Names of the kinds of overlap in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Numbered units that cases can share, such as patients or images, and the parts that have matching ones.

    Two units match if they count as the same: themselves, or near-identical images.
    """

    kind: str
    numbers: np.ndarray
    """int64 (cases,): the unit of each case, -1 if it has none."""
    matched: np.ndarray
    """bool (units, parts): whether a part has a case that matches the unit."""
    repeated: np.ndarray
    """bool (units, parts): whether a part with the unit has another case that matches it."""
    matches: Callable[[int], np.ndarray]
    """The units that match a unit."""


def measured(overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]) -> tuple[pd.DataFrame, int]:
    """The ledger, and the number of cases in all parts; files are given by archive."""
    frame, words = _all_cases(overlaps, cases=cases, hashes=hashes)
    rows = [*_rows(frame, words, overlaps=overlaps), *_declared(frame, overlaps=overlaps)]
    return LEDGER.check(LEDGER.frame(rows)), len(frame)


def leaks(ledger: pd.DataFrame) -> pd.DataFrame:
    """The overlaps by which a network would be tested on its training data, excused or not."""
    return ledger[ledger["must_be_apart"] & (ledger["cases"] > 0)]


def remedy(leak: pd.Series) -> str:
    """The remedy for a leak, with an excuse that can be pasted into the config."""
    excuse = f"{{kind: {leak['kind']}, between: [{leak['part']}, {leak['other']}], reason: ...}}"
    return f"remove them from one of the two, or excuse them: leaks.excused: [{excuse}]"


def in_words(row: pd.Series) -> str:
    """An overlap in words."""
    return (
        f"{row['part']} and {row['other']} share {SHARED[row['kind']]}: {many(row['cases'], 'case')} of"
        f" {many(row['patients'], 'patient')} and {many(row['other_cases'], 'case')},"
        f" such as {row['example']} and {row['other_example']}"
    )


def _all_cases(
    overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]
) -> tuple[pd.DataFrame, np.ndarray]:
    """The cases of all parts, each with the number of its part, and their ledger hashes (cases, words)."""
    parts = {name: number for number, name in enumerate(overlaps.parts)}
    frames, words = [], []
    for learned in overlaps.archives:
        table = store.CASES.read(cases[learned.archive])
        of_archive = store.read_hashes(hashes[learned.archive], cases=table, table=cases[learned.archive])
        used = table["split"].isin(learned.splits).to_numpy()
        table = table.loc[used, ["case", "patient", "study", "split", "pixels"]]
        part = (learned.archive + " " + table["split"]).map(parts)
        frames.append(table.assign(part=part.astype(np.int64), numbering=learned.numbering))
        if of_archive.shape[1] < perceptual_hash.WORDS:
            print(
                f"ledger: {learned.archive} was prepared without sketches, so edited copies of its images are not "
                f"found; snakemake --forcerun prepare makes them",
                flush=True,
            )
        words.append(perceptual_hash.of_ledger(of_archive[used]))
    return pd.concat(frames, ignore_index=True), np.concatenate(words)


def _rows(frame: pd.DataFrame, words: np.ndarray, *, overlaps: Overlaps) -> Iterator[dict]:
    """One row for each kind of overlap and pair of parts, including those that share nothing."""
    parts, excused = overlaps.parts, overlaps.leaks.excused
    for units in _kinds(frame, words, parts=len(parts), distance=overlaps.leaks.distance):
        for part, other in combinations_with_replacement(range(len(parts)), 2):
            # several cases of one patient within a part are no overlap, but repeated images are
            if part != other or units.kind in ("identical", NEAR):
                key = {"kind": units.kind, "part": parts[part], "other": parts[other]}
                leak = _is_leak(parts[part], parts[other])
                yield {
                    **key,
                    **_shared(frame, units, part, other),
                    "must_be_apart": leak,
                    "excuse": _excuse(key, excused) if leak else "",
                }


def _declared(frame: pd.DataFrame, *, overlaps: Overlaps) -> Iterator[dict]:
    """One row for each test split with an origin that training data have too; no file shows the shared patients."""
    parts = {name: frame[frame["part"] == number] for number, name in enumerate(overlaps.parts)}
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


def _is_leak(part: str, other: str) -> bool:
    """Whether an overlap of two parts is a leak: exactly one of them is a test split."""
    return part.endswith(" test") != other.endswith(" test")


def _excuse(key: dict[str, str], excused: tuple[Excuse, ...]) -> str:
    """The reason for which the config accepts an overlap; empty if it does not."""
    between = {key["part"], key["other"]}
    return next((excuse.reason for excuse in excused if (excuse.kind, {*excuse.between}) == (key["kind"], between)), "")


def _kinds(frame: pd.DataFrame, words: np.ndarray, *, parts: int, distance: int) -> Iterator[Units]:
    """The units of every kind of overlap."""
    # equal numbers mean the same person only within one numbering
    numbered = frame["numbering"] + "\n"
    yield _equal("patients", numbered + frame["patient"], frame["part"], parts=parts)
    yield _equal("studies", (numbered + frame["study"]).where(frame["study"] != ""), frame["part"], parts=parts)
    yield _equal("identical", frame["pixels"], frame["part"], parts=parts)
    yield _near(frame, words, parts=parts, distance=distance)


def _equal(kind: str, names: pd.Series, part: pd.Series, *, parts: int) -> Units:
    """Units of cases with equal names; NaN, which factorize numbers -1, matches none."""
    numbers = pd.factorize(names)[0]
    held = _held(numbers, part.to_numpy(), units=numbers.max(initial=-1) + 1, parts=parts)
    return Units(kind=kind, numbers=numbers, matched=held > 0, repeated=held > 1, matches=lambda unit: np.array([unit]))


def _near(frame: pd.DataFrame, words: np.ndarray, *, parts: int, distance: int) -> Units:
    """Units of different images that are near-identical: by their hashes, or as edited copies."""
    # copies of an image are one unit, as identical images are an overlap of their own
    numbers, pixels = pd.factorize(frame["pixels"])
    first = np.unique(numbers, return_index=True)[1]
    # different images may have one hash; each is needed once, and the first image stands for all
    hashes, shown_by, hash_of = np.unique(
        words[first, : perceptual_hash.LEDGER], axis=0, return_index=True, return_inverse=True
    )
    held = _held(numbers, frame["part"].to_numpy(), units=len(pixels), parts=parts) > 0
    # number of different images of each hash in each part: int64 (hashes, parts)
    images = np.zeros((len(hashes), parts), np.int64)
    np.add.at(images, hash_of, held)
    pairs = copies.near(words[first[shown_by]], distance=distance).pairs
    around = images.copy()
    np.add.at(around, pairs[:, 0], images[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], images[pairs[:, 0]])

    def matching(unit: int) -> np.ndarray:
        own = hash_of[unit]
        near = {own, *pairs[pairs[:, 0] == own, 1], *pairs[pairs[:, 1] == own, 0]}
        units = np.flatnonzero(np.isin(hash_of, list(near)))
        return units[units != unit]

    # `around` counts the image itself in the parts that have it
    matched = around[hash_of] - held > 0
    return Units(kind=NEAR, numbers=numbers, matched=matched, repeated=matched, matches=matching)


def _held(numbers: np.ndarray, part: np.ndarray, *, units: int, parts: int) -> np.ndarray:
    """The number of cases of each unit in each part: int64 (units, parts)."""
    held = np.zeros((units, parts), np.int64)
    # `held[...] += 1` would count repeated pairs of unit and part once
    np.add.at(held, (numbers[numbers >= 0], part[numbers >= 0]), 1)
    return held


def _shared(frame: pd.DataFrame, units: Units, part: int, other: int) -> dict:
    """The numbers of cases in either part that match a case of the other, of their patients, and the first pair."""
    cases = _matched_cases(frame, units, part, other)
    other_cases = _matched_cases(frame, units, other, part)
    return {
        "cases": len(cases),
        "other_cases": len(other_cases),
        "patients": frame["patient"].iloc[cases].nunique(),
        "example": frame["case"].iloc[cases[0]] if len(cases) else "",
        "other_example": frame["case"].iloc[_first_match(units, cases[0], other_cases)] if len(cases) else "",
    }


def _matched_cases(frame: pd.DataFrame, units: Units, part: int, among: int) -> np.ndarray:
    """The cases of `part` that match a case of `among`, which may be the same part."""
    matched = units.repeated if part == among else units.matched
    candidates = np.flatnonzero((frame["part"].to_numpy() == part) & (units.numbers >= 0))
    return candidates[matched[units.numbers[candidates], among]]


def _first_match(units: Units, case: int, among: np.ndarray) -> int:
    """The first of some cases that matches a case, other than itself."""
    matching = among[np.isin(units.numbers[among], units.matches(units.numbers[case]))]
    return matching[matching != case][0]
