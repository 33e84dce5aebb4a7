"""Waiting: for a scheduler that does not answer, and for the end of cancelled jobs.

Standard library only: the launcher of every training imports it.
"""

import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from headwater.cluster.schedulers import Scheduler, Silent
from headwater.core.errors import UserError

LONGEST = 900.0
"""Seconds for which a silent scheduler is asked again, and in which cancelled jobs must have ended: a job may take as
long to end as the cluster allows it for saving, and a busy node some more."""

BETWEEN_LOOKS = 2.0
"""Seconds between two looks at the queue."""

BETWEEN_TRIES = 10.0
"""Seconds between two questions to a scheduler that does not answer."""

Answer = TypeVar("Answer")


def answered(ask: Callable[..., Answer], *arguments: str) -> Answer:
    """What a question to a scheduler gives; raises `Silent` only when it was asked again for LONGEST seconds."""
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            return ask(*arguments)
        except Silent as silent:
            if time.monotonic() > deadline:
                raise
            print(f"headwater: {silent}", file=sys.stderr, flush=True)
            time.sleep(BETWEEN_TRIES)


def end(numbers: Iterable[str], *, scheduler: Scheduler, patience: float = LONGEST) -> None:
    """Cancel jobs, and return when they have ended."""
    left = list(numbers)
    for number in left:
        answered(scheduler.cancel, number)
    deadline = time.monotonic() + patience
    # a cancelled job that still saves its progress would write at the same time as the job that replaces it
    while left := [number for number in left if answered(scheduler.alive, number)]:
        if time.monotonic() > deadline:
            raise UserError(
                f"jobs {', '.join(left)} were cancelled and have not ended in {patience:.0f} s",
                remedy=f"look at them in the queue of {scheduler.TITLE}; an administrator can set a hanging node down",
            )
        time.sleep(BETWEEN_LOOKS)
