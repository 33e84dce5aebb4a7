"""Prose: sentences about a study's size, its warnings, its sources and archives."""

import math
from collections.abc import Iterable

import pandas as pd

from headwater.core import text
from headwater.core.records import Choice
from headwater.core.text import many
from headwater.data import store
from headwater.data.cards import card
from headwater.data.leakage import SHARED
from headwater.data.tables import CHANCE
from headwater.evaluation import multiplicity
from headwater.reporting import formatting
from headwater.study.archive import Archive, is_flat, ndim_of, view_of
from headwater.study.grid import Grid
from headwater.study.leaks import Excuse, is_tested
from headwater.study.source import Source

SPACINGS = {"native": "at each {thing}'s own spacing", "median": "at the median spacing of the training split"}
"""The words for spacings that are no numbers."""

FEW_SEEDS = 5
"""With fewer seeds, the tables warn that training noise is poorly estimated."""


def extent(grid: Grid) -> str:
    """The size of the grid."""
    sizes = {"source": grid.sources, "dataset": grid.datasets, "recipe": grid.recipes, "seed": grid.seeds}
    parts = " × ".join(many(len(part), noun) for noun, part in sizes.items())
    runs = sum(1 for dataset in grid.datasets for _ in grid.runs(dataset.name))
    # not all sources are fitted to all datasets
    whole = runs == math.prod(len(part) for part in sizes.values())
    size = f"{parts} = {many(runs, 'run')}" if whole else f"{many(runs, 'run')} of {parts}"
    return "; ".join(
        [
            size,
            *(
                f"{grid.wording.title('datasets', one.name)} in {one.splits.folds} folds"
                for one in grid.datasets
                if one.splits
            ),
        ]
    )


def _folds(grid: Grid) -> list[str]:
    """Which datasets are in how many folds."""
    in_folds = [dataset for dataset in grid.datasets if dataset.splits]
    return [f"{grid.wording.title('datasets', one.name)} in {one.splits.folds} folds" for one in in_folds]


def warnings(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The warnings above these comparisons, failed controls first."""
    return [
        *_failed_controls(rows, grid),
        *_of_leaks(rows, grid),
        *_of_data(rows, grid),
        *_at_home(rows, grid),
        *_of_seeds(rows, grid),
    ]


def _failed_controls(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """A warning for each failed control."""
    called = grid.wording.title
    sentences = []
    for row in multiplicity.failed(rows).itertuples():
        where = formatting.place_of(row, grid)
        ends = (row.difference_low, row.difference_high)
        difference = formatting.estimate(row.difference, *ends, sign="+", digits=formatting.digits(row.metric))
        against = "guessing" if row.reference == CHANCE else called("sources", row.reference)
        sentences.append(
            f"Do not rely on the numbers of {where}: the control {called('sources', row.source)} differs from "
            f"{against} although it should not ({difference}, adjusted p {formatting.adjusted(row)}). Find out why "
            "first."
        )
    return sentences


def _of_leaks(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Overlaps with the test splits of these comparisons that the config excuses."""
    datasets = [dataset for dataset in grid.datasets if dataset.name in set(rows["dataset"])]
    tested = {grid.images_of(dataset.archive) for dataset in datasets}
    return [
        _excused(excuse)
        for excuse in grid.leaks.excused
        if any(is_tested(part) and part.rpartition(" ")[0] in tested for part in excuse.between)
    ]


def _excused(excuse: Excuse) -> str:
    """An excused overlap in a sentence."""
    both = " and ".join(excuse.between)
    if excuse.kind == "declared":
        return (
            f"{both} come from the same scans under different numbers, so no file can show how many of the test "
            f"patients were also learned from. The study excuses it ({excuse.reason})."
        )
    return f"The study excuses that {both} share {SHARED[excuse.kind]} ({excuse.reason}); ledger.csv counts them."


def dropped(lists: dict[str, pd.DataFrame]) -> list[str]:
    """How many cases of which part were dropped from training, and why, from the lists by archive."""
    parts = [
        f"{many(len(cases), 'case')} of {archive} {split} ({_reasons(cases['kinds'])})"
        for archive, table in lists.items()
        for split, cases in table.groupby("split")
    ]
    if not parts:
        return []
    return [f"Dropped from training, because a test split has their like (leaks.resolve): {'; '.join(parts)}."]


def _reasons(kinds: pd.Series) -> str:
    """What dropped cases share with test splits; a case may share several things."""
    counts = kinds.str.split(", ").explode().value_counts()
    return ", ".join(f"{SHARED[kind]}: {counts[kind]}" for kind in SHARED if kind in counts)


def apart(ledger: pd.DataFrame, *, grid: Grid) -> str:
    """The result of the ledger, in sentences."""
    leaks = ledger[ledger["must_be_apart"] & (ledger["cases"] > 0)]
    parts = many(ledger["part"].nunique(), "part" if grid.in_folds else "split")
    cases = thing(grid.archives) + "s"
    tested = designs(grid, test_split="test split", folds="fold")
    learned = "the data learned from" + ", other folds among them" * bool(grid.in_folds)
    compared = (
        f"The ledger compares {parts} of all datasets and corpora with each other: patients, examinations, identical "
        f"{cases}, and {cases} whose perceptual hashes differ in at most {grid.leaks.distance} of 256 bits; patients "
        "and examinations as far as the archives identify them. "
    )
    if grid.leaks.edited_copies:
        compared += (
            "Where images have sketches, copies that were mirrored, turned, inverted, padded, cropped by up to a tenth "
            "or changed in contrast count as near-identical too. "
        )
    if grid.leaks.resolve:
        compared += "What follows is about the cases that are left after those in question were dropped from training. "
    if leaks.empty:
        return compared + f"No {tested} shares any of them with {learned}."
    overlaps = many(len(leaks), "overlap")
    return compared + f"It found {overlaps} between {tested}s and {learned}, all excused below."


def _of_data(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Warnings of synthetic archives, and of archives that do not identify patients."""
    datasets = [dataset for dataset in grid.datasets if dataset.name in set(rows["dataset"])]
    used = {dataset.archive for dataset in datasets}
    used |= {archive for source in grid.sources for archive in source.archives}
    twins = [archive.name for archive in grid.archives if archive.twin and archive.name in used]
    return synthetic(twins) + [
        f"{grid.wording.title('datasets', dataset.name)}: each case counts as a patient, because the archive does not "
        f"say which {thing([grid.archive(dataset.archive)])}s belong to the same patient. If some do, the intervals "
        "are too narrow."
        for dataset in datasets
        if not card(grid.archive(dataset.archive)).patients
    ]


def _at_home(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Warnings of sources that were pre-trained on the training images of a dataset that they are fitted to."""
    called = grid.wording.title
    return [
        f"{called('sources', source.name)} was pre-trained on training {thing([grid.archive(dataset.archive)])}s of "
        f"{called('datasets', dataset.name)}: its "
        "numbers there do not show what its weights are worth on other data."
        for dataset in grid.datasets
        for source in grid.fitted_to(dataset.name)
        if dataset.name in set(rows["dataset"]) and not source.control
        if grid.images_of(dataset.archive) in grid.learned_by(source)
    ]


def synthetic(twins: list[str]) -> list[str]:
    """The warning of synthetic archives, if there are any."""
    return [f"Synthetic data: no clinical meaning ({', '.join(twins)})."] * bool(twins)


def _of_seeds(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """The warning of few seeds; the noise of trainings is in the differences between folds."""
    seeds = len(grid.seeds)
    if seeds >= FEW_SEEDS or (grid.in_folds and set(rows["dataset"]) <= set(grid.in_folds)):
        return []
    if seeds == 1:
        it, tables = "it", "The tables"
        if grid.in_folds:
            it, tables = f"the numbers of {_named(grid)}", "These"
        return [f"One seed: training noise is not in {it}. {tables} describe these trained networks, not sources."]
    return [
        f"{of_test_split(grid)}{seeds} seeds are too few to estimate training noise well: small differences are "
        "missed, and where trainings vary far more than patients, p can be too small. Use five."
    ]


def of_test_split(grid: Grid) -> str:
    """The datasets that a sentence on test splits is about, to stand before it; nothing where it is about all."""
    return f"{_named(grid)}: " if grid.in_folds else ""


def _named(grid: Grid) -> str:
    """The datasets with a test split."""
    return ", ".join(grid.wording.title("datasets", name) for name in grid.with_test_split)


def designs(grid: Grid, *, test_split: str, folds: str, by: str = " or ") -> str:
    """The words for test splits, for folds, or for both, whichever the study has."""
    return by.join([test_split] * bool(grid.with_test_split) + [folds] * bool(grid.in_folds))


def thing(archives: Iterable[Archive]) -> str:
    """What the cases of archives are called: an image, a volume, or a case where there are both."""
    kinds = {"image" if ndim_of(archive) == 2 or is_flat(archive) else "volume" for archive in archives}
    return "case" if len(kinds) > 1 else next(iter(kinds), "image")


def about(archive: Archive) -> str:
    """The title and modality of an archive, and the size of what networks see of it."""
    made = "synthetic twin of " if archive.twin else ""
    return f"{made}{card(archive).title}, {card(archive).modality}, {extent_of(archive)}"


def extent_of(archive: Archive) -> str:
    """The size of images in pixels, or of the patches of volumes in voxels and how far apart these are."""
    if ndim_of(archive) == 2:
        view = view_of(archive)
        return f"{archive.size} × {archive.size} pixels" + (f", seen in views of {view} × {view}" if view else "")
    spacing = archive.spacing
    if isinstance(spacing, str):
        apart = SPACINGS[spacing].format(thing=thing([archive]))
    else:
        apart = f"of {_by(f'{length:g}' for length in spacing)} {card(archive).unit}"
    return f"patches of {patch_of(archive)} {apart}"


def patch_of(archive: Archive) -> str:
    """The sides of the patch in which networks see volumes, or pictures that are prepared as such."""
    flat = is_flat(archive)
    return f"{_by(map(str, archive.patch[:2] if flat else archive.patch))} {'pixels' if flat else 'voxels'}"


def _by(lengths: Iterable[str]) -> str:
    return " × ".join(lengths)


def way(source: Source, grid: Grid) -> str:
    """How a source got its weights."""
    path = f": {source.weights.path}" if source.weights and source.weights.path else ""
    return nameless_way(source, grid) + path


def nameless_way(source: Source, grid: Grid) -> str:
    """The same without the name of a weights file, for files that leave the study."""
    if source.weights:
        return f"published, {_with_options(source.weights.layout)}"
    if source.method:
        start = (
            f"continued from {grid.wording.title('sources', source.start)}"
            if source.start
            else f"from random weights ({source.drawn})"
        )
        probe = source.probe
        chosen = f", the step chosen by {probe.kind} on {probe.archive}" if probe else ""
        return f"pre-trained here, {_with_options(source.method)}, {start}{chosen}"
    return f"random start: {source.drawn}"


def corpus(source: Source, grid: Grid) -> str:
    """The corpus of a source and its reduction."""
    if not source.corpus:
        return text.NONE
    reduction = _with_options(grid.reductions[source.reduction])
    prefix = "" if source.reduction == grid.reductions[source.reduction].name else f"{source.reduction}: "
    return f"{source.corpus}, {prefix}{reduction}"


def _with_options(choice: Choice) -> str:
    """A plug-in's name with its options in brackets."""
    options = ", ".join(f"{key} {value}" for key, value in sorted(choice.options.items()))
    return choice.name + (f" ({options})" if options else "")


def length(source: Source, grid: Grid) -> str:
    """The length of a source's pre-training."""
    if not source.training:
        return text.NONE
    training = source.training
    long = many(training.steps, "step") if training.steps else f"{training.epochs:g} epochs"
    seen = "patch" if ndim_of(grid.archive(source.corpus)) == 3 else "image"
    batch = f"{training.batch} patches" if seen == "patch" and training.batch > 1 else many(training.batch, seen)
    views = f" in views of {source.view} × {source.view} pixels" if source.view else ""
    return f"{long} of {batch}{views}, seed {source.seed}"


def unreadable(rejects: pd.DataFrame) -> str:
    """The number of unreadable cases, and the most frequent kinds of reasons."""
    if rejects.empty:
        return "none"
    counts = store.kinds(rejects).rename("kind").to_frame().groupby("kind").size().reset_index(name="count")
    counts = counts.sort_values(["count", "kind"], ascending=[False, True])
    frequent = [f"{kind} ({count})" for kind, count in counts.head(3).itertuples(index=False, name=None)]
    return f"{len(rejects)}: " + "; ".join(frequent) + ("; ..." if len(counts) > 3 else "")
