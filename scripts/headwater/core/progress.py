"""Progress of long work: a bar on a terminal, or lines with the time left in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 30.0


def bar(items: Iterable[Item], *, total: int, what: str, done: int = 0, say: Callable[[], str] = str) -> Iterator[Item]:
    """Yields the items while reporting how many of `total` are done; `done` of them were done before.

    What `say` returns, such as the latest loss, stands at the end of each report.
    """
    if sys.stderr.isatty():
        shown = tqdm(items, total=total, desc=what, initial=done)
        for item in shown:
            yield item
            shown.set_postfix_str(say(), refresh=False)
        return
    start = last_printed = time.monotonic()
    first_done = start
    for count, item in enumerate(items, start=done + 1):
        yield item
        now = time.monotonic()
        if now - last_printed >= SECONDS_BETWEEN_LINES and count < total:
            left = _left(now - first_done, count - done - 1, total - count)
            print(_line(f"{what}: {count} of {total}, {left}", say()), file=sys.stderr, flush=True)
            last_printed = now
        if count == done + 1:
            first_done = now
    took = f"{what}: {total} of {total} in {clock(time.monotonic() - start)}"
    print(_line(took, say()), file=sys.stderr, flush=True)


def _line(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _left(seconds: float, passed: int, ahead: int) -> str:
    """The time left by the items behind the first one, which also loads, compiles and fills caches."""
    return f"{clock(seconds / passed * ahead)} left" if passed else "time left not known yet"


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
