"""Reading ahead: a thread makes the next of what is needed while the current one is used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


def read_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`make(item)` for each item in order; a thread makes the next while the caller uses the current one."""
    # a thread suffices, because numpy copies rows without holding Python's lock
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        pending = None
        for item in items:
            ready, pending = pending, reader.submit(make, item)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()


def tensor(array: np.ndarray, *, device: torch.device) -> Tensor:
    """An array as a tensor on the CPU, in pinned memory if it goes to a GPU."""
    made = torch.from_numpy(np.ascontiguousarray(array))
    return made.pin_memory() if device.type == "cuda" else made
