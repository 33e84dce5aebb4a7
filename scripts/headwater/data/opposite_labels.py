"""Opposite labels: images of one archive that look the same although a finding is present in one and absent in another.

One of the two labels is wrong, or the finding cannot be seen in these images; the ledger tells, and stops nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from headwater.core.text import many
from headwater.data.shared_units import NEAR, Alike
from headwater.data.tables import TARGET

IDENTICAL = "identical"

KINDS = {IDENTICAL: "opposite labels, identical", NEAR: "opposite labels, near-identical"}
"""How the ledger calls what has opposite labels, by how the images look the same."""

COLUMNS = ("kind", "part", "case", "patient", "other", "other_case", "other_patient", "labels")
"""Of the file for people: each case with such a partner stands in at least one row, with one partner."""


@dataclass(frozen=True, kw_only=True)
class Opposite:
    """Pairs of images that look the same and have opposite labels."""

    counts: pd.DataFrame
    """By kind and two parts by number, `part` <= `other`: the number of pairs, and of cases and patients in them."""
    pairs: pd.DataFrame
    """A row of positions for each such case with one partner, and the labels that differ."""


def of(frame: pd.DataFrame, images: Alike, *, targets: dict[str, pd.DataFrame]) -> Opposite:
    """All pairs of cases of one archive; `targets` has, by archive, a row for each case by its position in `frame`."""
    joined = [part for table in targets.values() for part in _of_archive(frame, images, table)]
    ordered = pd.concat(joined, ignore_index=True) if joined else pd.DataFrame(columns=list(_COLUMNS))
    return Opposite(counts=_counts(ordered, frame), pairs=_pairs(ordered))


def sentences(ledger: pd.DataFrame) -> list[str]:
    """How many pairs of images have opposite labels, by how they look the same; nothing without any."""
    words = {IDENTICAL: "identical images", NEAR: "near-identical images"}
    totals = {
        kind: ledger.loc[ledger["kind"] == name, "pairs"].sum() for kind, name in KINDS.items() if "pairs" in ledger
    }
    told = [f"{many(int(total), 'pair')} of {words[kind]}" for kind, total in totals.items() if total]
    if not told:
        return []
    verb = "has" if sum(totals.values()) == 1 else "have"
    return [f"{' and '.join(told)} {verb} opposite labels within one archive"]


def named(pairs: pd.DataFrame, frame: pd.DataFrame, *, parts: list[str]) -> pd.DataFrame:
    """The pairs with the names of their cases, as a file for people."""
    first, second = frame.iloc[pairs["position"]], frame.iloc[pairs["other_position"]]
    columns = {"kind": pairs["kind"].to_numpy(), "labels": pairs["labels"].to_numpy()}
    for side, cases in (("", first), ("other_", second)):
        columns[side.rstrip("_") or "part"] = [parts[number] for number in cases["part"]]
        columns |= {f"{side}{name}": cases[name].to_numpy() for name in ("case", "patient")}
    return pd.DataFrame(columns, columns=list(COLUMNS))


_COLUMNS = ("kind", "part", "other", "position", "other_position", "pairs", "labels")
"""Of a frame with a row for each case and each part in which it has partners: one of them, and how many there are."""


def _of_archive(frame: pd.DataFrame, images: Alike, targets: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """For each kind, each case with a partner of opposite labels in a part, that part, and how many there are."""
    known = targets.index.to_numpy()[targets.notna().any(axis=1).to_numpy()]
    hashes = images.hash_of[images.numbers[known]]
    # an image whose hash stands alone looks like no other
    close = np.bincount(hashes, minlength=images.hashes) > 1
    close[images.pairs.ravel()] = True
    known = known[close[hashes]]
    if not len(known):
        return
    values, pattern = np.unique(targets.loc[known].fillna(-1).to_numpy(), axis=0, return_inverse=True)
    cases = pd.DataFrame(
        {
            "position": known,
            "image": images.numbers[known],
            "hash": images.hash_of[images.numbers[known]],
            "part": frame["part"].to_numpy()[known],
            "pattern": pattern.reshape(-1),
        }
    )
    labels = np.array([name.removeprefix(TARGET) for name in targets.columns])
    for kind, joined in ((IDENTICAL, _identical(cases)), (NEAR, _near(cases, images))):
        one, other = (values[joined[name].to_numpy()] for name in ("pattern", "other_pattern"))
        differ = ((one == 1) & (other == 0)) | ((one == 0) & (other == 1))
        found = differ.any(axis=1) & (joined["pairs"] > 0).to_numpy()
        words = [", ".join(labels[row]) for row in differ[found]]
        yield joined[found].assign(kind=kind, labels=words)[list(_COLUMNS)]


def _groups(cases: pd.DataFrame, by: str) -> pd.DataFrame:
    """Cases of one image or hash, one part and one pattern of labels: how many, and the first of them."""
    grouped = cases.groupby([by, "part", "pattern"], sort=True)["position"]
    groups = grouped.agg(pairs="size", other_position="first").reset_index()
    return groups.rename(columns={"part": "other", "pattern": "other_pattern"})


def _identical(cases: pd.DataFrame) -> pd.DataFrame:
    """Each case beside each group of cases with the same pixels."""
    return cases.merge(_groups(cases, "image"), on="image")


def _near(cases: pd.DataFrame, images: Alike) -> pd.DataFrame:
    """Each case beside each group of cases whose pixels differ and whose hash is its own or a near one."""
    hashes = np.unique(cases["hash"])
    pairs = images.pairs[np.isin(images.pairs, hashes).all(axis=1)]
    links = np.concatenate([np.stack([hashes, hashes], axis=1), pairs, pairs[:, ::-1]])
    groups = _groups(cases, "hash").rename(columns={"hash": "other_hash"})
    joined = cases.merge(pd.DataFrame(links, columns=["hash", "other_hash"]), on="hash").merge(groups, on="other_hash")
    # of a group with its own hash some may have its very pixels
    same = _groups(cases, "image").drop(columns="other_position").rename(columns={"pairs": "same"})
    joined = joined.merge(same, on=["image", "other", "other_pattern"], how="left")
    joined["pairs"] -= joined["same"].fillna(0).astype(np.int64).where(joined["hash"] == joined["other_hash"], 0)
    return joined.assign(other_position=_with_other_pixels(joined, cases))


def _with_other_pixels(joined: pd.DataFrame, cases: pd.DataFrame) -> pd.Series:
    """The first case of each group, or where that has the very pixels the first one that has not."""
    image_of = cases.set_index("position")["image"]
    keys = ["hash", "part", "pattern"]
    first = cases.groupby(keys)["image"].transform("first")
    second = cases[cases["image"] != first].groupby(keys)["position"].first().rename("second")
    second = second.rename_axis(["other_hash", "other", "other_pattern"]).reset_index()
    seconds = joined.merge(second, on=["other_hash", "other", "other_pattern"], how="left")["second"]
    itself = image_of.loc[joined["other_position"]].to_numpy() == joined["image"].to_numpy()
    return joined["other_position"].where(~itself, seconds.fillna(-1).astype(np.int64).to_numpy())


def _counts(ordered: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """The number of pairs between two parts, and of their cases and patients on either side."""
    sides = ordered.assign(patient=frame["patient"].to_numpy()[ordered["position"].astype(np.int64)])
    sides = sides.groupby(["kind", "part", "other"], sort=True).agg(
        pairs=("pairs", "sum"), cases=("position", "nunique"), patients=("patient", "nunique")
    )
    sides = sides.reset_index()
    mirrored = sides.rename(columns={"part": "other", "other": "part", "cases": "other_cases"})
    counts = sides[sides["part"] <= sides["other"]].merge(
        mirrored[["kind", "part", "other", "other_cases"]], on=["kind", "part", "other"]
    )
    # within a part each pair is counted from either side
    return counts.assign(pairs=counts["pairs"].where(counts["part"] < counts["other"], counts["pairs"] // 2))


def _pairs(ordered: pd.DataFrame) -> pd.DataFrame:
    """One pair for each case and kind; a pair that would be told from either side is told once."""
    first = ordered.drop_duplicates(["kind", "position"])
    ends = np.sort(first[["position", "other_position"]].to_numpy(dtype=np.int64), axis=1)
    mirrored = pd.DataFrame(ends).assign(kind=first["kind"].to_numpy()).duplicated()
    return first[~mirrored.to_numpy()][["kind", "position", "other_position", "labels"]]
