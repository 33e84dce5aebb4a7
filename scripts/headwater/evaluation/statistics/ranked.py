"""Ranked: cases in descending order of score, and metrics of a ranking in 64 bootstrap replicates at once.

Counts are bytes (patients, 64): one cache line per patient holds how often the patient is drawn in 64 replicates.
Walking down the ranking adds one line per case, so that a replicate costs one addition per case and no sort.
All sums are integers, so that results do not depend on the order of cases and equal scores, on threads or blocks.
"""

from dataclasses import dataclass

import numba
import numpy as np

LANES = 64
"""Replicates side by side: a cache line of bytes."""

ROUNDING = 1e-6
"""Tolerance for shares of counts: 0.9 of 30 negatives are 27, although the product in binary may differ slightly."""


@dataclass(frozen=True)
class Ranked:
    """The cases of one label and one run in descending order of score, prepared for a kernel."""

    patient: np.ndarray
    """int32 (cases,): the patient of each case, a row of the counts."""
    steps: np.ndarray
    """int32 (steps, 4): for each score of a positive case the first row of the negatives above it, of the negatives at
    it, of the positives at it, and the row after these. The last step has the negatives below all positives."""


def ranked(target: np.ndarray, score: np.ndarray, patient: np.ndarray) -> Ranked:
    """Cases (cases,) ranked by descending score; at equal scores those without the finding first."""
    positive = target == 1
    order = np.argsort(-score)
    descending = score[order]
    group = (
        np.concatenate([[0], np.cumsum(descending[1:] != descending[:-1])])
        if len(descending)
        else np.zeros(0, np.int64)
    )
    # a second sort is needed only if there are ties
    if len(descending) and group[-1] + 1 < len(descending):
        order = order[np.argsort(2 * group + positive[order])]
    return Ranked(patient=patient[order].astype(np.int32), steps=_steps(positive[order], group))


def _steps(positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The steps of a ranking, from which rows are positive and which rows have equal scores (one `group`)."""
    cases = len(positive)
    at = np.flatnonzero(positive)
    opens = np.ones(len(at), bool)
    opens[1:] = group[at[1:]] != group[at[:-1]]
    first_positive = at[opens]
    after = np.append(at[:-1][opens[1:]], at[-1:]) + 1
    above = np.concatenate([[0], after])
    tied = np.searchsorted(group, group[first_positive], side="left")
    # the last step has no positives: its negatives reach to the last case
    columns = [above, np.append(tied, cases), np.append(first_positive, cases), np.append(after, cases)]
    return np.stack(columns, axis=1).astype(np.int32)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _add(total, narrow, counts, patient, first, after, room):
    """Add the counts of rows `first` to `after` to 64 integers, via bytes, which cannot overflow within `room` rows."""
    while first < after:
        end = min(after, first + room)
        narrow[:] = 0
        in_fours = end - (end - first) % 4
        # four rows per write of the sums: memory traffic, not additions, takes the time
        for row in range(first, in_fours, 4):
            one, two, three, four = patient[row], patient[row + 1], patient[row + 2], patient[row + 3]
            for lane in range(LANES):
                narrow[lane] += counts[one, lane] + counts[two, lane] + counts[three, lane] + counts[four, lane]
        for row in range(in_fours, end):
            at = patient[row]
            for lane in range(LANES):
                narrow[lane] += counts[at, lane]
        for lane in range(LANES):
            total[lane] += narrow[lane]
        first = end


@numba.njit(nogil=True, cache=True, boundscheck=False)
def auroc(counts, room, patient, steps, out):
    """Area under the ROC curve of 64 replicates: share of pairs won, ties counting half; NaN without both classes.

    `counts` uint8 (patients, 64), `room` the number of rows whose counts fit a byte, `out` float (64,).
    """
    negatives, positives = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    here, above = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    twice_lost, narrow = np.zeros(LANES, np.uint64), np.empty(LANES, np.uint8)
    for step in range(steps.shape[0]):
        _add(negatives, narrow, counts, patient, steps[step, 0], steps[step, 1], room)
        # a positive loses to the negatives above it (`over`), and half to those at its score, which `negatives`
        # includes: twice its losses are over + negatives
        over = negatives
        if steps[step, 1] < steps[step, 2]:
            above[:] = negatives
            over = above
            _add(negatives, narrow, counts, patient, steps[step, 1], steps[step, 2], room)
        first, after = steps[step, 2], steps[step, 3]
        # without ties among positives, the usual case, no intermediate sum is needed
        if after - first == 1:
            at = patient[first]
            for lane in range(LANES):
                drawn = np.uint32(counts[at, lane])
                positives[lane] += drawn
                twice_lost[lane] += np.uint64(drawn) * np.uint64(np.uint32(over[lane] + negatives[lane]))
        elif first < after:
            here[:] = 0
            _add(here, narrow, counts, patient, first, after, room)
            for lane in range(LANES):
                positives[lane] += here[lane]
                twice_lost[lane] += np.uint64(here[lane]) * np.uint64(np.uint32(over[lane] + negatives[lane]))
    for lane in range(LANES):
        pairs = np.uint64(2) * np.uint64(positives[lane]) * np.uint64(negatives[lane])
        out[lane] = np.float64(pairs - twice_lost[lane]) / np.float64(pairs) if pairs > 0 else np.nan


@numba.njit(nogil=True, cache=True, boundscheck=False)
def average_precision(counts, room, patient, steps, out):
    """Average precision of 64 replicates: the mean precision at the positive cases; NaN without both classes."""
    negatives, positives, here = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    total, narrow = np.zeros(LANES), np.empty(LANES, np.uint8)
    for step in range(steps.shape[0]):
        _add(negatives, narrow, counts, patient, steps[step, 0], steps[step, 2], room)
        if steps[step, 2] < steps[step, 3]:
            here[:] = 0
            _add(here, narrow, counts, patient, steps[step, 2], steps[step, 3], room)
            for lane in range(LANES):
                positives[lane] += here[lane]
                # 1 guards against 0 / 0 where nothing of this or a higher score is drawn
                reached = max(np.uint32(1), positives[lane] + negatives[lane])
                total[lane] += np.float64(here[lane]) * (np.float64(positives[lane]) / np.float64(reached))
    for lane in range(LANES):
        defined = positives[lane] > 0 and negatives[lane] > 0
        out[lane] = total[lane] / np.float64(positives[lane]) if defined else np.nan


@numba.njit(nogil=True, cache=True, boundscheck=False)
def sensitivity(specificity, counts, room, patient, steps, out):
    """Sensitivity at a specificity of at least `specificity` in 64 replicates; NaN without both classes.

    The threshold is set in each replicate, at a score of a case.
    """
    negatives, all_negatives = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    positives, found, here = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    narrow = np.empty(LANES, np.uint8)
    for step in range(steps.shape[0]):
        _add(all_negatives, narrow, counts, patient, steps[step, 0], steps[step, 2], room)
    for step in range(steps.shape[0]):
        _add(negatives, narrow, counts, patient, steps[step, 0], steps[step, 2], room)
        if steps[step, 2] < steps[step, 3]:
            here[:] = 0
            _add(here, narrow, counts, patient, steps[step, 2], steps[step, 3], room)
            for lane in range(LANES):
                positives[lane] += here[lane]
                passed_over = np.float64(all_negatives[lane]) - np.float64(negatives[lane])
                if passed_over >= specificity * np.float64(all_negatives[lane]) - ROUNDING:
                    found[lane] += here[lane]
    for lane in range(LANES):
        defined = positives[lane] > 0 and all_negatives[lane] > 0
        out[lane] = np.float64(found[lane]) / np.float64(positives[lane]) if defined else np.nan
