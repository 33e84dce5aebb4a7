"""Leaking pairs: which cases of a test split and of the data learned from have something in common."""

from typing import Any

import numpy as np
import pandas as pd

from headwater.data import dropping
from headwater.data.shared_units import NEAR, Alike, Units, matching
from headwater.study.leaks import Overlaps, is_tested_side

COLUMNS = ("kind", "part", "case", "patient", "other", "other_case", "other_patient", "edit", "handling")
"""Of the file for people; `other` is the other part, `edit` says how a near-identical image differs, if it was mirrored
or the like, and `handling` what is done about the pair."""

DROP = "drop_from_training"

REFUSED, EXCUSED, DROPPED = "refused", "excused", "dropped from training"

_POSITIONS = ("kind", "part", "other", "position", "other_position", "learned", "test", "handling")
"""Of pairs by position: `learned` is the case on the side that is learned from, `test` the test split."""


def of(kinds: list[Units], frame: pd.DataFrame, *, leaks: list[dict[str, Any]], overlaps: Overlaps) -> pd.DataFrame:
    """The pairs of all leaks, given as rows of the ledger."""
    units, part_of = {one.kind: one for one in kinds}, frame["part"].to_numpy()
    found = [_of_leak(units[leak["kind"]], part_of, leak=leak, overlaps=overlaps) for leak in leaks]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=list(_POSITIONS))


def handling(leak: dict[str, Any], overlaps: Overlaps) -> str:
    """What the config says about a leak, a row of the ledger."""
    if not leak["must_be_apart"] or not leak["cases"]:
        return ""
    if leak["excuse"]:
        return EXCUSED
    return DROPPED if overlaps.leaks.resolve.get(leak["kind"]) == DROP else REFUSED


def named(pairs: pd.DataFrame, frame: pd.DataFrame, images: Alike, *, left: np.ndarray) -> pd.DataFrame:
    """The pairs with the names of their cases, as a file for people; `left` tells which cases are not taken out."""
    # a case that is taken out for one leak is in no other any more
    gone = ~left[pairs["learned"].astype(np.int64)]
    columns = {**pairs[["kind", "part", "other"]], "handling": pairs["handling"].mask(gone, DROPPED)}
    for side in ("", "other_"):
        cases = frame.iloc[pairs[f"{side}position"].astype(np.int64)]
        columns |= {f"{side}{name}": cases[name].to_numpy() for name in ("case", "patient")}
    places = pairs[["position", "other_position"]].to_numpy(np.int64)
    edits = pd.Series(images.edited(*places.T), index=pairs.index, dtype=object)
    columns["edit"] = edits.where(pairs["kind"] == NEAR, "")
    return pd.DataFrame(columns, columns=list(COLUMNS))


def dropped(pairs: pd.DataFrame, frame: pd.DataFrame, archive: str) -> pd.DataFrame:
    """The list of an archive's cases that are taken out, with the reasons."""
    taken = pairs[pairs["handling"] == DROPPED]
    cases = frame.iloc[taken["learned"].astype(np.int64)].reset_index(drop=True)
    reasons = cases[["case", "split"]].assign(kind=taken["kind"].to_numpy(), test=taken["test"].to_numpy())
    return dropping.listed(reasons[cases["archive"] == archive])


def _of_leak(units: Units, part_of: np.ndarray, *, leak: dict[str, Any], overlaps: Overlaps) -> pd.DataFrame:
    """Pairs of cases by position: each case of either part that has its like in the other is in at least one pair.

    One partner of each is enough to find it; all pairs would be 10,000 for a patient with 100 images on either side.
    """
    part, other = (overlaps.parts.index(leak[side]) for side in ("part", "other"))
    here, there = matching(units, part_of, part, among=other), matching(units, part_of, other, among=part)
    partners = units.partners(here, there)
    rest = np.setdiff1d(there, partners)
    ends = np.concatenate([here, units.partners(rest, here)]), np.concatenate([partners, rest])
    tested = is_tested_side(leak["part"], leak["other"])
    return pd.DataFrame(
        {
            **{name: leak[name] for name in ("kind", "part", "other")},
            "position": ends[0],
            "other_position": ends[1],
            "learned": ends[1 if tested else 0],
            "test": leak["part" if tested else "other"],
            "handling": handling(leak, overlaps),
        }
    )
