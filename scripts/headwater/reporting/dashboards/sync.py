"""Sync: uploads the offline runs of a study to Weights & Biases, each once."""

import subprocess
import sys
from pathlib import Path

from headwater.core import files as files_of
from headwater.core.errors import UserError
from headwater.core.text import many
from headwater.study import config as study_config
from headwater.study import hosting
from headwater.study.config import Config
from headwater.study.grid import Grid
from headwater.study.paths import Paths, history
from headwater.study.source import Source
from headwater.training import wandb_artifacts, wandb_session

OFFLINE = "offline-run-*/run-*.wandb"


def sync(config: Path, *, dry_run: bool = False) -> None:
    """Upload the offline runs of a study to Weights & Biases; those that are there already are left out.

    Refuses a study of archives whose terms allow no logging on a server outside, unless its config has
    `tracking.aggregates_only`; then the study's tables and figures are uploaded, and no training.

    Args:
        config: Config file of the study.
        dry_run: Print what would be uploaded, and upload nothing.
    """
    study = study_config.read(config)
    hosting.refuse_private(study, file=config)
    if study.tracking.wandb == "disabled":
        remedy = "set tracking.wandb to offline or online"
        raise UserError("sends nothing to Weights & Biases", file=config, remedy=remedy)
    files = offline_runs(study)
    record = Path(Paths(study.results).tracking()) / "uploaded.json"
    before = files_of.read_record(record) if record.is_file() else {}
    new = [file for file in files if not synced(file).exists()]
    # W&B adds the points of a second file of a run to those of the first
    waiting = [file for file in new if file.stem not in before]
    there = len(files) - len(waiting)
    print(f"{many(len(files), 'offline run')} in {study.results}: {there} uploaded before, {len(waiting)} to upload")
    if changed := len(new) - len(waiting):
        print(f"{many(changed, 'run')} changed since: left as uploaded, because W&B would show their points twice")
    if dry_run:
        print("".join(f"  {file.parent}\n" for file in waiting), end="")
    elif waiting:
        record.parent.mkdir(parents=True, exist_ok=True)
        try:
            for files in in_turns(study, waiting):
                upload(files)
        finally:
            # also of an upload that broke off: what is there must not be sent a second time
            there = {file.stem: str(file.parent.name) for file in waiting if synced(file).exists()}
            files_of.write_json(before | there, record)
        print(f"uploaded {many(len(waiting), 'run')}")


def offline_runs(study: Config) -> list[Path]:
    """W&B's files of a study: of the trainings that its config names, unless only aggregates may leave, and its own."""
    paths, grid = Paths(study.results), study.grid()
    folders = [paths.tracking()]
    if not study.tracking.aggregates_only:
        # other configs may have written to the same results, of archives that this one does not name
        folders += [paths.run(run.path) for dataset in grid.datasets for run in grid.runs(dataset.name)]
        folders += [history(paths.encoder(source.name)) for source in grid.sources if source.method]
    return sorted(file for folder in folders for file in Path(folder).rglob(OFFLINE))


def in_turns(study: Config, files: list[Path]) -> list[list[Path]]:
    """The files in groups to upload one after the other: W&B takes for an encoder's maker who sends it first."""
    if "encoders" not in study.tracking.artifacts:
        return [files]
    grid, paths = study.grid(), Paths(study.results)
    made = sorted(wandb_artifacts.made_in(grid), key=lambda source: len(_starts(source, grid)))
    places = [Path(history(paths.encoder(source.name))) for source in made]
    makers = [[file for file in files if file.is_relative_to(place)] for place in places]
    others = [file for file in files if not any(file in group for group in makers)]
    return [group for group in (*makers, others) if group]


def _starts(source: Source, grid: Grid) -> list[str]:
    """The sources that a source goes back to, each starting from the next."""
    return [source.start, *_starts(grid.source(source.start), grid)] if source.start else []


def synced(file: Path) -> Path:
    """The mark that W&B leaves beside a file that is uploaded."""
    return file.with_name(f"{file.name}.synced")


def upload(files: list[Path]) -> None:
    """Upload files by W&B's own command, which marks them; refuses if one has no mark then."""
    wandb_session.library()
    command = [sys.executable, "-m", "wandb", "sync", *(str(file.parent) for file in files)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    left = [file for file in files if not synced(file).exists()]
    if done.returncode or left:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        reason = said[-1] if said else "wandb said nothing"
        raise UserError(
            f"{many(len(left), 'run')} of {len(files)} were not uploaded ({reason})",
            file=left[0].parent if left else None,
            remedy="call wandb login, and start again: what is there is left out",
        )
