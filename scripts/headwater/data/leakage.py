"""Leakage: which patients, examinations and images any two parts of a study share; a part is a split of an archive."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.text import many
from headwater.data import perceptual_hash, store, tables
from headwater.data.neighbours.hamming import neighbours
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
"""What each two parts share, and what each part holds more than once."""

NEAR = "near-identical"

SHARED = {
    "patients": "patients",
    "studies": "studies",
    "identical": "identical images",
    "near-identical": "near-identical images",
    "declared": "the scans that they stem from",
}
"""How what two parts of a grid share is called in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """What cases can share, such as patients or images, numbered; and which parts hold matching ones."""

    kind: str
    numbers: np.ndarray
    """int64 (cases,): the unit of each case, -1 where it has none."""
    matched: np.ndarray
    """bool (units, parts): whether a part holds a case that matches the unit."""
    repeated: np.ndarray
    """bool (units, parts): whether a part that holds the unit has a further case that matches it."""
    matches: Callable[[int], np.ndarray]
    """The units that match a unit."""


def measured(overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]) -> tuple[pd.DataFrame, int]:
    """What each two parts share, and the number of cases in all parts; files are given by archive."""
    frame, words = _all_cases(overlaps, cases=cases, hashes=hashes)
    rows = [*_rows(frame, words, overlaps=overlaps), *_declared(frame, overlaps=overlaps)]
    return LEDGER.check(LEDGER.frame(rows)), len(frame)


def leaks(ledger: pd.DataFrame) -> pd.DataFrame:
    """The overlaps by which a network would be tested on what it learned from, excused or not."""
    return ledger[ledger["must_be_apart"] & (ledger["cases"] > 0)]


def remedy(leak: pd.Series) -> str:
    """What can be done about a leak, in words that can be pasted into the config."""
    excuse = f"{{kind: {leak['kind']}, between: [{leak['part']}, {leak['other']}], reason: ...}}"
    return f"take them out of one of the two, or excuse them: leaks.excused: [{excuse}]"


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
    """The cases of all parts, each with the number of its part, and their hashes (cases, words)."""
    parts = {name: number for number, name in enumerate(overlaps.parts)}
    frames, words = [], []
    for learned in overlaps.archives:
        table = store.CASES.read(cases[learned.archive])
        hashed = store.read_hashes(hashes[learned.archive], cases=table, table=cases[learned.archive])
        used = table["split"].isin(learned.splits).to_numpy()
        table = table.loc[used, ["case", "patient", "study", "split", "pixels"]]
        part = (learned.archive + " " + table["split"]).map(parts)
        frames.append(table.assign(part=part.astype(np.int64), numbering=learned.numbering))
        words.append(hashed[used, : perceptual_hash.LEDGER])
    return pd.concat(frames, ignore_index=True), np.concatenate(words)


def _rows(frame: pd.DataFrame, words: np.ndarray, *, overlaps: Overlaps) -> Iterator[dict]:
    """What each two parts share, of every kind, also where it is nothing."""
    parts, excused = overlaps.parts, overlaps.leaks.excused
    for units in _kinds(frame, words, parts=len(parts), distance=overlaps.leaks.distance):
        for one, other in combinations_with_replacement(range(len(parts)), 2):
            # within one part a patient may have several cases
            if one != other or units.kind in ("identical", NEAR):
                named = {"kind": units.kind, "part": parts[one], "other": parts[other]}
                leak = _is_leak(parts[one], parts[other])
                yield {
                    **named,
                    **_shared(frame, units, one, other),
                    "must_be_apart": leak,
                    "excuse": _excuse(named, excused) if leak else "",
                }


def _declared(frame: pd.DataFrame, *, overlaps: Overlaps) -> Iterator[dict]:
    """What stems from the scans of a test split, which no file shows: all of its cases may be concerned."""
    parts = {name: frame[frame["part"] == number] for number, name in enumerate(overlaps.parts)}
    for one in overlaps.declared:
        named = {"kind": "declared", "part": one.test, "other": one.learned}
        yield {
            **named,
            "cases": len(parts[one.test]),
            "other_cases": len(parts.get(one.learned, ())),
            "patients": parts[one.test]["patient"].nunique(),
            **dict.fromkeys(("example", "other_example"), f"made from {', '.join(one.origins)}"),
            "must_be_apart": True,
            "excuse": _excuse(named, overlaps.leaks.excused),
        }


def _is_leak(one: str, other: str) -> bool:
    """Whether an overlap of two parts would let a network see what it is tested on: one of them is a test split."""
    return one.endswith(" test") != other.endswith(" test")


def _excuse(named: dict[str, str], excused: tuple[Excuse, ...]) -> str:
    """Why an overlap may be; empty where nobody says so."""
    between = {named["part"], named["other"]}
    return next((one.reason for one in excused if one.kind == named["kind"] and set(one.between) == between), "")


def _kinds(frame: pd.DataFrame, words: np.ndarray, *, parts: int, distance: int) -> Iterator[Units]:
    """Everything that cases can share."""
    numbered = frame["numbering"] + "\n"
    yield _equal("patients", numbered + frame["patient"], frame["part"], parts=parts)
    yield _equal("studies", (numbered + frame["study"]).where(frame["study"] != ""), frame["part"], parts=parts)
    yield _equal("identical", frame["pixels"], frame["part"], parts=parts)
    yield _near(frame, words, parts=parts, distance=distance)


def _equal(kind: str, names: pd.Series, part: pd.Series, *, parts: int) -> Units:
    """Cases that share a name; NaN is shared with nobody."""
    numbers = pd.factorize(names)[0]
    held = _held(numbers, part.to_numpy(), units=numbers.max(initial=-1) + 1, parts=parts)
    return Units(kind=kind, numbers=numbers, matched=held > 0, repeated=held > 1, matches=lambda unit: np.array([unit]))


def _near(frame: pd.DataFrame, words: np.ndarray, *, parts: int, distance: int) -> Units:
    """Images that are not identical but whose hashes differ in few bits."""
    numbers, pixels = pd.factorize(frame["pixels"])
    first = np.unique(numbers, return_index=True)[1]
    hashes, hash_of = np.unique(words[first], axis=0, return_inverse=True)
    held = _held(numbers, frame["part"].to_numpy(), units=len(pixels), parts=parts) > 0
    # how many different images of each hash a part holds
    images = np.zeros((len(hashes), parts), np.int64)
    np.add.at(images, hash_of, held)
    pairs, _ = neighbours(hashes, distance=distance)
    around = images.copy()
    np.add.at(around, pairs[:, 0], images[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], images[pairs[:, 0]])

    def matching(unit: int) -> np.ndarray:
        mine = hash_of[unit]
        near = {mine, *pairs[pairs[:, 0] == mine, 1], *pairs[pairs[:, 1] == mine, 0]}
        units = np.flatnonzero(np.isin(hash_of, list(near)))
        return units[units != unit]

    matched = around[hash_of] - held > 0
    return Units(kind=NEAR, numbers=numbers, matched=matched, repeated=matched, matches=matching)


def _held(numbers: np.ndarray, part: np.ndarray, *, units: int, parts: int) -> np.ndarray:
    """How many cases of each unit each part holds: int64 (units, parts)."""
    held = np.zeros((units, parts), np.int64)
    np.add.at(held, (numbers[numbers >= 0], part[numbers >= 0]), 1)
    return held


def _shared(frame: pd.DataFrame, units: Units, one: int, other: int) -> dict:
    """How many cases of two parts match a case of the other, of how many patients, and the first such pair."""
    here, there = (_matched_cases(frame, units, part, among) for part, among in ((one, other), (other, one)))
    return {
        "cases": len(here),
        "other_cases": len(there),
        "patients": frame["patient"].iloc[here].nunique(),
        "example": frame["case"].iloc[here[0]] if len(here) else "",
        "other_example": frame["case"].iloc[_first_match(units, here[0], there)] if len(here) else "",
    }


def _matched_cases(frame: pd.DataFrame, units: Units, part: int, among: int) -> np.ndarray:
    """The cases of a part that match a case of a part, which may be their own."""
    matched = units.repeated if part == among else units.matched
    candidates = np.flatnonzero((frame["part"].to_numpy() == part) & (units.numbers >= 0))
    return candidates[matched[units.numbers[candidates], among]]


def _first_match(units: Units, case: int, among: np.ndarray) -> int:
    """The first of some cases that counts as the same as this one."""
    matching = among[np.isin(units.numbers[among], units.matches(units.numbers[case]))]
    return matching[matching != case][0]
