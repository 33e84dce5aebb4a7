"""Dashboard: makes a study's workspaces and report at Weights & Biases, or replaces those that it made before."""

import json
from importlib.util import find_spec
from pathlib import Path

from headwater.core import files
from headwater.core.errors import UserError
from headwater.study import config as study_config
from headwater.study import hosting, run_ids
from headwater.study.config import Config
from headwater.study.paths import Paths, history, seconds_of_training
from headwater.study.tracking import Tracking
from headwater.training import wandb_artifacts


def dashboard(config: Path, *, dry_run: bool = False) -> None:
    """Make a workspace per dataset and a report at Weights & Biases, which show the runs that are there.

    Called again it replaces what it made before.

    Args:
        config: Config file of the study.
        dry_run: Print what would be made as JSON, and send nothing.
    """
    study = study_config.read(config)
    _check(study, file=config)
    from headwater.reporting.dashboards import saving, workspace

    tracking = run_ids.told(study)
    place = workspace.Place(
        entity=tracking.entity or ("" if dry_run else saving.default_entity()),
        project=tracking.project,
        study=tracking.study_name,
        address=saving.address(),
        study_run=run_ids.of_study(tracking),
        runs={} if tracking.aggregates_only else finished(study, tracking=tracking),
        artifacts=wandb_artifacts.kept(study.grid(), tracking=tracking),
    )
    if dry_run:
        print(json.dumps(workspace.as_json(study.grid(), place), indent=1))
        return
    record = Path(Paths(study.results).tracking()) / "dashboard.json"
    for line in saving.save(study.grid(), place, record=record):
        print(line)


def _check(study: Config, *, file: Path) -> None:
    """Refuse a study that sends nothing, or of which nothing may be sent, and a missing package."""
    if study.tracking.wandb == "disabled":
        remedy = "set tracking.wandb to offline or online"
        raise UserError("sends nothing to Weights & Biases", file=file, remedy=remedy)
    hosting.refuse_private(study, file=file)
    if find_spec("wandb_workspaces") is None:
        raise UserError("a dashboard needs the package wandb-workspaces", remedy="pip install -e '.[wandb]'")


def finished(study: Config, *, tracking: Tracking) -> dict[str, str]:
    """The ids of the trainings that are done, by their names."""
    grid, paths = study.grid(), Paths(study.results)
    found = {}
    for source in grid.sources:
        record = seconds_of_training(Path(history(paths.encoder(source.name))))
        if source.method and record.is_file():
            content = files.read_record(record).get("identity", "")
            found[source.name] = run_ids.of_training(source, tracking=tracking, content=content)
    for run in (run for dataset in grid.datasets for run in grid.runs(dataset.name)):
        if (record := Path(paths.fit(run.path))).is_file():
            content = files.read_record(record).get("identity", "")
            found[run.path] = run_ids.of_training(run, tracking=tracking, content=content)
    return found
