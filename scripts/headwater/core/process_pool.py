"""Work on many cases, shared among processes: results come in the order of the cases, and a crash costs one of them."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")
Case = dict[str, Any]
Work = Callable[[list[Case]], list[Result]]

CHUNK = 16
"""Cases that a worker takes at a time."""


def in_order(
    work: Work[Result], cases: list[Case], *, lost: Callable[[Case], Result], workers: int, chunk: int = CHUNK
) -> Iterator[Result]:
    """The result of `work` for each case, in the order of the cases; `workers` processes take a chunk at a time.

    A process that dies, as a decoder in C can on a hostile file, costs only the case that killed it; its result is
    `lost(case)`. With `workers=0` the work is done in this process, without that protection.
    """
    chunks = deque(cases[start : start + chunk] for start in range(0, len(cases), chunk))
    if workers == 0:
        yield from chain.from_iterable(map(work, chunks))
        return
    while chunks:
        try:
            yield from _by_many(work, chunks, workers=workers)
        except BrokenProcessPool:
            # any chunk under way may have done it: go through the foremost case by case, then on as before
            yield from _one_by_one(work, deque(chunks.popleft()), lost=lost)


def _by_many(work: Work[Result], chunks: deque[list[Case]], *, workers: int) -> Iterator[Result]:
    """Results of the chunks; each chunk leaves the queue when it is done."""
    ahead = iter(list(chunks))
    with _pool(workers) as pool:
        # a few chunks in hand for each worker, so that results never pile up
        under_way = deque(pool.submit(work, chunk) for chunk in islice(ahead, 2 * workers))
        while chunks:
            results = under_way.popleft().result()
            # from here on the chunk is not done again, so what may still fail comes after its results
            chunks.popleft()
            yield from results
            if (following := next(ahead, None)) is not None:
                under_way.append(pool.submit(work, following))


def _one_by_one(work: Work[Result], cases: deque[Case], *, lost: Callable[[Case], Result]) -> Iterator[Result]:
    """Results of the cases; each case leaves the queue when it is done, and one that kills its process is lost."""
    while cases:
        with _pool(1) as pool:
            try:
                while cases:
                    (result,) = pool.submit(work, [cases[0]]).result()
                    cases.popleft()
                    yield result
            except BrokenProcessPool:
                yield lost(cases.popleft())


def _pool(workers: int) -> ProcessPoolExecutor:
    """Worker processes that share nothing with this one, because a fork would copy the locks of its threads."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
