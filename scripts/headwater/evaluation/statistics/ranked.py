"""Ranked: cases in falling order of score, and what a ranking is worth in 64 bootstrap replicates at once.

Counts are whole bytes (patients, 64): one cache line per patient holds how often the patient counts in 64 replicates.
Walking down the ranking adds one line per case, so that a replicate costs one addition per case and no sort.
All sums are whole numbers: the order of cases and of equal scores, threads and blocks leave no trace in a result.
"""

from dataclasses import dataclass

import numba
import numpy as np

LANES = 64
"""Replicates side by side: a cache line of bytes."""

ROUNDING = 1e-6
"""0.9 of 30 negatives are 27, whatever the binary fraction says."""


@dataclass(frozen=True)
class Ranked:
    """The cases of one label and one run from the highest score to the lowest, ready for a kernel."""

    patient: np.ndarray
    """int32 (cases,): whose case it is, a row of the counts."""
    steps: np.ndarray
    """int32 (steps, 4): per height that a positive case has: the first row of the negatives above it, of the negatives
    at it, of the positives at it, and the row behind them. The last step holds the negatives below all positives."""


def ranked(target: np.ndarray, score: np.ndarray, patient: np.ndarray) -> Ranked:
    """Cases (cases,) ranked by falling score; at equal scores those without the finding first."""
    positive = target == 1
    order = np.argsort(-score)
    fall = score[order]
    group = np.concatenate([[0], np.cumsum(fall[1:] != fall[:-1])]) if len(fall) else np.zeros(0, np.int64)
    if len(fall) and group[-1] + 1 < len(fall):
        order = order[np.argsort(2 * group + positive[order])]
    return Ranked(patient=patient[order].astype(np.int32), steps=_steps(positive[order], group))


def _steps(positive: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Where the rows of each step begin, from which rows are positive and which share a height."""
    cases = len(positive)
    at = np.flatnonzero(positive)
    opens = np.ones(len(at), bool)
    opens[1:] = group[at[1:]] != group[at[:-1]]
    first_positive = at[opens]
    behind = np.append(at[:-1][opens[1:]], at[-1:]) + 1
    above = np.concatenate([[0], behind])
    tied = np.searchsorted(group, group[first_positive], side="left")
    # a height's own negatives can begin no earlier than the rows behind the step above it
    columns = [above, np.append(tied, cases), np.append(first_positive, cases), np.append(behind, cases)]
    return np.stack(columns, axis=1).astype(np.int32)


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _add(total, narrow, counts, patient, first, behind, room):
    """Add the counts of some rows to 64 whole numbers, by way of bytes as long as `room` rows cannot overflow them."""
    while first < behind:
        end = min(behind, first + room)
        narrow[:] = 0
        in_fours = end - (end - first) % 4
        # the sums go back to memory once for four rows: that, not the additions, is what takes time
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
    """Area under the ROC curve of 64 replicates: pairs won, ties half, over pairs; NaN without both classes.

    `counts` uint8 (patients, 64), `room` how many rows' counts fit a byte, `out` float (64,).
    """
    negatives, positives = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    here, above = np.zeros(LANES, np.uint32), np.zeros(LANES, np.uint32)
    twice_lost, narrow = np.zeros(LANES, np.uint64), np.empty(LANES, np.uint8)
    for step in range(steps.shape[0]):
        _add(negatives, narrow, counts, patient, steps[step, 0], steps[step, 1], room)
        over = negatives
        if steps[step, 1] < steps[step, 2]:
            above[:] = negatives
            over = above
            _add(negatives, narrow, counts, patient, steps[step, 1], steps[step, 2], room)
        first, behind = steps[step, 2], steps[step, 3]
        if behind - first == 1:
            at = patient[first]
            for lane in range(LANES):
                drawn = np.uint32(counts[at, lane])
                positives[lane] += drawn
                twice_lost[lane] += np.uint64(drawn) * np.uint64(np.uint32(over[lane] + negatives[lane]))
        elif first < behind:
            here[:] = 0
            _add(here, narrow, counts, patient, first, behind, room)
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
                reached = max(np.uint32(1), positives[lane] + negatives[lane])
                total[lane] += np.float64(here[lane]) * (np.float64(positives[lane]) / np.float64(reached))
    for lane in range(LANES):
        defined = positives[lane] > 0 and negatives[lane] > 0
        out[lane] = total[lane] / np.float64(positives[lane]) if defined else np.nan


@numba.njit(nogil=True, cache=True, boundscheck=False)
def sensitivity(specificity, counts, room, patient, steps, out):
    """Share of the positive cases found in 64 replicates while at least `specificity` of the negatives are passed over.

    The threshold is set anew in each replicate, at a height that a case has; NaN without both classes.
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
