"""Calibrate: each kind of training of a study is begun in a process of its own, timed for a few steps, and given up."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headwater.core import files as core_files
from headwater.core.errors import UserError
from headwater.core.progress import bar
from headwater.planning import preflight, timing_profile
from headwater.planning.timing_profile import Calibration, Rehearsal, Timed
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.job_graph import JobGraph, jobs

TRAINER = Path(__file__).parents[2] / "rehearse.py"
EMPTY_JOBS = 20
"""Jobs of the workflow that does nothing, by which Snakemake's own seconds are told."""


def calibrate(*, config: Path, folder: Path = Path(), seconds: float = 15.0) -> None:
    """Time a few steps of each kind of training of a study on this machine, for `cost` and `study` to reckon with.

    The file is RESULTS/calibration.json. On a cluster run it where the trainings will run, on one GPU.
    --folder   where Snakemake is started
    --seconds  how long the steps of each kind are timed, at least (15); scoring as long at most
    """
    if seconds <= 0:
        raise UserError(f"--seconds: {seconds} is no time", remedy="say 15")
    plan = study_config.read(config)
    preflight.check(plan)
    rehearsals = _rehearsals(plan)
    timed, device = {}, "cpu"
    with tempfile.TemporaryDirectory(prefix="calibrate-") as temporary:
        for archive, rehearsal in bar(rehearsals, total=len(rehearsals), what="calibrating"):
            told = _timed(rehearsal, archive, plan=plan, folder=folder, seconds=seconds, place=Path(temporary))
            device = told.pop("device")
            timed[rehearsal.key] = Timed(**told)
        around = _around_a_job(Path(temporary))
    file = timing_profile.file_of(plan, folder=folder)
    core_files.write_json(Calibration(device=device, job=around, trainings=timed).model_dump(), file)
    for key, each in timed.items():
        print(f"{key}: {each.start:.1f} s to start, {each.step:.4f} s a step, {each.image:.5f} s an image, {each.data}")
    print(f"around a job: {around['local']:.2f} s here, {around['slurm']:.1f} s in a SLURM job\n{file}")


def _rehearsals(plan: Config) -> list[tuple[str, Rehearsal]]:
    """(archive, what is timed on it), one for each kind of training."""
    rehearsals = {}
    for job in jobs(plan):
        if job.rule in ("pretrain", "finetune"):
            rehearsal = timing_profile.rehearsal_of(job, plan)
            archive = job.run.dataset.archive if job.run else rehearsal.source.corpus
            rehearsals.setdefault(rehearsal.key, (archive, rehearsal))
    return list(rehearsals.values())


def _timed(
    rehearsal: Rehearsal, archive: str, *, plan: Config, folder: Path, seconds: float, place: Path
) -> dict[str, object]:
    """What a training process told of itself, with the seconds in which it did nothing that is counted."""
    graph = JobGraph(plan)
    cases, images = folder / graph.paths.cases(archive), folder / graph.images(archive)
    data = ["--cases", cases, "--images", images] if cases.is_file() and images.is_file() else []
    measured = place / "measured.json"
    command = [
        sys.executable,
        TRAINER,
        "--rehearsal",
        rehearsal.as_json(),
        "--measured",
        measured,
        *data,
        "--seconds",
        seconds,
    ]
    began = time.monotonic()
    process = subprocess.run(
        [*map(str, command), f"--device={plan.compute.device}", f"--threads={plan.compute.threads}"],
        capture_output=True,
        text=True,
    )
    wall = time.monotonic() - began
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no word"])[-1]
        raise UserError(f"{rehearsal.key} cannot be timed: {last}", remedy="mend what it says, and calibrate again")
    told = json.loads(measured.read_text())
    busy = told.pop("busy")
    return {**told, "start": max(0.0, wall - busy)}


def _around_a_job(place: Path) -> dict[str, float]:
    """Seconds that Snakemake itself needs for each job: here, and for the two Snakemakes inside a SLURM job."""
    rule = 'rule each:\n    output: "{name}"\n    shell: "touch {output}"\n'
    files = ", ".join(f'"n{number}"' for number in range(EMPTY_JOBS))
    snakefile = place / "Snakefile"
    snakefile.write_text(f"rule all:\n    input: {files}\n{rule}")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(place)]
    command += ["--workflow-profile", "none", "--cores", "1", "--quiet", "all"]
    alone, together = (_wall([*command, *more]) for more in (["--dry-run"], []))
    return {"local": max(0.0, together - alone) / EMPTY_JOBS, "slurm": 2 * alone}


def _wall(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began
