"""Methods: how the numbers were computed and what they do not include, in sentences for the end of the page."""

import math

import pandas as pd

from headwater.core import text
from headwater.core.text import many
from headwater.evaluation.multiplicity import CONFIRMATORY, CONTROL, EXPLORATORY
from headwater.evaluation.statistics.readers import FEWEST_PAIRED
from headwater.reporting import footnotes, prose, verdict
from headwater.study.comparison import FEW_POSITIVE
from headwater.study.grid import Grid


def notes(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """All sentences on the methods of a study."""
    return [
        *(_on_test_split(rows, grid=grid) if grid.with_test_split else []),
        *_over_folds(grid),
        "One pre-training per source: its noise is not in the intervals.",
        *_families(rows, grid),
        _of_labels(grid),
        _of_macro(rows, grid=grid),
        *footnotes.subsets(rows, grid=grid),
        *_targets(grid),
        *verdict.controls(rows, grid=grid),
        *footnotes.published_faults(grid),
        "A difference without a star is no proof of equality.",
    ]


def _on_test_split(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """How datasets with a test split are compared, which are named where others are in folds."""
    sentences = [
        f"{grid.comparing.resamples} bootstrap replicates draw patients with replacement, all "
        f"{prose.thing(grid.archives)}s of a patient together. All sources, seeds, labels and metrics of a dataset "
        "share one draw: every difference is paired.",
        *_method(grid),
        _seeds(grid),
        _percentile(rows),
    ]
    return [prose.of_test_split(grid) + sentence for sentence in sentences]


def _over_folds(grid: Grid) -> list[str]:
    """How datasets in folds are compared, by what nothing is said of them, and how far the test can be trusted."""
    in_folds = [grid.dataset(name) for name in grid.in_folds]
    if not in_folds:
        return []
    of_recipe = any(grid.comparison(name).fractions for name in grid.in_folds)
    learned = "patients that a recipe leaves to learn from" if of_recipe else "other patients"
    dealt = ", ".join(
        f"{grid.wording.title('datasets', dataset.name)} into {dataset.splits.folds}" for dataset in in_folds
    )
    return [
        f"In place of a test split, all patients are dealt into folds, stratified by label ({dealt}). Each fold is "
        f"tested by networks that learned from the others, {many(len(grid.seeds), 'seed')} each, with other draws in "
        "each fold. A metric is computed on the cases of a fold, as scores of different networks are not comparable, "
        "and averaged over seeds, then over folds; differences are taken fold by fold.",
        "Trainings of two folds share most patients, so that a plain t-test over folds finds differences that are not "
        f"there. Here the variance of the mean over k folds is (1/k + tested / {learned}) times that between "
        "folds, and t has k - 1 degrees of freedom (Nadeau and Bengio 2003). No estimate of it is unbiased (Bengio "
        "and Grandvalet 2004): this one is too large where networks hardly depend on whom they learned from, and too "
        "small where they do above all.",
        "Datasets in folds have no bootstrap replicates, percentile p, ROC curves, calibration, thresholds or "
        "subgroups, which would pool the scores of different networks.",
    ]


def _of_labels(grid: Grid) -> str:
    """Which labels are tested, and by which patients this is decided."""
    split = prose.designs(grid, test_split="the test split", folds="all folds together")
    in_one = " (in folds: in one of them)" * bool(grid.in_folds)
    flagged = f"With fewer than {FEW_POSITIVE}, a label is flagged"
    if grid.with_test_split:
        flagged += ", and its t has at most one degree of freedom less than the smaller class has patients"
    return (
        f"Labels with fewer than {grid.comparing.fewest_positive} positive or negative patients in {split} are "
        f"described but not tested; labels without a positive or negative case{in_one} have no number. Neither is in "
        f"the macro. This is decided from {split} before any score is looked at. {flagged}."
    )


def _of_macro(rows: pd.DataFrame, *, grid: Grid) -> str:
    """What the macro is the mean of; without replicates none can be dropped."""
    each = prose.designs(grid, test_split="every replicate", folds="every fold", by=" and ")
    mean = f"The macro is the mean over the same labels in {each}."
    if not grid.with_test_split:
        return mean
    return (
        f"{mean} A replicate in which a label has no positive or no negative case is dropped for that label and for "
        f"the macro, and counted (at most {int(rows['dropped'].max())} here)."
    )


def _method(grid: Grid) -> list[str]:
    """The method of p-values and intervals."""
    one_seed = len(grid.seeds) == 1
    if grid.comparing.method == "percentile":
        return [
            "Intervals are percentiles of the replicates, in which the seeds are resampled too. p is two-sided: twice "
            "the share of replicates on the rarer side of zero, with the data themselves counted as one replicate "
            "(Davison and Hinkley 1997, section 4.2). The ± is the standard error with seeds as readers."
        ]
    if grid.comparing.method == "delong":
        return [
            "One training per source is compared by DeLong's method, with the "
            f"{prose.thing(grid.archives)}s of a patient as a cluster."
        ]
    if one_seed:
        return ["p and intervals come from the difference over its standard error, that of the resampled patients."]
    return [
        "p and intervals come from t, the difference over its standard error, with seeds as the readers of a "
        "multi-reader multi-case study: the method of Obuchowski and Rockette (1995) with the degrees of freedom of "
        "Hillis (2007), extended by the number of patients in the smaller class, and covariances from the resampled "
        "patients. They generalise to new patients and new trainings. The same is computed for these trainings as "
        "fixed, with only the patients random; standard error, interval and p are those of the more cautious of the "
        "two. Intervals of a single value are computed on the logit scale, so that they stay in its range."
    ]


def _seeds(grid: Grid) -> str:
    """How seeds are analysed."""
    seeds = len(grid.seeds)
    if seeds == 1:
        return (
            "Each source was fitted once: training noise is not in it, neither in the intervals nor in p; the tables "
            "describe these trained networks, not their sources."
        )
    fitted = f"Each source was fitted {seeds} times (seeds {', '.join(map(str, grid.seeds))}). "
    if grid.comparing.method == "percentile":
        return fitted + (
            "In each replicate a source's seeds are resampled, and their deviations scaled by √(S/(S−1)), because a "
            "resample of S seeds has only (S−1)/S of their variance."
        )
    if grid.comparing.pairing == "nested" or seeds < FEWEST_PAIRED:
        few = " (with two seeds, pairs would leave one degree of freedom)" if grid.comparing.pairing == "paired" else ""
        return fitted + f"Seeds are nested in their source{few}: they are not paired across sources."
    return fitted + (
        "Seeds are paired: seed k fixes the order of the data and the first weights of the head for every source, so "
        "that differences are taken seed by seed. An A/A control uses other random numbers; its seeds are nested."
    )


def _percentile(rows: pd.DataFrame) -> str:
    """The percentile p, a sensitivity analysis, and its smallest possible value."""
    smallest = rows["smallest_p"].max()
    if math.isnan(smallest):
        return "There is no percentile p: nothing was tested."
    return (
        "The percentile p comes from the replicates alone, with patients and seeds resampled; the smallest that they "
        f"can give is {text.p_value(smallest)}."
    )


def _targets(grid: Grid) -> list[str]:
    """What networks are asked side by side, if they are, and what metrics are then computed from."""
    several = [dataset for dataset in grid.datasets if len(dataset.targets) > 1]
    sentences = [
        f"{grid.wording.title('datasets', dataset.name)}: each network answers {len(dataset.asked)} targets, "
        f"{', '.join(dataset.asked)}, with a head for each; its loss is the mean of theirs."
        for dataset in several
    ]
    if any(len(dataset.tasks) > 1 for dataset in several):
        sentences.append("A metric is computed, and averaged, over the labels whose task gives what it is made from.")
    return sentences


def _families(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """The declared families and their corrections."""
    tests = {name: many(int((rows["family"] == name).sum()), "test") for name in (CONFIRMATORY, EXPLORATORY, CONTROL)}
    by_max_t = grid.comparing.correction == "max_t"
    of_subsets = " and the macro of every subset" if grid.further_macros else ""
    sentences = [
        "Families declared in advance: confirmatory, the macro of every dataset, pair, recipe and metric "
        f"({tests[CONFIRMATORY]}, {'max-T' if by_max_t else 'Holm'}); exploratory, every single label{of_subsets} "
        f"({tests[EXPLORATORY]}, Benjamini-Hochberg); controls, their macros ({tests[CONTROL]}, Holm)."
    ]
    if by_max_t and tests[CONFIRMATORY] != many(0, "test"):
        used = int(rows.loc[rows["family"] == CONFIRMATORY, "correction_resamples"].max())
        sentences.append(
            f"Step-down max-T (Westfall and Young, Romano and Wolf) uses the {used} replicates in which every test of "
            f"the family is defined; {grid.comparing.resamples - used} were dropped."
        )
    return sentences
