"""Workspace: what is looked at in W&B's own pages: a workspace per dataset, and a report that compares the sources."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from headwater.data.tables import MACRO
from headwater.study.grid import Grid

SPREAD = {"groupby": wr.Config("source"), "groupby_aggfunc": "mean", "groupby_rangefunc": "stddev"}
"""Curves and bars: a line for each source, the mean over its seeds, in a band of one standard deviation."""

WIDE, HALF = wr.Layout(w=24, h=12), wr.Layout(w=12, h=9)

EXPLAINED = (
    "Which initial weights are best for each dataset. Curves and bars of single runs: means over seeds, with one "
    "standard deviation. Points with intervals: means over seeds with 95 % intervals, as in the study's report."
)

FIELDS = ("dataset", "metric", "recipe", "label", "source", "value", "low", "high")
"""Columns of the table of test values that the chart of bars reads."""


PRETRAINING = {
    "training/loss": "Loss",
    "probe/auroc": "Feature probe, AUROC",
    "features/rank": "RankMe of the features",
    "features/lidar": "LiDAR of the features",
    "features/spread": "Spread of the features",
    "features/alignment": "Alignment of views",
    "features/uniformity": "Uniformity of the features",
}
"""Curves of pre-trainings, and what they are called."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a study is at W&B, and how its dashboards are named there."""

    entity: str
    project: str
    study: str
    address: str
    """The address of the server's pages."""
    study_run: str
    """The id of the study's own run."""
    runs: dict[str, str]
    """The ids of the trainings that are there, by their names."""
    artifacts: dict[str, str]
    """The kinds of the files that are kept there, by their names."""

    def link(self, *path: str) -> str:
        """The address of a page of the project."""
        return "/".join([self.address, self.entity, self.project, *path])


def workspaces(grid: Grid, place: Place) -> list[ws.Workspace]:
    """One workspace per dataset."""
    return [
        ws.Workspace(
            entity=place.entity,
            project=place.project,
            name=f"{place.study}: {dataset.name}",
            sections=[
                ws.Section(name="Test", panels=[*_bars(grid, dataset.name)], is_open=True),
                ws.Section(name="Validation", panels=[*_curves(grid)], is_open=True),
                ws.Section(name="Machine", panels=[*_machine()]),
            ],
            runset_settings=ws.RunsetSettings(
                filters=_of_dataset(grid, dataset.name, place),
                groupby=[expr.Config("source")],
                pinned_columns=["config:source.value", "config:recipe.value", "config:seed.value", *_columns(grid)],
            ),
        )
        for dataset in grid.datasets
    ]


def report(grid: Grid, place: Place) -> wr.Report:
    """The report: differences first, then a grid of panels per dataset, and links to the runs."""
    blocks: list[Any] = [
        wr.P(text=EXPLAINED),
        wr.H2("Differences between sources"),
        wr.PanelGrid(runsets=[_study_runset(place)], panels=[*_results()]),
    ]
    for dataset in grid.datasets:
        runset = _runset(name=dataset.name, filters=_of_dataset(grid, dataset.name, place))
        of_study = [_chart(place, dataset=dataset.name, metric=metric) for metric in dataset.fitting(_metrics(grid))]
        blocks += [
            wr.H2(dataset.name),
            wr.PanelGrid(runsets=[_study_runset(place)], panels=of_study),
            wr.PanelGrid(runsets=[runset], panels=[*_bars(grid, dataset.name), *_curves(grid), *_machine()]),
        ]
    if any(source.method for source in grid.sources):
        filters = [expr.Config("study_run") == place.study_run, expr.Metric("JobType") == "pretrain"]
        runset = _runset(name="pre-training", filters=filters)
        panels = [
            wr.LinePlot(title=title, x="Step", y=[name], layout=HALF, **SPREAD) for name, title in PRETRAINING.items()
        ]
        blocks += [wr.H2("Pre-training"), wr.PanelGrid(runsets=[runset], panels=[*panels, *_machine()])]
    title = f"{place.study}: sources of first weights compared"
    return wr.Report(
        entity=place.entity,
        project=place.project,
        title=title[:128],
        description="Made by headwater dashboard, which replaces it when it is called again.",
        blocks=[*blocks, *_links(place)],
        width="fluid",
    )


def chart() -> dict[str, Any]:
    """Bars of the test values of one dataset and metric with their intervals, in Vega-Lite."""
    chosen = "datum['${field:dataset}'] == '${string:dataset}' && datum['${field:metric}'] == '${string:metric}'"
    x = {"field": "${field:value}", "type": "quantitative", "title": "${string:metric}", "scale": {"zero": False}}
    y = {"field": "${field:source}", "type": "nominal", "title": None}
    interval = {"x": {"field": "${field:low}", "type": "quantitative"}, "x2": {"field": "${field:high}"}, "y": y}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"name": "wandb"},
        "transform": [{"filter": f"{chosen} && datum['${{field:label}}'] == '${{string:label}}'"}],
        "facet": {"row": {"field": "${field:recipe}", "type": "nominal", "title": None}},
        "spec": {
            "layer": [
                {"mark": {"type": "point", "filled": True, "size": 60}, "encoding": {"x": x, "y": y}},
                {"mark": "rule", "encoding": interval},
            ]
        },
    }


def chart_name() -> str:
    """The name under which the chart is kept at W&B."""
    return "headwater-test-values"


def as_json(grid: Grid, place: Place) -> dict[str, Any]:
    """All that would be made, as it is sent."""
    return {
        "workspaces": [_dumped(workspace._to_model()) for workspace in workspaces(grid, place)],
        "report": _dumped(report(grid, place)._to_model()),
        "chart": {"name": chart_name(), "spec": chart()},
    }


def _dumped(model: Any) -> dict[str, Any]:
    return json.loads(model.model_dump_json(by_alias=True, exclude_none=True))


def _metrics(grid: Grid) -> tuple[str, ...]:
    return grid.comparing.metrics


def _columns(grid: Grid) -> list[str]:
    return [f"summary:test/{metric}/{MACRO}" for metric in _metrics(grid)]


def _of_dataset(grid: Grid, dataset: str, place: Place) -> list[expr.FilterExpr]:
    """The runs of a dataset, or of all of its folds."""
    names = [part.name for part in grid.dataset(dataset).parts]
    return [expr.Config("study_run") == place.study_run, expr.Config("dataset").isin(names)]


def _runset(*, name: str, filters: list[expr.FilterExpr]) -> wr.Runset:
    """Runs of the report's own project: without its name, which the library would ask the server about."""
    return wr.Runset(name=name, filters=filters)


def _study_runset(place: Place) -> wr.Runset:
    return _runset(name="study", filters=[expr.Metric("JobType") == "study", expr.Metric("Name") == place.study_run])


def _results() -> Iterator[Any]:
    """The table of differences, the forest plot and the page."""
    yield wr.WeavePanelSummaryTable(table_name="tables/significance", layout=WIDE)
    yield wr.MediaBrowser(title="Forest plots and ROC curves", media_keys=["figures/forest_macro"], layout=WIDE)
    yield wr.WeavePanelSummaryTable(table_name="tables/price", layout=HALF)


def _bars(grid: Grid, dataset: str) -> Iterator[Any]:
    """What single runs reach on the test cases: a bar for each source, with the spread of its seeds."""
    for metric in grid.dataset(dataset).fitting(_metrics(grid)):
        name = f"test/{metric}/{MACRO}"
        yield wr.BarPlot(title=f"{metric}, {MACRO}, on the test cases", metrics=[name], layout=HALF, **SPREAD)


def _curves(grid: Grid) -> Iterator[Any]:
    """Validation scores and losses by step."""
    scores = dict.fromkeys(f"validation/{recipe.select}" for recipe in grid.recipes)
    for name in dict.fromkeys([*scores, "validation/loss", "training/loss"]):
        yield wr.LinePlot(title=name, x="Step", y=[name], layout=HALF, **SPREAD)


def _machine() -> Iterator[Any]:
    """Speed, waiting and memory."""
    for name in ("images_per_second", "waiting", "gpu_memory_gib", "memory_gib"):
        yield wr.LinePlot(title=name, x="Step", y=[f"machine/{name}"], layout=HALF, **SPREAD)


def _chart(place: Place, *, dataset: str, metric: str) -> wr.CustomChart:
    """The test values of a dataset with their intervals."""
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": "tables/test_values"}},
        chart_name=f"{place.entity}/{chart_name()}",
        chart_fields={field: field for field in FIELDS},
        chart_strings={"dataset": dataset, "metric": metric, "label": MACRO},
        layout=HALF,
    )


def _links(place: Place) -> list[Any]:
    """Links to the study's run, which holds its page, to each training, and to the files that are kept."""
    runs = {f"{place.study} (tables, figures and page)": place.study_run, **place.runs}
    blocks = [wr.H2("Runs"), _list({name: place.link("runs", run) for name, run in runs.items()})]
    if place.artifacts:
        files = {name: place.link("artifacts", kind, name) for name, kind in place.artifacts.items()}
        blocks += [wr.H2("Files"), _list(files)]
    return blocks


def _list(links: dict[str, str]) -> wr.UnorderedList:
    return wr.UnorderedList(items=[[wr.Link(text=name, url=url)] for name, url in links.items()])
