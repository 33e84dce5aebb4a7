"""Leaders by a threshold, or as many as a share allows."""

from collections.abc import Callable, Iterable

import numpy as np

from headwater.data.reductions import Kept

Lead = Callable[[np.ndarray, float, np.ndarray | None], np.ndarray]
"""(rows, threshold, groups of the rows) -> leader of each row, as its place among the rows."""

Away = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(rows, rows) -> how far they are from each other, pair by pair."""


def thinned(
    count: int,
    *,
    groups: np.ndarray | None,
    threshold: float | Iterable[float],
    share: float | None,
    lead: Lead,
    away: Away,
) -> Kept:
    """Leaders at the threshold; with a share, of each group as many, by the least of the thresholds that allows it."""
    every = np.arange(count)
    if share is None:
        leader = lead(every, threshold, groups)
        return Kept(leader=leader, distance=away(leader, every))
    leader, steps = every.copy(), list(threshold)
    for rows in (
        [every] if groups is None else np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
    ):
        leader[rows] = rows[_within(rows, steps, max(1, round(share * len(rows))), lead=lead, away=away)]
    return Kept(leader=leader, distance=away(leader, every))


def _within(rows: np.ndarray, thresholds: list[float], budget: int, *, lead: Lead, away: Away) -> np.ndarray:
    """Leaders at the least threshold that leaves at most the budget, filled up by what is farthest from its leader."""
    for threshold in thresholds:
        leader = lead(rows, threshold, None)
        places = np.arange(len(rows))
        dropped = np.flatnonzero(leader != places)
        missing = budget - (len(rows) - len(dropped))
        if missing >= 0:
            break
    # of the equally far the first
    farthest = dropped[np.argsort(-away(rows[leader[dropped]], rows[dropped]), kind="stable")[:missing]]
    leader[farthest] = farthest
    return leader
