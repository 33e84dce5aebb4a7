"""A scheduler of one file, for tests: a folder is the queue, a job is a file in it, and its process is on this machine.

The environment variable FOLDER_QUEUE names the folder. As a script it runs what `submit_controller` and `step` start.
"""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.cluster.schedulers import COMPLETED, PENDING, RUNNING, Absent, Attempt, Queued, Silent, Work
from headwater.core import processes

TITLE = "Folder"
PROFILE = "profiles/default"
COMMANDS = frozenset({"folder-submit"})
SUBMITTED = r"Job \S+ is job (\d+) of the folder"
EXECUTOR_LOGS = "folder_logs"
NODE_RANK = "FOLDER_NODE"
IN_QUEUE = (PENDING, RUNNING)

KILL_WAIT = 2
"""Seconds between the two signals that end a job."""

MINUTE = 5
"""Seconds that it takes for a minute, so that tests see the end of a job's time."""


def own_number() -> str | None:
    return os.environ.get("FOLDER_JOB")


def check() -> None:
    _queue()


def queued() -> list[Queued]:
    return [
        Queued(
            number=job["number"],
            state=job["state"],
            reason=job["reason"],
            never_starts=job["reason"] == "held",
            name=job["name"],
            folder=Path(job["folder"]),
        )
        for job in _jobs()
        if job["state"] in IN_QUEUE
    ]


def attempts(folder: Path) -> list[Attempt]:
    return [_attempt(job) for job in _jobs(folder) if job["state"] in IN_QUEUE]


def accounting(folder: Path, *, since: float) -> list[Attempt] | None:
    with contextlib.suppress(Silent, Absent):
        return [_attempt(job) for job in _jobs(folder) if job["began"] >= since]
    return None


def alive(number: str) -> bool:
    return _job(number)["state"] in IN_QUEUE


def restarts(number: str) -> int:
    return _job(number)["restarts"]


def description(number: str) -> str:
    job = _job(number)
    return f"{job['state']} {job['reason'] or 'localhost'}"


def preempted(folder: Path) -> set[str]:
    return {job["number"] for job in _jobs(folder) if job["state"] == "PREEMPTED"}


def cancel(number: str) -> None:
    job = _job(number)
    if job["state"] == RUNNING:
        process = job["mark"].partition("@")[0]
        # SIGKILL to whom SIGTERM has not ended, as a controller waits for it
        ending = f"kill {process}; sleep {KILL_WAIT}; kill -9 {process}"
        subprocess.Popen(["sh", "-c", ending], stderr=subprocess.DEVNULL, start_new_session=True)
    elif job["state"] == PENDING:
        _write(job | {"state": "CANCELLED"})


def requeue(number: str) -> None:
    job = _job(number)
    _write(_started(job | {"restarts": job["restarts"] + 1}))


def nodes(number: str) -> list[str]:
    return ["localhost"] * 2


def can_start_steps() -> bool:
    return True


def step(command: list[str], *, nodes: int, cpus: int) -> list[str]:
    return command if nodes == 1 else [sys.executable, __file__, "step", str(nodes), *command]


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return dict(environment)


def outside_environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in ("FOLDER_JOB", NODE_RANK)}


def submit_controller(
    work: Work,
    *,
    name: str,
    logs: Path,
    minutes: int,
    memory: float,
    notice: int,
    partition: str,
    account: str,
    resources: Mapping[str, Any],
    library: Path,
) -> str:
    number = next_number()
    place = (logs / number).resolve()
    place.mkdir(parents=True)
    (place / "work.pickle").write_bytes(pickle.dumps(work))
    seconds = (minutes - notice / 60) * MINUTE
    command = [sys.executable, __file__, "controller", str(place / "work.pickle"), str(seconds)]
    return submit(command, number=number, name=name, log=place / f"{number}_0_log.out")


# what a user calls to submit a job


def next_number() -> str:
    """A number that no job has yet."""
    return str(1 + max((int(file.stem) for file in _queue().glob("*.json")), default=0))


def submit(command: list[str], *, log: Path, number: str = "", name: str = "mine", **fields: Any) -> str:
    """The number of a new job, which starts at once unless a field `state` says otherwise."""
    number = number or next_number()
    job = {"number": number, "name": name, "folder": str(Path.cwd()), "command": command, "log": str(log)}
    job |= {"state": RUNNING, "reason": "", "comment": "", "gpus": 0, "restarts": 0, "began": time.time()} | fields
    _write(_started(job) if job["state"] == RUNNING else job)
    return number


def _started(job: dict) -> dict:
    """A job with a process of its own."""
    with Path(job["log"]).open("a") as log:
        process = subprocess.Popen(
            job["command"],
            cwd=job["folder"],
            env={**os.environ, "FOLDER_JOB": job["number"]},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    living = processes.process(process.pid)
    return job | {"state": RUNNING, "reason": "", "mark": living.mark if living else ""}


def _queue() -> Path:
    if "FOLDER_QUEUE" not in os.environ:
        raise Absent("FOLDER_QUEUE is not set")
    queue = Path(os.environ["FOLDER_QUEUE"])
    if not queue.is_dir():
        raise Silent(f"{queue} is away")
    return queue


def _jobs(folder: Path | None = None) -> list[dict]:
    jobs = [_job(file.stem) for file in sorted(_queue().glob("*.json"))]
    return [job for job in jobs if folder is None or Path(job["folder"]).resolve() == folder.resolve()]


def _job(number: str) -> dict:
    file = _queue() / f"{number}.json"
    job = json.loads(file.read_text()) if file.exists() else {"state": "unknown", "reason": "", "restarts": 0}
    ended = job["state"] == RUNNING and not (job["mark"] and processes.lives(job["mark"]))
    return job | {"state": COMPLETED} if ended else job


def _write(job: dict) -> None:
    temporary = _queue() / f".{job['number']}.{os.getpid()}"
    temporary.write_text(json.dumps(job))
    temporary.replace(_queue() / f"{job['number']}.json")


def _attempt(job: dict) -> Attempt:
    runs = job["state"] == RUNNING
    return Attempt(
        number=job["number"],
        state=job["state"],
        runs=runs,
        comment=job["comment"],
        seconds=time.time() - job["began"],
        where="localhost" if runs else f"({job['reason']})",
        gpus=job["gpus"],
    )


def _control(file: Path, seconds: float) -> None:
    """Do the work of a controller job; exec starts it again, under the same number, when its time is over."""
    work = pickle.loads(file.read_bytes())

    def again(*_: object) -> None:
        file.write_bytes(pickle.dumps(work.before_requeue()))
        job = _job(own_number())
        _write(job | {"restarts": job["restarts"] + 1})
        os.execv(sys.executable, [sys.executable, *sys.argv])

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    work()


def _step(count: int, command: list[str]) -> int:
    """The exit code of one task on each of so many nodes."""
    tasks = [subprocess.Popen(command, env={**os.environ, NODE_RANK: str(node)}) for node in range(count)]
    return max(task.wait() for task in tasks)


if __name__ == "__main__":
    if sys.argv[1] == "step":
        sys.exit(_step(int(sys.argv[2]), sys.argv[3:]))
    _control(Path(sys.argv[2]), float(sys.argv[3]))
