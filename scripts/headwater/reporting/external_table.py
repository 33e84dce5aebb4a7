"""The table of external validation: each source on every dataset, by the dataset that its networks were fitted to."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from headwater.core import text
from headwater.data.tables import MACRO
from headwater.reporting import formatting, prose, provenance
from headwater.reporting.printed_table import PrintedTable, plain
from headwater.reporting.results import StudyResults
from headwater.study import label_map, shared_labels
from headwater.study.archive import ndim_of
from headwater.study.grid import Grid

PLACE = ["metric", "recipe", "fitted_to", "source"]
"""The columns that identify a line."""

NUMBERS = (
    *("findings", "value", "value_se", "value_low", "value_high", "home_value", "home_se", "home_low", "home_high"),
    *("difference", "difference_se", "difference_low", "difference_high", "degrees_of_freedom", "p"),
    *("patients", "cases"),
)
"""The numbers of a cell."""


def ordered(crossed: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """All cells in the config's order of lines, datasets and labels, the macro before its labels."""
    datasets = [dataset.name for dataset in grid.datasets]
    orders = {
        "metric": grid.comparing.metrics,
        "recipe": [recipe.name for recipe in grid.recipes],
        "fitted_to": datasets,
        "source": [source.name for source in grid.sources],
        "dataset": datasets,
    }
    keys = {name: crossed[name].map({word: at for at, word in enumerate(names)}) for name, names in orders.items()}
    listed = [_place_of_label(row, grid) for row in crossed.itertuples()]
    order = pd.DataFrame({**keys, "listed": listed, "label": crossed["label"]}, index=crossed.index)
    return crossed.loc[order.sort_values(list(order.columns)).index].reset_index(drop=True)


def _place_of_label(row: Any, grid: Grid) -> int:
    """The position of a label among those that the config lists for its dataset; -1 for the macro."""
    listed = grid.dataset(row.dataset).listed
    return -1 if row.label == MACRO else listed.index(row.label) if row.label in listed else len(listed)


def table(study: StudyResults) -> PrintedTable:
    """The macro of every cell: a line per fitted dataset and source, a column per tested dataset."""
    crossed, grid = study.crossed, study.grid
    macro = ordered(crossed[crossed["label"] == MACRO], grid=grid)
    tested = [dataset.name for dataset in grid.datasets if dataset.name in set(macro["dataset"])]
    lines = [
        (dict(zip(PLACE, place, strict=True)), {row.dataset: row for row in part.itertuples()})
        for place, part in macro.groupby(PLACE, sort=False)
    ]
    shown = pd.DataFrame([_shown(place, cells, tested, grid) for place, cells in lines])
    at_home = plain(shown)
    for position, (place, _) in enumerate(lines):
        at_home.loc[position, _tested_on(place["fitted_to"], grid)] = True
    exact = pd.DataFrame([place | _exact(cells, tested) for place, cells in lines])
    about = study.comparisons[study.comparisons["dataset"].isin(crossed["dataset"])]
    return PrintedTable(
        title="Tested elsewhere",
        shown=shown.drop(columns=formatting.single(grid)),
        bold=at_home.drop(columns=formatting.single(grid)),
        exact=provenance.of_cells(exact, study.provenance, tested_on=sorted(set(crossed["dataset"]))),
        warnings=prose.warnings(about, grid=grid),
        notes=footnotes(crossed, grid=grid),
    )


def _shown(place: dict[str, str], cells: dict[str, Any], tested: list[str], grid: Grid) -> dict[str, str]:
    """One printed line."""
    called = grid.wording.title
    first = {
        "Metric": formatting.titles(grid)[place["metric"]],
        "Recipe": called("recipes", place["recipe"]),
        "Fitted to": called("datasets", place["fitted_to"]),
        "Source": called("sources", place["source"]),
    }
    return first | {_tested_on(name, grid): cell_text(cells[name]) if name in cells else text.NONE for name in tested}


def _tested_on(name: str, grid: Grid) -> str:
    """The heading of the column of a dataset that is tested on."""
    return grid.wording.short("datasets", name)


def cell_text(cell: Any) -> str:
    """A printed cell: the value with its interval, the value at home, and the number of findings."""
    digits = formatting.digits(cell.metric)
    value = formatting.estimate(cell.value, cell.value_low, cell.value_high, digits=digits)
    if value == text.NONE:
        return value
    if cell.dataset == cell.fitted_to:
        return f"{value} (home, {cell.findings})"
    return f"{value} vs {text.plain(cell.home_value, digits=digits)} ({cell.findings})"


def _exact(cells: dict[str, Any], tested: list[str]) -> dict[str, Any]:
    """One line in full precision, with columns `tested_on.name`."""
    return {
        f"{name}.{number}": getattr(cells[name], number) if name in cells else None
        for name in tested
        for number in NUMBERS
    }


def footnotes(crossed: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The footnotes of the table."""
    return [
        "Lines: the dataset that the networks were fitted to; columns: the dataset whose test cases they were shown. "
        f"Each cell: the mean over findings {formatting.covers(grid)}. (home, n): fitted to that same dataset, over "
        "its n labels, as in the table of macros. Other cells (n): over the n findings that both datasets have and "
        "that can be tested; vs: what networks of the same source, fitted at home, reach over the same n findings. "
        "Cells over different findings cannot be compared with each other.",
        f"Which labels of two archives are the same finding is laid down in version {label_map.table().version} of the "
        "table of findings (scripts/headwater/study/label_map.csv); merely similar findings are not shared. Two "
        "readings or copies of one archive share the labels that are spelt alike, and so do archives whose labels the "
        "config names, such as the structures of masks; readings of the same images have the same test cases.",
        "All cells of a column share the same draws of patients. Networks fitted elsewhere and at home learned from "
        "different cases, so their seeds are not paired. Differences from home, their intervals and p are in "
        "crossed.csv, and finding by finding in crossed_labelwise.csv: exploratory, in no declared family, not "
        "corrected.",
        *_controls(grid),
        *_sizes(crossed, grid),
        *_alone(grid),
    ]


def _controls(grid: Grid) -> Iterator[str]:
    """A note on the controls, which have no line."""
    controls = [grid.wording.title("sources", source.name) for source in grid.sources if source.control]
    if controls:
        yield f"Controls stay at home: {', '.join(controls)}."


def _sizes(crossed: pd.DataFrame, grid: Grid) -> Iterator[str]:
    """A note if images are resized to the size that a network was fitted to, or volumes seen in other patches."""
    tested = set(crossed["dataset"])
    called = grid.wording.title
    archives = {
        called("datasets", dataset.name): grid.seen_in(dataset) for dataset in grid.datasets if dataset.name in tested
    }
    pictures = {name: f"{archive.view or archive.size}" for name, archive in archives.items() if ndim_of(archive) == 2}
    if len(set(pictures.values())) > 1:
        yield (
            f"Networks see images at different sizes ({_listed(pictures)} pixels); those of another size are resized "
            "to the one that a network was fitted to, bilinearly with antialiasing."
        )
    patches = {name: prose.patch_of(archive) for name, archive in archives.items() if name not in pictures}
    if len(set(patches.values())) > 1:
        yield (
            f"Networks see volumes in patches of different sizes ({_listed(patches)}); each sees those of another "
            "dataset in patches of the size that it was fitted to, and nothing is resized."
        )


def _listed(sizes: dict[str, str]) -> str:
    """What each dataset has, in words."""
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def _alone(grid: Grid) -> Iterator[str]:
    """A note on datasets that share no finding with another."""
    datasets = [dataset.name for dataset in grid.datasets if not shared_labels.guests(grid, dataset.name).others]
    alone = [grid.wording.title("datasets", name) for name in datasets]
    if alone:
        yield f"No finding is shared with another dataset, so these take no part: {', '.join(alone)}."
