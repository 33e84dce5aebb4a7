"""Reading ahead: a thread makes the next of what is needed while the current one is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


ANNOUNCED = 256
"""Images that a disk is asked for before they are read, so that it always has many requests to answer."""


def depth_of(batch: int) -> int:
    """How many batches ahead of the one that is read are announced."""
    return -(-ANNOUNCED // batch)


def read_ahead(
    make: Callable[[Item], Made],
    items: Iterable[Item],
    *,
    announce: Callable[[Item], None] | None = None,
    depth: int = 1,
) -> Iterator[Made]:
    """`make(item)` for each item in order; a thread makes the next while the caller uses the current one.

    Before an item is made, that thread calls `announce` once for each of those that come up to `depth` later.
    """

    def announced(item: Item, coming: list[Item]) -> Made:
        for each in coming if announce else ():
            announce(each)
        return make(item)

    # a thread suffices, because numpy copies rows without holding Python's lock
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        pending = None
        for item, coming in _with_coming(items, depth):
            ready, pending = pending, reader.submit(announced, item, coming)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()


def _with_coming(items: Iterable[Item], depth: int) -> Iterator[tuple[Item, list[Item]]]:
    """Each item, and those that come in sight with it, of which at most `depth` lie ahead."""
    left, seen = iter(items), deque[Item]()
    while True:
        coming = list(islice(left, depth + 1 - len(seen)))
        seen.extend(coming)
        if not seen:
            return
        yield seen.popleft(), coming


def tensor(array: np.ndarray, *, device: torch.device) -> Tensor:
    """An array as a tensor on the CPU, in pinned memory if it goes to a GPU."""
    made = torch.from_numpy(np.ascontiguousarray(array))
    return made.pin_memory() if device.type == "cuda" else made
