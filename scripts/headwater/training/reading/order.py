"""The order in which a training reads its cases: a function of seed and epoch, and of nothing else.

`shuffled` may read any case next, wherever it lies. `sharded` reads disks that are slow to seek in long stretches: the
cases of a few shards at a time, each a run of cases as they lie on the disk, are shuffled among each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np

Reading = Literal["shuffled", "sharded"]

SHARD = 64
"""Cases of a shard."""

WINDOW = 64
"""Shards whose cases are shuffled among each other."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """The order of an epoch: cases are numbered as they lie on the disk."""

    order: np.ndarray  # int64 (cases,)
    windows: tuple[tuple[range, ...], ...]  # of each window its shards, as ranges of cases

    def starts(self) -> np.ndarray:
        """The position of each window's first case, and one beyond the last."""
        return np.cumsum([0, *(sum(map(len, shards)) for shards in self.windows)])


# two, because a batch may span two epochs; a permutation of a large corpus is too slow to repeat at each step
@lru_cache(maxsize=2)
def epoch_of(seed: int, epoch: int, cases: int, reading: Reading) -> Epoch:
    """The order of an epoch's cases; all of them are one window where they are shuffled."""
    chance = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch))))
    if reading == "shuffled":
        return Epoch(order=chance.permutation(cases), windows=((range(cases),),))
    # shards begin elsewhere in each epoch, so that the same cases do not always come together
    edges = [0, *range(1 + int(chance.integers(SHARD)), cases, SHARD), cases]
    shards = [range(first, last) for first, last in pairwise(edges)]
    # windows of like size, as the cases of a small last one would hardly be shuffled
    drawn = np.array_split(chance.permutation(len(shards)), -(-len(shards) // WINDOW))
    windows = tuple(tuple(shards[number] for number in window) for window in drawn)
    order = np.concatenate([chance.permutation(np.concatenate(window)) for window in windows])
    return Epoch(order=order, windows=windows)


def stream(
    positions: np.ndarray, *, cases: int, seed: int, reading: Reading = "shuffled"
) -> tuple[np.ndarray, np.ndarray]:
    """(epoch, number of the case on the disk) at each position of the endless stream of epochs."""
    epochs, within = np.divmod(positions, cases)
    numbers = np.empty_like(within)
    for epoch in np.unique(epochs):
        in_epoch = epochs == epoch
        numbers[in_epoch] = epoch_of(seed, int(epoch), cases, reading).order[within[in_epoch]]
    return epochs, numbers


def on_disk(rows: np.ndarray, reading: Reading) -> np.ndarray:
    """Where in `rows` each case stands that an order numbers: shards are runs of cases as they lie on the disk."""
    return np.argsort(rows, kind="stable") if reading == "sharded" else np.arange(len(rows))


class ShardsAhead:
    """The shards to read next in a sharded stream that begins, or goes on, at a position."""

    def __init__(self, position: int, *, cases: int, seed: int):
        self._coming = shards_ahead(position, cases=cases, seed=seed)
        self._next = next(self._coming)

    def before(self, position: int) -> Iterator[range]:
        """Those whose time comes before a position, each once."""
        while self._next[0] < position:
            yield self._next[1]
            self._next = next(self._coming)


def shards_ahead(position: int, *, cases: int, seed: int) -> Iterator[tuple[int, range]]:
    """(position from which it is read, shard) in the order of a sharded stream from a position on, without an end.

    The shards of a window are read one after the other while the cases of the window before it are used, those of the
    first window at once.
    """
    epoch, within = divmod(position, cases)
    before = None
    while True:
        plan, start = epoch_of(seed, epoch, cases, "sharded"), epoch * cases
        for shards, (first, last) in zip(plan.windows, pairwise(plan.starts().tolist()), strict=True):
            if last <= within:
                continue
            for at, shard in enumerate(shards):
                yield position if before is None else before + (start + first - before) * at // len(shards), shard
            before = max(start + first, position)
        epoch, within = epoch + 1, 0
