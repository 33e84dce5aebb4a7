"""A small grid run through SLURM in a folder of its own, and what SLURM, the leases and the trainings tell of it."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import slurm
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from workflow_made import ROOT, command, environment, small_config

PROFILE = ROOT / "profiles" / "slurm"
TABLE = Path("results/report/significance.csv")
TRAINING = re.compile(r"/(?:pretrain|finetune)\.py$")


def config(*, steps: int = 150, pretraining: int = 40, **compute: object) -> dict:
    """The small grid with trainings long enough to be met halfway; it trains on CPUs, whatever SLURM calls a GPU."""
    small = small_config()
    small["recipes"]["finetune"]["training"]["steps"] = steps
    small["sources"]["photographs"]["training"]["steps"] = pretraining
    small["compute"] = {"device": "cpu", **compute}
    return small


def witnessed(
    folder: Path, *, pause: float = 0.0, given: dict[str, str] | None = None, checkout: Path = ROOT
) -> dict[str, str]:
    """The environment in which the trainings of a folder note their steps, and wait so many seconds after each."""
    given = environment() if given is None else given
    paths = [str(checkout / "tests" / "cluster" / "witness"), *filter(None, [given.get("PYTHONPATH")])]
    told = {"PYTHONPATH": os.pathsep.join(paths), "WITNESS": str(folder / "witness.csv"), "PAUSE": str(pause)}
    return given | told


def rule_of(comment: str) -> str:
    """The rule or group that the plugin writes into a job's comment."""
    return comment.removeprefix("rule_").partition("_")[0]


class Job(NamedTuple):
    """A job that SLURM runs now."""

    number: str
    nodes: list[str]
    started: float
    comment: str


class Attempt(NamedTuple):
    """One time that SLURM ran a job, or a step of it."""

    job: str
    state: str
    started: float
    ended: float
    user: str
    comment: str
    gained: dict[str, str]


class Training(NamedTuple):
    """A process that trains a run."""

    process: int
    run: str
    job: str


class Stretch(NamedTuple):
    """What one process trained of a run, without a break."""

    run: str
    job: str
    process: int
    began: float
    ended: float
    first: int
    last: int


@dataclass(kw_only=True)
class Grid:
    """A grid in `folder`; its jobs' names begin with `prefix`."""

    folder: Path
    prefix: str
    config: dict = field(default_factory=config)
    partition: str = "gpu"
    gpus: int = 1
    retries: int = 3
    since: float = field(default_factory=time.time)
    process: subprocess.Popen | None = None

    def start(self, *arguments: str) -> None:
        """Start Snakemake, as a group of processes that a fault can end."""
        told = (self.folder / "snakemake.log").open("a")
        self.process = subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=witnessed(self.folder),
            stdout=told,
            stderr=told,
            start_new_session=True,
        )

    def profile(self) -> dict:
        """A profile that differs from profiles/slurm in what one site sets."""
        profile = yaml.safe_load((PROFILE / "config.v9+.yaml").read_text())
        profile |= {"jobs": 4, "retries": self.retries, "latency-wait": 10, "slurm-jobname-prefix": self.prefix}
        profile["slurm-init-seconds-before-status-checks"] = 2
        small = {"slurm_account": slurm.ACCOUNT, "slurm_partition": self.partition, "nodes": 1}
        profile["default-resources"] = small | {"mem_mb": 4000, "runtime": 10}
        # an empty section is an error
        del profile["set-resources"]
        if self.gpus:
            profile["set-resources"] = {rule: {"gpu": self.gpus} for rule in ("pretrain", "finetune")}
        return profile

    def command(self, *arguments: str) -> list[str]:
        """The command line, with that profile."""
        place = self.folder / "profile"
        place.mkdir(exist_ok=True)
        (place / "config.v9+.yaml").write_text(yaml.safe_dump(self.profile()))
        return command(self.folder, "--profile", str(place), *arguments, config=self.config)

    def kill(self) -> None:
        """End Snakemake and what it has started on this machine as a lost login does not: at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def unlock(self) -> None:
        """Take away the lock that a killed Snakemake has left."""
        subprocess.run(
            self.command("--unlock"), cwd=self.folder, env=environment(), check=True, capture_output=True, timeout=120
        )

    def running(self) -> list[Job]:
        """The grid's jobs that run now."""
        said = slurm.output("squeue", "-h", "-t", "RUNNING", "-o", "%A|%N|%S|%j|%k")
        rows = [line.split("|", 4) for line in said.splitlines()]
        return [
            Job(number, slurm.output("scontrol", "show", "hostnames", nodes).split(), _seconds(started), comment)
            for number, nodes, started, name, comment in rows
            if name.startswith(f"{self.prefix}_")
        ]

    def queued(self) -> list[str]:
        """The numbers of the grid's jobs that have not ended."""
        rows = [line.split("|") for line in slurm.output("squeue", "-h", "-o", "%A|%j").splitlines()]
        return [number for number, name in rows if name.startswith(f"{self.prefix}_")]

    def preempted(self) -> set[str]:
        """The numbers of the jobs that were preempted, and are not in the queue again."""
        rows = [line.split("|") for line in slurm.output("squeue", "-h", "-t", "PREEMPTED", "-o", "%A|%j").splitlines()]
        return {number for number, name in rows if name.startswith(f"{self.prefix}_")}

    def trainings(self) -> list[Training]:
        """The processes that train a run of this grid now, on whichever of the nodes."""
        return list(_trainings(self.folder.resolve()))

    def attempts(self) -> list[Attempt]:
        """Each time that SLURM ran a job of the grid, as its accounts tell; those put back into the queue as well."""
        fields = "JobIDRaw,JobName,State,Start,End,User,AllocTRES,Comment"
        said = slurm.output("sacct", "-a", "-D", "-X", "-P", "-n", "-S", "now-1day", "-o", fields)
        rows = [line.split("|", 7) for line in said.splitlines()]
        return [
            Attempt(job, state, _seconds(start), _seconds(end), user, comment, _gained(tres))
            for job, name, state, start, end, user, tres, comment in rows
            if name.startswith(f"{self.prefix}_")
            and start not in ("Unknown", "None")
            and _seconds(start) >= self.since - 1
        ]

    def leases(self) -> list[dict]:
        """The record of who was let train which run."""
        file = self.folder / "results" / "progress" / "leases.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def stretches(self) -> dict[str, list[Stretch]]:
        """What the trainings themselves have noted: by run, and in the order of time."""
        noted = defaultdict(list)
        file = self.folder / "witness.csv"
        for when, run, job, process, step in csv.reader(file.open()) if file.exists() else ():
            noted[run, job, int(process)].append((float(when), int(step)))
        found = defaultdict(list)
        for (run, job, process), steps in noted.items():
            (began, first), (ended, last) = steps[0], steps[-1]
            found[run].append(Stretch(run, job, process, began, ended, first, last))
        return {run: sorted(stretches, key=lambda stretch: stretch.began) for run, stretches in found.items()}


def _trainings(folder: Path) -> Iterator[Training]:
    for number in slurm.numbers():
        words = slurm.read(number, "cmdline").decode(errors="replace").split("\0")
        # python [-u] SCRIPT ...; those that start it, srun and torchrun, name it further back
        if not any(TRAINING.search(f"/{word}") for word in words[1:3]) or "--progress" not in words:
            continue
        try:
            here = Path("/proc", str(number), "cwd").readlink()
        except (FileNotFoundError, ProcessLookupError):
            continue
        given = dict(pair.partition(b"=")[::2] for pair in slurm.read(number, "environ").split(b"\0"))
        if here == folder and b"SLURM_JOB_ID" in given:
            run = Path(words[words.index("--progress") + 1]).stem
            yield Training(number, run, given[b"SLURM_JOB_ID"].decode())


def _gained(resources: str) -> dict[str, str]:
    """What SLURM gave, from its own "cpu=1,node=1,gres/gpu=2"."""
    return dict(pair.split("=") for pair in resources.split(",") if pair)


def _seconds(moment: str) -> float:
    """A time as SLURM prints it; what has not come yet is as late as can be."""
    return float("inf") if moment in ("Unknown", "N/A") else time.mktime(datetime.fromisoformat(moment).timetuple())
