"""Sentences: what a report says in words about its grid, its sources and archives, and its verdict."""

import math

import pandas as pd

from headwater import plugins, tables
from headwater.datasets import Card
from headwater.formats import MACRO
from headwater.grid import Archive, Dataset, Grid, Source
from headwater.records import Choice
from headwater.statistics.significance import smallest

CONFIRMATORY, EXPLORATORY = "confirmatory", "exploratory"
"""The two families of tests: the macro, and single labels."""


def many(count: int, noun: str) -> str:
    """A count with its noun: 1 run, 2 runs."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


# the grid


def extent(grid: Grid) -> str:
    """How large the grid is."""
    sizes = {"source": grid.sources, "dataset": grid.datasets, "recipe": grid.recipes, "seed": grid.seeds}
    runs = math.prod(len(part) for part in sizes.values())
    return " × ".join(many(len(part), noun) for noun, part in sizes.items()) + f" = {many(runs, 'run')}"


FEW_SEEDS = 5
"""Below so many, the tables warn of p-values that are too small."""


def warnings(grid: Grid) -> list[str]:
    """What a reader must know before the first number."""
    used = {dataset.archive for dataset in grid.datasets} | {source.corpus for source in grid.sources}
    twins = [archive.name for archive in grid.archives if archive.twin and archive.name in used]
    said = [f"Synthetic data: no clinical meaning ({', '.join(twins)})."] if twins else []
    if 1 < len(grid.seeds) < FEW_SEEDS:
        said.append(
            f"{len(grid.seeds)} seeds tell their spread poorly: where trainings differ much, p can be too small. "
            "Use five or more."
        )
    said += [
        f"{dataset.name}: cases stand in for patients, because the archive does not tell which images belong to one "
        "patient. If some do, its intervals are too narrow."
        for dataset in grid.datasets
        if not card(grid.archive(dataset.archive)).patients
    ]
    return said


def card(archive: Archive) -> Card:
    """What an archive says of itself."""
    return plugins.load("datasets", archive.kind.name).CARD


def about(archive: Archive) -> str:
    """What an archive is."""
    made = "synthetic twin of " if archive.twin else ""
    return f"{made}{card(archive).title}, {card(archive).modality}, {archive.size} × {archive.size} pixels"


def way(source: Source) -> str:
    """How a source got its weights."""
    if source.weights:
        path = f": {source.weights.path}" if source.weights.path else ""
        return f"published, {_with_options(source.weights.layout)}{path}"
    if source.method:
        start = f", continued from {source.start}" if source.start else ""
        return f"pre-trained here, {_with_options(source.method)}{start}"
    return "random start"


def corpus(source: Source, grid: Grid) -> str:
    """What a source was pre-trained on."""
    if not source.corpus:
        return tables.NONE
    reduction = _with_options(grid.reductions[source.reduction])
    named = "" if source.reduction == grid.reductions[source.reduction].name else f"{source.reduction}: "
    return f"{source.corpus}, {named}{reduction}"


def _with_options(choice: Choice) -> str:
    options = ", ".join(f"{key} {value}" for key, value in sorted(choice.options.items()))
    return choice.name + (f" ({options})" if options else "")


def length(source: Source) -> str:
    """How long a source was pre-trained."""
    if not source.training:
        return tables.NONE
    training = source.training
    long = many(training.steps, "step") if training.steps else f"{training.epochs:g} epochs"
    return f"{long} of {many(training.batch, 'image')}, seed {source.seed}"


def unreadable(rejects: pd.DataFrame) -> str:
    """How many images could not be read, and the most frequent reasons."""
    if rejects.empty:
        return "none"
    reasons = rejects.groupby("reason").size().reset_index(name="count")
    reasons = reasons.sort_values(["count", "reason"], ascending=[False, True])
    told = [f"{reason} ({count})" for reason, count in reasons.head(3).itertuples(index=False, name=None)]
    return f"{len(rejects)}: " + "; ".join(told) + ("; ..." if len(reasons) > 3 else "")


# the verdict


def verdict(rows: pd.DataFrame, *, grid: Grid) -> str:
    """How many of the declared macro tests are significant."""
    family = rows[rows["family"] == CONFIRMATORY]
    if family.empty:
        return "No macro difference could be tested: no dataset has a label with enough patients in its test split."
    found = int(family["significant"].sum())
    level = f"{100 * grid.comparing.level:g}%"
    told = f"{found} of {many(len(family), 'declared macro difference')} {'is' if found == 1 else 'are'} significant"
    doubt = "" if found else " That is no evidence that the sources are equal."
    return f"{told} at {level} after Holm's correction.{doubt}"


def found(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """One sentence for each significant macro difference."""
    lines = []
    for row in rows[rows["significant"] & (rows["family"] == CONFIRMATORY)].itertuples():
        metric = plugins.load("metrics", row.metric)
        better = "better" if (row.difference > 0) == (metric.BETTER == "higher") else "worse"
        recipe = f", {row.recipe}" if len(grid.recipes) > 1 else ""
        difference = tables.estimate(row.difference, row.difference_low, row.difference_high, sign="+")
        lines.append(
            f"{row.dataset}{recipe}: {row.source} is {better} than {row.reference}, {metric.TITLE} {difference}, "
            f"adjusted p {tables.adjusted(row)}"
        )
    return lines


def left_out(rows: pd.DataFrame, *, dataset: Dataset, counts: pd.DataFrame) -> list[str]:
    """One sentence for each label that is not tested, and why; then those that could not help to pick a step."""
    here = rows[(rows["dataset"] == dataset.name) & (rows["label"] != MACRO)].drop_duplicates("label")
    return [
        f"{row.label}: {row.note.split('; ')[0]}; not in the macro"
        for row in here.itertuples()
        if row.note.startswith(("left out", "described only"))
    ] + [
        f"{row.label}: no {'positive' if row.positives == 0 else 'negative'} case in validation; not in the macro that "
        "picks the kept step"
        for row in counts[counts["split"] == "validation"].itertuples()
        if row.label in set(here["label"]) and 0 in (row.positives, row.negatives)
    ]


def legend(grid: Grid) -> str:
    """How to read a table of differences."""
    return (
        f"* and bold: adjusted p at most {grid.comparing.level:g} (macro: Holm; labels: Benjamini-Hochberg). "
        "No star: this study does not tell the two apart; it does not say that they are equal. "
        "≤: the smallest p that the resamples can give."
    )


def notes(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """How the numbers were made, and what is not in them."""
    resamples, fewest = grid.comparing.resamples, grid.comparing.fewest_positive
    sizes = {name: many(int((rows["family"] == name).sum()), "test") for name in (CONFIRMATORY, EXPLORATORY)}
    return [
        f"{resamples} bootstrap replicates draw patients with replacement, all images of a patient together. One draw "
        "serves all sources, seeds, labels and metrics of a dataset: every difference is paired.",
        _seeds(grid),
        "One pre-training per source: its noise is not in the intervals.",
        "Intervals are percentiles of the replicates. p is two-sided, twice the rarer side of zero with the data "
        f"counted once; the smallest that {resamples} replicates can give is {tables.p_value(smallest(resamples))}.",
        "Families declared in advance: confirmatory, the macro of every dataset, pair, recipe and metric "
        f"({sizes[CONFIRMATORY]}, Holm); exploratory, every single label ({sizes[EXPLORATORY]}, Benjamini-Hochberg).",
        f"Labels with fewer than {fewest} positive or negative patients in the test split are described but not "
        "tested; labels without a positive or negative case have no number. Neither is in the macro. This is decided "
        "from the test split before any score is looked at.",
        "The macro is the mean over the same labels in every replicate. A replicate in which a label has no positive "
        "or no negative case is dropped for that label and for the macro, and counted "
        f"(at most {int(rows['dropped'].max())} here).",
        "A difference without a star is no proof of equality.",
    ]


def _seeds(grid: Grid) -> str:
    if len(grid.seeds) == 1:
        return (
            "Each source was fitted once: training noise is not in the intervals, and the tables speak of these "
            "trained networks, not of their sources."
        )
    return (
        f"Each source was fitted {len(grid.seeds)} times (seeds {', '.join(map(str, grid.seeds))}). In each replicate "
        "a source's seeds are resampled, too, with their spread stretched by √(S/(S−1)), because a resample of S seeds "
        "shows only (S−1)/S of their variance."
    )
