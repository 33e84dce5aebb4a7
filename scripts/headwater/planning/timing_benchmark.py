"""Timing benchmark: time a few steps of each kind of training of a study, each in a process of its own."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from headwater.core import files as core_files
from headwater.core.errors import UserError, need_checkout
from headwater.core.progress import bar
from headwater.planning import preflight, timing_profile, volume_sizes
from headwater.planning.timing_profile import Rehearsal, Timed, TimingProfile
from headwater.study import config as study_config
from headwater.study.config import Config
from headwater.study.job_graph import JobGraph

TRAINER = Path(__file__).parents[2] / "rehearse.py"
EMPTY_JOBS = 20
"""Jobs of an empty workflow, which measures Snakemake's overhead per job."""


def calibrate(config: Path, *, folder: Path = Path(), seconds: float = 15.0) -> None:
    """Time a few real training steps of each kind on this machine, for the estimates of `plan` and `plan cost`.

    Writes the study's timing profile, RESULTS/calibration.json. On a cluster, run it on one of the GPUs that will do
    the training.

    Args:
        config: Config file of the study.
        folder: Folder where Snakemake is started.
        seconds: Time for the steps of each kind, in seconds, at least; scoring takes at most as long again.
    """
    if seconds <= 0:
        raise UserError(f"--seconds must be > 0 (got {seconds:g})", remedy="the default is 15")
    need_checkout(TRAINER)
    plan = study_config.read(config)
    preflight.check(plan)
    rehearsals = _rehearsals(plan)
    trainings, device = {}, "cpu"
    with tempfile.TemporaryDirectory(prefix="calibrate-") as temporary:
        for archive, rehearsal in bar(rehearsals, total=len(rehearsals), what="calibrating"):
            measured = _timed(rehearsal, archive, plan=plan, folder=folder, seconds=seconds, place=Path(temporary))
            device = measured.pop("device")
            trainings[rehearsal.key] = Timed(**measured)
        overhead = _overhead_per_job(Path(temporary))
    file = timing_profile.file_of(plan, folder=folder)
    core_files.write_json(TimingProfile(device=device, job=overhead, trainings=trainings).model_dump(), file)
    for key, timed in trainings.items():
        print(f"{key}: {_told(timed)}")
    print(f"overhead per job: {overhead['local']:.2f} s locally, {overhead['slurm']:.1f} s on a cluster\n{file}")


def _told(timed: Timed) -> str:
    """The timings of a kind of training in words."""
    case = f"volume in {timed.windows:.1f} windows" if timed.windows else "image"
    words = f"{timed.start:.1f} s to start, {timed.step:.4f} s/step, {timed.image:.5f} s/{case}"
    words += f" and {timed.borders:.5f} s for its borders" if timed.borders else ""
    words += f", {timed.memory / 1e9:.2f} GB of the GPU" if timed.memory is not None else ""
    return f"{words}, {timed.data}"


def _rehearsals(plan: Config) -> list[tuple[str, Rehearsal]]:
    """(archive, rehearsal on its images), once for each kind of training."""
    rehearsals = {}
    for job, rehearsal in timing_profile.trainings(plan):
        archive = job.run.dataset.archive if job.run else rehearsal.source.corpus
        rehearsals.setdefault(rehearsal.key, (archive, rehearsal))
    return list(rehearsals.values())


def _timed(
    rehearsal: Rehearsal, archive: str, *, plan: Config, folder: Path, seconds: float, place: Path
) -> dict[str, object]:
    """The timings that a training process wrote, with the seconds of its start."""
    graph = JobGraph(plan)
    cases, images = folder / graph.paths.cases(archive), folder / graph.images(archive)
    ready = cases.is_file() and images.is_file()
    data = ["--cases", cases, "--images", images] if ready else []
    if not ready and (sizes := volume_sizes.of(plan.archives[archive], plan=plan, folder=folder)):
        known = {"sides": sizes.sources, "spacings": sizes.spacings, "wanted": sizes.wanted}
        rehearsal = rehearsal.model_copy(update=known)
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
        last = (process.stderr.strip().splitlines() or ["it wrote no error"])[-1]
        raise UserError(f"{rehearsal.key} cannot be timed: {last}", remedy="fix this and calibrate again")
    timings = json.loads(measured.read_text())
    busy = timings.pop("busy")
    # imports and the start of the processes, which every job repeats
    return {**timings, "start": max(0.0, wall - busy)}


def _overhead_per_job(place: Path) -> dict[str, float]:
    """Snakemake's own seconds per job: on this machine, and on a cluster, where each job starts two Snakemakes."""
    rule = 'rule each:\n    output: "{name}"\n    shell: "touch {output}"\n'
    files = ", ".join(f'"n{number}"' for number in range(EMPTY_JOBS))
    snakefile = place / "Snakefile"
    snakefile.write_text(f"rule all:\n    input: {files}\n{rule}")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(place)]
    command += ["--workflow-profile", "none", "--cores", "1", "--quiet", "all"]
    # a dry run takes as long as the start of Snakemake; the rest of a real run is spent on its jobs
    start, whole = (_wall([*command, *options]) for options in (["--dry-run"], []))
    return {"local": max(0.0, whole - start) / EMPTY_JOBS, "slurm": 2 * start}


def _wall(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began
