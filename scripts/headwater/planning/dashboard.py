"""Dashboard: a study's curves, costs and results as parts of one page that needs no server, while it runs and after."""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import pandas as pd

from headwater.core.page import Charts, Page
from headwater.planning.runtime_estimate import Estimate
from headwater.reporting import brief, drawing, training_curves
from headwater.reporting.trace_report import read_table
from headwater.study.config import Config
from headwater.study.grid import Grid
from headwater.study.paths import Paths, history

BAND = "Mean over seeds with one standard deviation."

APART = "One training each; losses of different methods cannot be compared."

RESULTS = "From the report: means over seeds and labels, with 95 % confidence intervals. All tables: {page}"


def with_dashboard(page: Page, plan: Config, runtimes: Estimate, *, folder: Path) -> Page:
    """The page with the results of a finished study, curves of all trainings, and what each source cost."""
    grid, paths = plan.grid(), Paths(str(folder / plan.results))
    parts = [*_results(paths), *_curves(grid, paths), *_cost(grid, runtimes, paths)]
    return Page(title=page.title, summary=page.summary, parts=[*page.parts, *parts])


def _results(paths: Paths) -> Iterator[tuple[str, pd.DataFrame | list[str]]]:
    """The macro of each source from the report, if there is one."""
    table = Path(paths.table("significance"))
    if table.is_file():
        rows = read_table(table)
        yield "Results", brief.shown(rows, intervals=True)
        yield "", [RESULTS.format(page=paths.page())]


def _curves(grid: Grid, paths: Paths) -> Iterator[tuple[str, Charts]]:
    """Scores and losses of each dataset, then the losses of pre-trainings."""
    for dataset in grid.datasets:
        panels = training_curves.of_dataset(grid, dataset.name, paths=paths)
        if panels:
            title = f"Fine-tuning: {grid.wording.title('datasets', dataset.name)}"
            yield title, _charts(panels, grid=grid, about=dataset.name, caption=BAND)
    if panels := training_curves.of_pretraining(grid, paths=paths):
        yield "Pre-training", _charts(panels, grid=grid, about="pretraining", caption=APART)


def _charts(panels: list[training_curves.Panel], *, grid: Grid, about: str, caption: str) -> Charts:
    svgs = []
    for number, panel in enumerate(panels):
        name = f"curves_{about}_{number}"
        svg = training_curves.drawn(panel, grid=grid, name=name).svg
        svgs.append(drawing.inlined(svg, name=name, title=escape(panel.title)))
    return Charts(svgs=tuple(svgs), caption=caption)


def _cost(grid: Grid, runtimes: Estimate, paths: Paths) -> Iterator[tuple[str, pd.DataFrame]]:
    """A row for each source: process-hours so far, and how fast its trainings are and how much memory they take."""
    rows = []
    for source in grid.sources:
        folders = [Path(history(paths.encoder(source.name)))]
        folders += [
            Path(paths.run(run.path))
            for dataset in grid.datasets
            for run in grid.runs(dataset.name)
            if run.source.name == source.name
        ]
        measured = [found for folder in folders if (found := training_curves.machine(folder))]
        rows.append(
            {
                "Source": grid.wording.title("sources", source.name),
                "Pre-training, h": _hours(runtimes, source.name, rules=("pretrain", "adopt")),
                "Fine-tuning, h": _hours(runtimes, source.name, rules=("finetune",)),
                **{name: _together(name, measured) for name in training_curves.MEASURED.values()},
            }
        )
    table = pd.DataFrame(rows)
    # without a GPU its column says nothing
    yield "Cost by source, in process-hours so far", table.loc[:, (table != "").any()]


def _hours(runtimes: Estimate, source: str, *, rules: tuple[str, ...]) -> str:
    """Process-hours of a source's finished jobs of some rules; empty if it has none of them."""
    jobs = [
        job
        for job in runtimes.jobs
        if job.rule in rules and source == (job.run.source.name if job.run else job.wildcards[0])
    ]
    if not jobs:
        return ""
    spent = [(runtimes.finished.get(job.product) or 0.0) * max(1, job.ranks) for job in jobs]
    return f"{sum(spent) / 3600:.3f}"


def _together(name: str, measured: list[dict[str, float]]) -> str:
    """Over a source's trainings the mean speed or the most memory."""
    values = [found[name] for found in measured if name in found]
    if not values:
        return ""
    return f"{training_curves.together(name, values):,.1f}"
