"""A dataset dealt into folds, and synthetic predictions of the runs on each fold, as `predict` would write them."""

from pathlib import Path

import pandas as pd

from headwater.data import splits
from headwater.data.store import CASES
from headwater.data.tables import TARGET, labels_of
from headwater.study.folds import Fold, Folds, in_fold
from predictions_made import cohort, told, written

PRODUCTS = ("comparisons", "curves", "values", "replicates", "provenance")


def prepared(path: Path, *, labels: dict[str, float], patients: int = 60, images: int = 2) -> pd.DataFrame:
    """The cases of an archive, which `prepare` would have put into its test split, written to a table."""
    cases = cohort(patients=patients, images=images, labels=labels)
    told(path, cases, **{TARGET + label: cases[label] for label in labels})
    return CASES.read(path)


def predicted(
    folder: Path,
    cases: pd.DataFrame,
    *,
    strengths: dict[str, float],
    folds: Folds,
    dataset: str = "chest",
    seeds: tuple[int, ...] = (0, 1),
) -> list[Path]:
    """The predictions of each source and seed for each fold, in the order of the grid."""
    files = []
    for number in range(folds.folds):
        dealt = splits.in_fold(cases, Fold(folds=folds, number=number))
        tested = dealt[dealt["split"] == "test"]
        targets = {TARGET + label: label for label in labels_of(cases)}
        named = tested[["case", "patient", *targets]].rename(columns=targets).reset_index(drop=True)
        files += written(folder, named, strengths=strengths, seeds=seeds, dataset=in_fold(dataset, number))
    return files
