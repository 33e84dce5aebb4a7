"""As published: the comparisons once more by the method of the published chest radiograph study, beside ours."""

import numpy as np

from headwater.data.tables import CHANCE, MACRO, OF_SUBSET
from headwater.evaluation.bootstrap import Runs, image_replicates, measurements, of_recipe
from headwater.evaluation.eligibility import Label
from headwater.evaluation.statistics import published
from headwater.study.comparison import Comparison


def beside(rows: list[dict], runs: Runs, labels: list[Label], *, comparison: Comparison, threads: int) -> list[dict]:
    """The rows of comparisons with the published method's numbers: one seed, images resampled 1,000 times."""
    once = comparison.model_copy(update={"seeds": (min(comparison.seeds),), "resamples": published.RESAMPLES})
    chosen = {recipe: of_recipe(runs, recipe, once) for recipe in comparison.recipes}
    drawn = image_replicates(chosen, labels, comparison=once, threads=threads)
    places = measurements(labels, run=next(iter(runs.values())), comparison=once)
    positions = {label.name: position for position, label in enumerate(labels)}
    means = {MACRO: list(positions)} | {OF_SUBSET + name: comparison.subset(name) for name in comparison.subsets}

    def replicates(row: dict, source: str) -> np.ndarray | None:
        """(labels, resamples) of a row: one label, or all of them for the macro, or those of a subset."""
        of = means.get(row["label"], [row["label"]])
        asked = [(positions[name], row["metric"]) for name in of]
        inside = [places.index(place) for place in asked if place in places]
        if source in ("", CHANCE) or not inside:
            return None
        at = comparison.recipes.index(row["recipe"]), comparison.sources.index(source)
        return drawn[at][inside]

    return [row | _numbers(replicates(row, row["source"]), replicates(row, row["reference"])) for row in rows]


def _numbers(source: np.ndarray | None, reference: np.ndarray | None) -> dict[str, float]:
    """The published method's columns of one row."""
    both = (source, reference)
    numbers = [published.mean_and_sd(part) if part is not None else (np.nan, np.nan) for part in both]
    is_pair = source is not None and reference is not None
    p = published.p(source.mean(axis=0), reference.mean(axis=0)) if is_pair else np.nan
    return dict(zip(published.COLUMNS, (*numbers[0], *numbers[1], p), strict=True))
