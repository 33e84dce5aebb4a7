"""A SLURM that only answers: commands of its names, which read and change one small file of jobs."""

import json
import os
import sys
from pathlib import Path

import pytest

COMMAND = """#!{python}
import json, os, subprocess, sys, time
from pathlib import Path
folder = Path({folder!r})
name, words = Path(sys.argv[0]).name, sys.argv[1:]
with (folder / "asked.jsonl").open("a") as log:
    log.write(json.dumps([name, *words]) + "\\n")
away = folder / "away"
if away.exists():
    left = int(away.read_text()) - 1
    away.write_text(str(left)) if left else away.unlink()
    sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
jobs = json.loads((folder / "jobs.json").read_text())
if name == "srun":
    command = words[next(i for i, word in enumerate(words) if not word.startswith("-")):]
    nodes = int(next(word for word in words if word.startswith("--nodes=")).partition("=")[2])
    tasks = [subprocess.Popen(command, env=dict(os.environ, SLURM_NODEID=str(node))) for node in range(nodes)]
    sys.exit(max(task.wait() for task in tasks))
if name == "scancel":
    if words[-1] not in jobs:
        sys.exit("scancel: error: Kill job error on job id " + words[-1] + ": Invalid job id specified")
    del jobs[words[-1]]
    (folder / "jobs.json").write_text(json.dumps(jobs))
if name == "scontrol":
    print("\\n".join(words[-1].split(",")))
if name == "squeue":
    if "-j" in words:
        number = words[words.index("-j") + 1]
        if number not in jobs:
            sys.exit("slurm_load_jobs error: Invalid job id specified")
        jobs = {{number: jobs[number]}}
    form = words[words.index("-o") + 1] if "-o" in words else "%c"
    for number, job in jobs.items():
        line = form.replace("%A", number)
        for sign, key in {signs!r}.items():
            line = line.replace(sign, str(job.get(key, "")))
        print(line)
"""

SIGNS = {"%T": "state", "%j": "name", "%Z": "folder", "%k": "comment", "%N": "nodes", "%r": "reason", "%c": "restarts"}
"""What squeue's format prints of a job."""


class FakeSlurm:
    """Jobs in the queue by number, and what was asked of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.jobs = {}

    @property
    def jobs(self) -> dict[str, dict]:
        return json.loads((self.folder / "jobs.json").read_text())

    @jobs.setter
    def jobs(self, jobs: dict[str, dict]) -> None:
        (self.folder / "jobs.json").write_text(json.dumps(jobs))

    def away(self, times: int) -> None:
        """Do not answer the next so many times."""
        (self.folder / "away").write_text(str(times))

    @property
    def asked(self) -> list[list[str]]:
        file = self.folder / "asked.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def slurm_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Put the commands before all others on the path."""
    folder.mkdir()
    for name in ("squeue", "scancel", "scontrol", "srun"):
        (folder / name).write_text(COMMAND.format(python=sys.executable, folder=str(folder), signs=SIGNS))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return FakeSlurm(folder)
