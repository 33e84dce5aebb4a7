"""Replication: all runs, labels and metrics of a test set in all bootstrap replicates, in one pass.

Patients are drawn once per block of 64 replicates and all columns are measured on that draw, so that all comparisons
are paired. Each block has its own random stream, so that results do not depend on the order of blocks or on threads.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np

from headwater.evaluation.statistics import means, resampling
from headwater.evaluation.statistics import ranked as kernels
from headwater.evaluation.statistics.ranked import LANES, Ranked, ranked

Watch = Callable[[Iterable], Iterable]
"""Passes an iterable on and shows its progress."""


@dataclass(frozen=True)
class Column:
    """One metric of one run and label, prepared to be measured in any replicate."""

    measure: Callable[[np.ndarray, int], np.ndarray]
    """From counts uint8 (patients, 64), and the number of rows whose sum fits a byte, to values float (64,)."""


def column(
    metric: ModuleType,
    evidence: dict[str, np.ndarray],
    patient: np.ndarray,
    *,
    patients: int,
    ranks: Ranked | None = None,
) -> Column:
    """The fastest form of a metric: its kernel over a ranking, its mean of a number per case, or `measure`.

    `evidence`: the metric's inputs, each (cases,); `patient` int (cases,): rows of the counts; `ranks`: the ranking, if
    another metric has computed it.
    """
    if hasattr(metric, "KERNEL"):
        chosen = ranks or ranked(evidence["target"], evidence["score"], patient)
        name, *first = metric.KERNEL
        kernel = partial(getattr(kernels, name), *first)
        return Column(lambda counts, room: _filled(kernel, counts, room, chosen.patient, chosen.steps))
    if hasattr(metric, "per_case"):
        sums = means.summed(metric.per_case(**evidence), patient, patients=patients)
        return Column(lambda counts, room: _filled(means.mean, counts, sums.total, sums.cases))
    return Column(lambda counts, room: metric.measure(**evidence, weights=counts[patient].T))


def _filled(kernel: Callable, *arguments) -> np.ndarray:
    """The 64 values that a kernel writes."""
    out = np.empty(LANES)
    kernel(*arguments, out)
    return out


def replicates(
    columns: Sequence[Column], *, patients: int, resamples: int, seed: int, threads: int = 1, watch: Watch = iter
) -> np.ndarray:
    """Each column in each replicate: float (columns, resamples); NaN where a metric is undefined."""
    values = np.empty((len(columns), resamples))

    def block(first: int) -> None:
        counts = resampling.lanes(patients, seed=seed, block=first // LANES)
        # so many rows can be added as bytes without an overflow
        room = 255 // max(1, int(counts.max(initial=1)))
        last = min(first + LANES, resamples)
        for position, part in enumerate(columns):
            values[position, first:last] = part.measure(counts, room)[: last - first]

    starts = range(0, resamples, LANES)
    if threads == 1:
        for first in watch(starts):
            block(first)
        return values
    with ThreadPoolExecutor(threads) as pool:
        for _ in watch(pool.map(block, starts)):
            pass
    return values
