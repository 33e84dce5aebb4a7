"""Saving: workspaces, report and chart are sent to W&B; what was made before is replaced, by the record of its ids."""

import json
from collections.abc import Iterator
from pathlib import Path

import wandb

from headwater.core import files
from headwater.reporting.dashboards import workspace
from headwater.reporting.dashboards.workspace import Place
from headwater.study.grid import Grid
from headwater.training import wandb_session

OTHERWISE = "see what would be made by --dry-run"


def address() -> str:
    """The address of the pages of the server that wandb would ask."""
    return wandb.Settings().app_url


def default_entity() -> str:
    """The account or team that runs go to if the config names none; refuses without a login."""
    try:
        return wandb.Api().default_entity
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        raise wandb_session.unreachable(error, otherwise=OTHERWISE) from None


def save(grid: Grid, place: Place, *, record: Path) -> Iterator[str]:
    """Make everything, or replace it; a line with the address of each."""
    made = files.read_record(record) if record.is_file() else {}
    try:
        if made.get("chart") != (spec := workspace.chart()):
            wandb.Api().create_custom_chart(
                entity=place.entity, name=workspace.chart_name(), display_name="headwater: test values",
                spec_type="vega2", access="private", spec=json.dumps(spec),
            )  # fmt: skip
            made["chart"] = spec
            _keep(made, record)
        for view in workspace.workspaces(grid, place):
            view._internal_id, view._internal_name = made.get(view.name, ("", ""))
            view.save()
            made[view.name] = (view._internal_id, view._internal_name)
            _keep(made, record)
            yield f"{view.name}: {view.url}"
        report = workspace.report(grid, place)
        report.id = made.get("report", "")
        report.save()
        made["report"] = report.id
        _keep(made, record)
        yield f"{report.title}: {report.url}"
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        raise wandb_session.unreachable(error, otherwise=OTHERWISE) from None


def _keep(made: dict, record: Path) -> None:
    record.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(made, record)
