"""The ledger of leaks: which patients, examinations and images any two parts of the grid share.

A part is one split of one archive. Nothing is trained before the ledger is written, and it refuses a grid in which a
test split shares anything with what is learned from, unless the config names the overlap and excuses it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.text import many
from headwater.data.neighbours.hamming import neighbours
from headwater.data.perceptual_hash import LEDGER
from headwater.data.store import read_hashes
from headwater.data.tables import check, declared, read_table, write_table
from headwater.reporting.prose import SHARED
from headwater.study import paths
from headwater.study.leaks import Excuse, Overlaps

NEAR = "near-identical"


@dataclass(frozen=True, kw_only=True)
class Units:
    """What cases can share, numbered: the unit of each case (-1: none), and in which parts its likes are."""

    kind: str
    of: np.ndarray
    """int64 (cases,)"""
    like: np.ndarray
    """bool (units, parts): whether a part holds something that counts as the same."""
    again: np.ndarray
    """bool (units, parts): whether it does so beside a case of its own."""
    alike: Callable[[int], np.ndarray]
    """The units that count as the same as one."""


def ledger(*, overlaps: Overlaps, cases: list[Path], hashes: list[Path], ledger: Path, readable: Path) -> None:
    """Write what each two parts share, as a table and as a CSV to be read; refuse leaks that nothing excuses.

    Files of cases and of hashes lie in a folder that bears their archive's name.
    """
    refused = paths.refused(readable)
    refused.unlink(missing_ok=True)
    frame, seen = _all_cases(overlaps, cases=_by_folder(cases), hashes=_by_folder(hashes))
    rows = [*_rows(frame, seen, overlaps=overlaps), *_declared(frame, overlaps=overlaps)]
    found = check(pd.DataFrame(rows, columns=list(declared("ledger").columns)), "ledger")
    leaks = found[found["must_be_apart"] & (found["cases"] > 0)]
    bad = leaks[leaks["excuse"] == ""]
    if len(bad):
        # Snakemake deletes what a failed job declared; this copy stays
        write_text(bad.to_csv(index=False), refused)
        raise UserError(f"{len(bad)} leaks into test splits: {_told(bad.iloc[0])}", file=refused, remedy=_remedy(bad))
    write_table(found, ledger, "ledger")
    # names of cases may hold patients' numbers, and this file is made to be shown
    write_text(found.drop(columns=["example", "other_example"]).to_csv(index=False), readable)
    parts = len(overlaps.parts)
    print(f"ledger: {len(frame)} cases in {parts} parts, {len(leaks)} excused leaks, no other into a test split")


def _remedy(bad: pd.DataFrame) -> str:
    """What can be done about the first of the leaks, in words that can be pasted into the config."""
    first = bad.iloc[0]
    excuse = f"{{kind: {first['kind']}, between: [{first['part']}, {first['other']}], reason: ...}}"
    return f"take them out of one of the two, or excuse them: leaks.excused: [{excuse}]"


def _told(row: pd.Series) -> str:
    """One overlap in words."""
    return (
        f"{row['part']} and {row['other']} share {SHARED[row['kind']]}: {many(row['cases'], 'case')} of"
        f" {many(row['patients'], 'patient')} and {many(row['other_cases'], 'case')},"
        f" such as {row['example']} and {row['other_example']}"
    )


def _by_folder(files: list[Path]) -> dict[str, Path]:
    return {file.parent.name: file for file in files}


def _all_cases(
    overlaps: Overlaps, *, cases: dict[str, Path], hashes: dict[str, Path]
) -> tuple[pd.DataFrame, np.ndarray]:
    """The cases of all parts, each with the number of its part, and their hashes (cases, words)."""
    parts = {name: number for number, name in enumerate(overlaps.parts)}
    frames, seen = [], []
    for learned in overlaps.archives:
        table, words = read_table(cases[learned.archive], "cases"), read_hashes(hashes[learned.archive])
        if len(table) != len(words):
            raise UserError(
                f"has {len(words)} hashes, {cases[learned.archive]} has {len(table)} cases",
                file=hashes[learned.archive],
                remedy="delete both and run prepare again",
            )
        used = table["split"].isin(learned.splits).to_numpy()
        table = table.loc[used, ["case", "patient", "study", "split", "pixels"]]
        part = (learned.archive + " " + table["split"]).map(parts)
        frames.append(table.assign(part=part.astype(np.int64), numbering=learned.numbering))
        seen.append(words[used, :LEDGER])
    return pd.concat(frames, ignore_index=True), np.concatenate(seen)


def _rows(frame: pd.DataFrame, seen: np.ndarray, *, overlaps: Overlaps) -> Iterator[dict]:
    """What each two parts share, of every kind, also where it is nothing."""
    parts, excused = overlaps.parts, overlaps.leaks.excused
    for units in _kinds(frame, seen, parts=len(parts), distance=overlaps.leaks.distance):
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


def _kinds(frame: pd.DataFrame, seen: np.ndarray, *, parts: int, distance: int) -> Iterator[Units]:
    """Everything that cases can share."""
    numbered = frame["numbering"] + "\n"
    yield _equal("patients", numbered + frame["patient"], frame["part"], parts=parts)
    yield _equal("studies", (numbered + frame["study"]).where(frame["study"] != ""), frame["part"], parts=parts)
    yield _equal("identical", frame["pixels"], frame["part"], parts=parts)
    yield _near(frame, seen, parts=parts, distance=distance)


def _equal(kind: str, names: pd.Series, part: pd.Series, *, parts: int) -> Units:
    """Cases that share a name; NaN is shared with nobody."""
    of = pd.factorize(names)[0]
    held = _held(of, part.to_numpy(), units=of.max(initial=-1) + 1, parts=parts)
    return Units(kind=kind, of=of, like=held > 0, again=held > 1, alike=lambda unit: np.array([unit]))


def _near(frame: pd.DataFrame, seen: np.ndarray, *, parts: int, distance: int) -> Units:
    """Images that are not identical but whose hashes differ in few bits."""
    of, pixels = pd.factorize(frame["pixels"])
    first = np.unique(of, return_index=True)[1]
    hashes, of_unit = np.unique(seen[first], axis=0, return_inverse=True)
    held = _held(of, frame["part"].to_numpy(), units=len(pixels), parts=parts) > 0
    # how many different images of each hash a part holds
    images = np.zeros((len(hashes), parts), np.int64)
    np.add.at(images, of_unit, held)
    pairs, _ = neighbours(hashes, distance=distance)
    around = images.copy()
    np.add.at(around, pairs[:, 0], images[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], images[pairs[:, 0]])

    def alike(unit: int) -> np.ndarray:
        mine = of_unit[unit]
        near = {mine, *pairs[pairs[:, 0] == mine, 1], *pairs[pairs[:, 1] == mine, 0]}
        units = np.flatnonzero(np.isin(of_unit, list(near)))
        return units[units != unit]

    like = around[of_unit] - held > 0
    return Units(kind=NEAR, of=of, like=like, again=like, alike=alike)


def _held(of: np.ndarray, part: np.ndarray, *, units: int, parts: int) -> np.ndarray:
    """How many cases of each unit each part holds: int64 (units, parts)."""
    held = np.zeros((units, parts), np.int64)
    np.add.at(held, (of[of >= 0], part[of >= 0]), 1)
    return held


def _shared(frame: pd.DataFrame, units: Units, one: int, other: int) -> dict:
    """How many cases of two parts have their like in the other, of how many patients, and the first such pair."""
    here, there = (_with_likes(frame, units, part, among) for part, among in ((one, other), (other, one)))
    return {
        "cases": len(here),
        "other_cases": len(there),
        "patients": frame["patient"].iloc[here].nunique(),
        "example": frame["case"].iloc[here[0]] if len(here) else "",
        "other_example": frame["case"].iloc[_first_like(units, here[0], there)] if len(here) else "",
    }


def _with_likes(frame: pd.DataFrame, units: Units, part: int, among: int) -> np.ndarray:
    """The cases of a part that have their like in a part, which may be their own."""
    like = units.again if part == among else units.like
    known = np.flatnonzero((frame["part"].to_numpy() == part) & (units.of >= 0))
    return known[like[units.of[known], among]]


def _first_like(units: Units, case: int, among: np.ndarray) -> int:
    """The first of some cases that counts as the same as this one."""
    alike = among[np.isin(units.of[among], units.alike(units.of[case]))]
    return alike[alike != case][0]
