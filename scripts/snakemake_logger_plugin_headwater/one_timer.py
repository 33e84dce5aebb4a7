"""One timer at a time for Snakemake's scheduler."""

import threading
from typing import Any

from snakemake.scheduling.job_scheduler import JobScheduler

WAIT = "_schedule_reevalutation"
"""The method of the scheduler that has it look for jobs once more after a while; spelt so in Snakemake."""


def keep_one_timer() -> None:
    """Let no more than one further look at the jobs be due at a time.

    After each look, Snakemake (9.27) starts a timer that ends in a look, and so in a timer: each job that ends adds one
    more to them, for good. After 5,000 jobs it looks 5,000 times in every span of `max-jobs-per-timespan`, and when all
    jobs have ended it waits for the timers. An earlier look does for a later one, because it starts a timer itself.
    """
    if hasattr(JobScheduler, WAIT):
        setattr(JobScheduler, WAIT, _look_again)


def _look_again(scheduler: Any, delay: float) -> None:
    """Have the scheduler look for jobs once more, after `delay` seconds at the latest."""
    due = getattr(scheduler, "look_due", None)
    if due is not None and due.is_alive() and due.interval <= delay:
        return

    def look() -> None:
        # before the look, which is to start the next timer
        scheduler.look_due = None
        scheduler._open_jobs.release()

    scheduler.look_due = threading.Timer(delay, look)
    # or the end of Snakemake would wait for it
    scheduler.look_due.daemon = True
    scheduler.look_due.start()
