"""Shares work on many cases among processes: results come in the order of the cases, and a crash costs one of them."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from headwater.core.guarded_process import GuardedProcess

Result = TypeVar("Result")
Case = dict[str, Any]

CHUNK = 16
"""Cases that a process is given at a time."""


def in_order(
    work: Callable[[Case], Result],
    cases: list[Case],
    *,
    lost: Callable[[Case], Result],
    workers: int,
    chunk: int = CHUNK,
) -> Iterator[Result]:
    """The result of `work` for each case, in the order of the cases; `workers` processes take a chunk at a time.

    A file that ends its process while it is decoded is refused; a case that ends its process otherwise gives
    `lost(case)`. With `workers=0` the work is done in this process, without that protection.
    """
    if workers == 0:
        yield from map(work, cases)
        return
    processes = [GuardedProcess() for _ in range(workers)]
    idle: SimpleQueue[GuardedProcess] = SimpleQueue()
    for process in processes:
        idle.put(process)

    def results_of(first: int) -> list[Result]:
        process = idle.get()
        try:
            return process.run(work, cases[first : first + chunk], lost=lost)
        finally:
            idle.put(process)

    starts = iter(range(0, len(cases), chunk))
    with ExitStack() as ended:
        for process in processes:
            ended.callback(process.close)
        # each process has a thread that waits for it, so that it goes on while this one is busy with earlier results
        threads = ended.enter_context(ThreadPoolExecutor(workers))
        for process in processes:
            # before the threads are waited for: where results are no longer wanted, none finishes its chunk
            ended.callback(process.stop)
        ended.callback(threads.shutdown, wait=False, cancel_futures=True)
        # a few chunks in hand for each worker, so that results never pile up
        under_way = deque(threads.submit(results_of, first) for first in islice(starts, 2 * workers))
        while under_way:
            results = under_way.popleft().result()
            under_way.extend(threads.submit(results_of, first) for first in islice(starts, 1))
            yield from results
