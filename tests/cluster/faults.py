"""What goes wrong on a cluster, one function for each: it does it to a grid and gives the SLURM jobs that it met.

Each chooses by chance among some jobs that run, touches the jobs of that grid only, and raises `Missed` where there is
nothing to hit.
"""

import errno
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import slurm
from grids import Grid, Job, Training

MEMORY = Path("/sys/fs/cgroup/memory")


class Missed(Exception):
    """There was nothing to hit, or it was over before it was hit."""


def time_limit(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """A job's time is over."""
    job = chance.choice(among)
    at_once = datetime.now() + timedelta(seconds=1)
    _to_job("scontrol", "update", f"JobId={job.number}", f"EndTime={at_once:%Y-%m-%dT%H:%M:%S}")
    return [job.number]


def cancelled(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """Somebody cancels a job."""
    job = chance.choice(among)
    _to_job("scancel", job.number)
    return [job.number]


def requeued(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """An administrator puts a job back into the queue."""
    job = chance.choice(among)
    _to_job("scontrol", "requeue", job.number)
    return [job.number]


def preempted(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """A job of a higher partition wants the node of one, and gets it."""
    job = chance.choice(among)
    node = chance.choice(job.nodes)
    _ours_alone(grid, node)
    met = [other.number for other in grid.running() if node in other.nodes]
    asked = ["-A", slurm.ACCOUNT, "-p", "gpu", "-w", node, "--exclusive", "--mem", "100", "-o", "/dev/null"]
    name = f"{grid.prefix}-takes-{node}"
    other = slurm.output("sbatch", "--parsable", "-J", name, *asked, "--wrap", "sleep 2").strip()
    try:
        slurm.until(lambda: _over(other), f"the turn of job {other}", seconds=120)
    finally:
        slurm.output("scancel", other)
    return met


def node_lost(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """A node dies, and returns after a while: before SLURM has missed it, or after."""
    job = chance.choice(among)
    node = chance.choice(job.nodes)
    _ours_alone(grid, node)
    met = [other.number for other in grid.running() if node in other.nodes]
    slurm.kill_node(node)
    try:
        time.sleep(chance.uniform(2, 50))
    finally:
        slurm.start_node(node)
    return met


def memory_gone(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """A training wants more memory than its job has: what it has is all that it gets from now on."""
    training = _training(grid, among=among, chance=chance)
    group = re.search(r":memory:(/slurm\S*)", slurm.read(training.process, "cgroup").decode())
    if not group:
        raise Missed("SLURM holds no job's memory here")
    folder = MEMORY / group[1].lstrip("/")
    deadline = time.monotonic() + 10
    while slurm.read(training.process, "cmdline"):
        if time.monotonic() > deadline:
            raise Missed("the training lived with the memory that it had")
        try:
            used = int((folder / "memory.usage_in_bytes").read_text())
            (folder / "memory.limit_in_bytes").write_text(str(used))
        except OSError:
            # more than that is in use by now, or all is over
            continue
    return [training.job]


def rank_killed(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """One process of a training is killed."""
    training = _training(grid, among=among, chance=chance)
    os.kill(training.process, signal.SIGKILL)
    return [training.job]


def step_killed(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """What leads the step of a training on its node is killed; the training itself is left behind."""
    training = _training(grid, among=among, chance=chance)
    steps = {}
    for number in slurm.numbers():
        title = slurm.read(number, "cmdline").decode(errors="replace").strip("\0 ")
        if found := re.fullmatch(rf"slurmstepd: \[{training.job}\.(\d+)\]", title):
            steps[int(found[1])] = number
    if not steps:
        raise Missed("the step has ended")
    os.kill(steps[max(steps)], signal.SIGKILL)
    return [training.job]


def controller_killed(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """Snakemake is killed while its jobs run, and started again."""
    met = [job.number for job in grid.running()]
    if grid.process.poll() is not None:
        raise Missed("Snakemake has ended")
    grid.kill()
    time.sleep(chance.uniform(0, 5))
    grid.unlock()
    grid.start()
    return met


def disk_full(grid: Grid, *, among: list[Job], chance: Random) -> list[str]:
    """The disk of the results is full for some seconds."""
    results = grid.folder / "results"
    if not results.is_mount():
        raise Missed("the results have no disk of their own here")
    _training(grid, among=among, chance=chance)
    filling = results / "filling"
    try:
        _fill(filling)
        met = {training.job for training in grid.trainings()}
        time.sleep(chance.uniform(3, 8))
        met |= {training.job for training in grid.trainings()}
    finally:
        filling.unlink(missing_ok=True)
    return sorted(met)


KINDS: dict[str, Callable[..., list[str]]] = {
    "TIMEOUT": time_limit,
    "scancel": cancelled,
    "requeue": requeued,
    "preemption": preempted,
    "node death": node_lost,
    "OOM": memory_gone,
    "rank killed": rank_killed,
    "step killed": step_killed,
    "controller killed": controller_killed,
    "full disk": disk_full,
}


def _fill(file: Path) -> None:
    """Write until nothing more fits on the disk."""
    with file.open("wb", buffering=0) as handle:
        try:
            while handle.write(bytes(1 << 16)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _training(grid: Grid, *, among: list[Job], chance: Random) -> Training:
    numbers = {job.number for job in among}
    found = sorted(training for training in grid.trainings() if training.job in numbers)
    if not found:
        raise Missed("nothing is trained")
    return chance.choice(found)


def _ours_alone(grid: Grid, node: str) -> None:
    names = slurm.output("squeue", "-h", "-w", node, "-o", "%j").split()
    if not all(name.startswith(grid.prefix) for name in names):
        raise Missed(f"others have jobs on {node}")


def _over(job: str) -> bool:
    """Whether a job has begun, or ended."""
    state = subprocess.run(["squeue", "-h", "-j", job, "-o", "%T"], capture_output=True, text=True).stdout.strip()
    return state not in ("PENDING", "CONFIGURING")


def _to_job(*command: str) -> None:
    """Tell SLURM something about a job, which may have ended in this very moment."""
    said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if said.returncode:
        raise Missed(said.stderr.strip())
