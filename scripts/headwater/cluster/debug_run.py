"""Debug run: one run of a study in this shell, to see where it fails, without disturbing the study."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from headwater.cluster import run_lock, schedulers, waiting
from headwater.cluster.schedulers import Absent
from headwater.core import files
from headwater.core.errors import UserError, did_you_mean, need_checkout
from headwater.study import config as study_config
from headwater.study import overrides
from headwater.study.grid import Grid, Run
from headwater.study.paths import Paths, bad_loss, history
from headwater.study.replaying import REPLAYED

ROOT = Path(__file__).parents[3]


def one(run: str, *, config: Path, replay: bool = False) -> None:
    """Train one run, or pre-train one source, by hand in this shell, for debugging.

    Prints the command that the study would use, and runs it. It starts from a copy of the run's saved progress and
    writes to RESULTS/by_hand, so that the study is not disturbed and a failure at a certain step occurs again.

    Args:
        run: The run, DATASET/SOURCE/RECIPE/seedN, or the name of a source that is pre-trained.
        config: Config file of the study.
        replay: Look closely at the step at which the loss of this training became no number: print the losses before
            it, and name the first module whose output is not finite.
    """
    need_checkout(ROOT / "Snakefile")
    plan = study_config.read(config)
    paths = Paths(plan.results)
    chosen = _training_named(plan.grid(), run, paths=paths)
    progress = Path(paths.progress_of(chosen.digest))
    _refuse_if_in_training(chosen.name, progress=progress)
    asked = {REPLAYED: str(_step_to_replay(chosen))} if replay else {}
    by_hand = Path(paths.by_hand())
    command = _moved(_planned(config, chosen), paths=paths, training=chosen, to=by_hand)
    own_progress = Path(Paths(by_hand).progress())
    for folder in (_elsewhere(chosen.folder, paths=paths, to=by_hand), own_progress):
        Path(folder).mkdir(parents=True, exist_ok=True)
    if progress.exists():
        shutil.copy(progress, own_progress)
    told = [f"{name}={value}" for name, value in asked.items()]
    print(shlex.join([*told, *command]), flush=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
    sys.exit(subprocess.run(command, env={**os.environ, "PATH": path, **asked}).returncode)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training of the study: its name, the rule that does it, and where its products lie."""

    name: str
    rule: str
    digest: str
    product: str
    folder: str
    """Where its curves are."""


def _step_to_replay(training: Training) -> int:
    """The step at which the training's loss became no number."""
    file = bad_loss(Path(training.folder))
    if not file.is_file():
        raise UserError(
            f"{training.name} has no step to replay: no attempt at it ended with a loss that is no number",
            remedy="leave out --replay",
        )
    return int(files.read_record(file)["step"])


def _training_named(grid: Grid, name: str, *, paths: Paths) -> Training:
    """The run with a path, or the pre-training of a source; the refusal of an unknown one names the nearest."""
    sources = {source.name: source for source in grid.sources if source.method and not source.of}
    if source := sources.get(name):
        encoder = paths.encoder(name)
        places = {"product": encoder, "folder": history(encoder)}
        return Training(name=name, rule="pretrain", digest=source.digest, **places)
    run = _run_named(grid, name, others=sources)
    places = {"product": paths.model(run.path), "folder": paths.run(run.path)}
    return Training(name=run.path, rule="finetune", digest=run.digest, **places)


def _run_named(grid: Grid, name: str, *, others: Iterable[str] = ()) -> Run:
    """The run with a path; the refusal of an unknown one names the nearest."""
    runs = {run.path: run for dataset in grid.datasets for run in grid.runs(dataset.name)}
    if name.strip("/") not in runs:
        raise UserError(f"the study has no run {name!r}", remedy=did_you_mean(name, [*runs, *others]))
    return runs[name.strip("/")]


def _refuse_if_in_training(name: str, *, progress: Path) -> None:
    """Refuse a run that a living job of the study trains: its progress would change while it is copied."""
    job = run_lock.holder(progress)
    if job is None:
        return
    try:
        alive = waiting.answered(waiting.answered(schedulers.in_force).alive, job)
    except Absent:
        raise UserError(
            f"{name} may be in training, and there is no {schedulers.titles()} here to ask",
            remedy="use a login node",
        ) from None
    if alive:
        raise UserError(
            f"job {job} is training {name}",
            remedy="wait for it, or use a copy of the config with other `results`",
        )


def _planned(config: Path, training: Training) -> list[str]:
    """The command by which the study would do a training, without the redirection into its log."""
    options = ["-n", "-p", "--nolock", "--force", "--allowed-rules", training.rule, "--"]
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", str(config)]
    command += overrides.for_snakemake()
    process = subprocess.run([*command, *options, training.product], capture_output=True, text=True)
    printed = (process.stdout + process.stderr).splitlines()
    commands = [line.partition(": ")[2] for line in printed if line.startswith("Shell command: ")]
    if len(commands) != 1:
        raise UserError(
            f"{training.name} cannot be planned: {_missing(printed)}", remedy="run the study up to its inputs first"
        )
    words = shlex.split(commands[0])
    return words[: words.index(">")] if ">" in words else words


def _missing(printed: list[str]) -> str:
    """The files that Snakemake needs and does not have, or its last line."""
    if (files := "    affected files:") not in printed:
        return printed[-1] if printed else "Snakemake printed nothing"
    listed = takewhile(lambda line: line.startswith(" "), printed[printed.index(files) + 1 :])
    return f"{', '.join(map(str.strip, listed))} missing"


def _elsewhere(place: str, *, paths: Paths, to: Path) -> str:
    """A place below the folder of runs, or below that of results, in another folder."""
    return f"{to}/{place.removeprefix(paths.run('')).removeprefix(f'{paths.results}/')}"


def _moved(words: list[str], *, paths: Paths, training: Training, to: Path) -> list[str]:
    """A command that writes to other folders, and sends no curves to the trackers of the study."""
    own = (training.folder, training.product, f"{training.folder}/", f"{paths.progress()}/")

    def moved(word: str) -> str:
        # of encoders the one that is made, not those that are read
        written = word in own[:2] or word.startswith(own[2:])
        return _elsewhere(word, paths=paths, to=to) if written else word

    words = [moved(word) for word in words]
    if "--tracking" in words:
        words[words.index("--tracking") + 1] = "{}"
    return words
