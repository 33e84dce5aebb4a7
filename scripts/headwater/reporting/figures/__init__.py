"""Figures: what the tables say, to be seen at a glance, drawn the same each time."""

import pandas as pd

from headwater.data.tables import MACRO
from headwater.reporting import external_table as matrix_of
from headwater.reporting import pivot, reduction_results
from headwater.reporting.figures import forest, matrix, reductions, reliability, replicates, roc, seeds
from headwater.reporting.figures.drawing import inlined, palette
from headwater.study.grid import Grid

__all__ = ["drawn", "elsewhere", "examined", "inlined", "of_reductions", "palette"]


def drawn(
    rows: pd.DataFrame, *, curves: pd.DataFrame, values: pd.DataFrame, resampled: pd.DataFrame, grid: Grid
) -> dict[str, str]:
    """SVGs by name: over all datasets the forest of the macros and the ranks; for each dataset its forest, ROC curves,
    seeds and replicates, where there are any.

    `rows` are judged comparisons in reading order, `resampled` the replicates of the macro differences.
    """
    pairs = rows[rows["difference"].notna()]
    macro = pairs["label"] == MACRO
    svgs = {"forest_macro": forest.of_pairs(pairs[macro], by="dataset", grid=grid), "ranks": _ranks(rows, grid)}
    for dataset in grid.datasets:
        here = pairs["dataset"] == dataset.name
        svgs[f"forest_{dataset.name}"] = forest.of_pairs(pairs[here], by="label", grid=grid)
        svgs[f"roc_{dataset.name}"] = _roc(rows, curves, dataset=dataset.name, grid=grid)
        svgs[f"seeds_{dataset.name}"] = _seeds(values, dataset=dataset.name, grid=grid)
        svgs[f"replicates_{dataset.name}"] = _replicates(pairs[here & macro], resampled, dataset.name, grid)
    return {name: svg for name, svg in svgs.items() if svg}


def elsewhere(crossed: pd.DataFrame, *, grid: Grid) -> dict[str, str]:
    """SVGs by name: for each source what its networks reach on every dataset, by the one that they were fitted to."""
    macro = matrix_of.ordered(crossed[crossed["label"] == MACRO], grid=grid)
    sources = list(dict.fromkeys(macro.loc[macro["value"].notna(), "source"]))
    return {f"crossed_{source}": matrix.drawn(macro, source=source, grid=grid) for source in sources}


def examined(points: pd.DataFrame, groups: pd.DataFrame, *, grid: Grid) -> dict[str, str]:
    """SVGs by name, for each dataset: its reliability plots and its subgroups, where there are any; no controls.

    Points and groups in reading order."""
    colours = {source.name: _colours(grid)[source.name] for source in grid.sources if not source.control}
    points, groups = (frame[frame["source"].isin(list(colours))] for frame in (points, groups))
    svgs = {}
    for dataset in grid.datasets:
        at_home = (points["dataset"] == dataset.name) & (points["fitted_to"] == dataset.name)
        panels = reliability.panels_of(points[at_home], grid=grid)
        svgs[f"reliability_{dataset.name}"] = reliability.drawn(panels, colours=colours) if panels else ""
        here = groups[(groups["dataset"] == dataset.name) & (groups["label"] == MACRO)]
        svgs[f"subgroups_{dataset.name}"] = forest.of_groups(here[here["difference"].notna()], grid=grid)
    return {name: svg for name, svg in svgs.items() if svg}


def of_reductions(measured: pd.DataFrame, *, grid: Grid) -> dict[str, str]:
    """SVGs by name, for each dataset: what networks come to by what is kept of a corpus; from the measured sources."""
    told = measured.assign(**reduction_results.arms(measured["source"], grid=grid))
    here = {dataset.name: told[told["dataset"] == dataset.name] for dataset in grid.datasets}
    return {
        f"reductions_{name}": reductions.drawn(part, grid=grid)
        for name, part in here.items()
        if part["value"].notna().any()
    }


def _colours(grid: Grid) -> dict[str, str]:
    return palette([source.name for source in grid.sources])


def _roc(rows: pd.DataFrame, curves: pd.DataFrame, *, dataset: str, grid: Grid) -> str:
    of_dataset = curves[curves["dataset"] == dataset]
    panels = roc.panels_of(rows[rows["dataset"] == dataset], of_dataset, grid=grid)
    return roc.drawn(of_dataset, panels=panels, colours=_colours(grid)) if panels else ""


def _seeds(values: pd.DataFrame, *, dataset: str, grid: Grid) -> str:
    here = values[(values["dataset"] == dataset) & (values["label"] == MACRO)]
    return "" if here.empty else seeds.drawn(here, colours=_colours(grid), grid=grid)


def _replicates(pairs: pd.DataFrame, resampled: pd.DataFrame, dataset: str, grid: Grid) -> str:
    if pairs.empty:
        return ""
    here = resampled[resampled["dataset"] == dataset]
    return replicates.drawn(pairs, here, colours=_colours(grid), grid=grid)


def _ranks(rows: pd.DataFrame, grid: Grid) -> str:
    """The ranks, where there are sources and test sets enough."""
    values = pivot.ranked(rows, grid=grid)
    if values.empty:
        return ""
    # seaborn, which this brings with it, takes seconds to load: only what draws ranks waits for it
    from headwater.reporting.figures import ranks

    return ranks.drawn(values, colours=_colours(grid), grid=grid)
