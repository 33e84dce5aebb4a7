"""Snakemake's scheduler looks for jobs as often as its limit on jobs per time asks, however many jobs have ended."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from snakemake_logger_plugin_headwater import one_timer

SCRIPTS = Path(one_timer.__file__).parent.parent

JOBS = 20
"""That end one after the other before two slow ones."""

SNAKEFILE = f"""
import sys

sys.path.insert(0, {str(SCRIPTS)!r})

from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake_logger_plugin_headwater.one_timer import keep_one_timer

keep_one_timer()
SEEN, SELECT = [], JobScheduler.job_selector

def counted(scheduler, jobs):
    SEEN.append(jobs)
    return SELECT(scheduler, jobs)

JobScheduler.job_selector = counted

rule all:
    input: "last"

rule one:
    output: "{{number}}.txt"
    resources: turn=1
    shell: "touch {{output}}"

# while it runs another job waits for its turn, so that there is always something to select
rule slow:
    input: expand("{{number}}.txt", number=range({JOBS}))
    output: "slow{{number}}"
    resources: turn=1
    shell: "sleep 3; touch {{output}}"

rule last:
    input: "slow1", "slow2"
    output: "last"
    shell: "touch {{output}}"

onsuccess:
    Path("looks.txt").write_text(str(len(SEEN)))
"""


@pytest.fixture
def scheduler() -> SimpleNamespace:
    """What of a scheduler a timer meets."""
    return SimpleNamespace(_open_jobs=threading.Semaphore(0))


def test_many_looks_that_are_asked_for_are_one(scheduler):
    before = threading.active_count()
    for _ in range(50):
        one_timer._look_again(scheduler, 0.2)
    assert threading.active_count() == before + 1
    assert scheduler._open_jobs.acquire(timeout=30) and not scheduler._open_jobs.acquire(timeout=0.5)
    one_timer._look_again(scheduler, 0.01)
    assert scheduler._open_jobs.acquire(timeout=30), "the next look was never due"


def test_a_look_that_is_asked_for_earlier_does_not_wait_for_a_later_one(scheduler):
    one_timer._look_again(scheduler, 1000)
    one_timer._look_again(scheduler, 0.01)
    assert scheduler._open_jobs.acquire(timeout=30)


def test_snakemake_has_the_method_that_is_replaced(monkeypatch):
    monkeypatch.setattr(JobScheduler, one_timer.WAIT, getattr(JobScheduler, one_timer.WAIT))
    one_timer.keep_one_timer()
    assert getattr(JobScheduler, one_timer.WAIT) is one_timer._look_again


def test_looks_do_not_grow_with_the_jobs_that_have_ended(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    call = [Path(sys.executable).parent / "snakemake", "--cores", "2", "--resources", "turn=1", "--quiet", "all"]
    limit = ["--max-jobs-per-timespan", "1000/1s"]
    since = time.monotonic()
    done = subprocess.run([*call, *limit], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    looks = int((tmp_path / "looks.txt").read_text())
    # one in each second and two for each job; without, there are twenty in each second while the slow ones run
    assert looks <= (time.monotonic() - since) + 2 * (JOBS + 4)
    assert looks >= JOBS + 4, "some jobs were started without a look"
