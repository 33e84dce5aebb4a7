"""Debug run: one run of a study in this shell, to see where it fails, without disturbing the study."""

import os
import shlex
import shutil
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

from headwater.cluster import run_lock, schedulers, waiting
from headwater.cluster.schedulers import Absent
from headwater.core.errors import UserError, did_you_mean, need_checkout
from headwater.study import config as study_config
from headwater.study import overrides
from headwater.study.grid import Grid, Run
from headwater.study.paths import Paths

ROOT = Path(__file__).parents[3]


def one(run: str, *, config: Path) -> None:
    """Train one run by hand in this shell, for debugging.

    Prints the command that the study would use, and runs it. It starts from a copy of the run's saved progress and
    writes to RESULTS/by_hand, so that the study is not disturbed and a failure at a certain step occurs again.

    Args:
        run: The run, DATASET/SOURCE/RECIPE/seedN.
        config: Config file of the study.
    """
    need_checkout(ROOT / "Snakefile")
    plan = study_config.read(config)
    chosen = _run_named(plan.grid(), run)
    paths = Paths(plan.results)
    progress = Path(paths.progress_of(chosen.digest))
    _refuse_if_in_training(chosen, progress=progress)
    by_hand = Path(paths.by_hand())
    command = _moved(_planned(config, paths, chosen), paths=paths, run=chosen, to=by_hand)
    own_progress = Path(Paths(by_hand).progress())
    for folder in (by_hand / chosen.path, own_progress):
        folder.mkdir(parents=True, exist_ok=True)
    if progress.exists():
        shutil.copy(progress, own_progress)
    print(shlex.join(command), flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    sys.exit(subprocess.run(command, env={**os.environ, "PATH": path}).returncode)


def _run_named(grid: Grid, name: str) -> Run:
    """The run with a path; the refusal of an unknown one names the nearest."""
    runs = {run.path: run for dataset in grid.datasets for run in grid.runs(dataset.name)}
    if name.strip("/") not in runs:
        raise UserError(f"the study has no run {name!r}", remedy=did_you_mean(name, runs))
    return runs[name.strip("/")]


def _refuse_if_in_training(run: Run, *, progress: Path) -> None:
    """Refuse a run that a living job of the study trains: its progress would change while it is copied."""
    job = run_lock.holder(progress)
    if job is None:
        return
    try:
        alive = waiting.answered(waiting.answered(schedulers.in_force).alive, job)
    except Absent:
        raise UserError(
            f"{run.path} may be in training, and there is no {schedulers.titles()} here to ask",
            remedy="use a login node",
        ) from None
    if alive:
        raise UserError(
            f"job {job} is training {run.path}",
            remedy="wait for it, or use a copy of the config with other `results`",
        )


def _planned(config: Path, paths: Paths, run: Run) -> list[str]:
    """The command by which the study would train a run, without the redirection into its log."""
    options = ["-n", "-p", "--nolock", "--force", "--allowed-rules", "finetune", "--"]
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", str(config)]
    command += overrides.for_snakemake()
    process = subprocess.run([*command, *options, paths.model(run.path)], capture_output=True, text=True)
    printed = (process.stdout + process.stderr).splitlines()
    commands = [line.partition(": ")[2] for line in printed if line.startswith("Shell command: ")]
    if len(commands) != 1:
        raise UserError(
            f"{run.path} cannot be planned: {_missing(printed)}", remedy="run the study up to its inputs first"
        )
    words = shlex.split(commands[0])
    return words[: words.index(">")] if ">" in words else words


def _missing(printed: list[str]) -> str:
    """The files that Snakemake needs and does not have, or its last line."""
    if (files := "    affected files:") not in printed:
        return printed[-1] if printed else "Snakemake printed nothing"
    listed = takewhile(lambda line: line.startswith(" "), printed[printed.index(files) + 1 :])
    return f"{', '.join(map(str.strip, listed))} missing"


def _moved(words: list[str], *, paths: Paths, run: Run, to: Path) -> list[str]:
    """A command that writes to other folders, and sends no curves to the trackers of the study."""
    places = {paths.run(run.path): f"{to}/{run.path}", f"{paths.progress()}/": f"{Paths(to).progress()}/"}
    for before, after in places.items():
        words = [after + word.removeprefix(before) if word.startswith(before) else word for word in words]
    if "--tracking" in words:
        words[words.index("--tracking") + 1] = "{}"
    return words
