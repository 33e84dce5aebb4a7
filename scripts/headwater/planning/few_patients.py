"""Few patients: datasets on which too few patients are known for a test or for a choice, told before any training."""

import math
from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from headwater.core.text import many
from headwater.study.config import Config
from headwater.study.folds import Folds

FEW_TO_CHOOSE = 10
"""Patients of a validation split below which it says little of which step is best."""

FEWEST_OTHERS = 2
"""Patients outside a fold: one to train, and one for validation."""


def notes(config: Config, counts: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    """One line for each dataset that can test no label or hardly choose a step, given the label counts of archives."""
    grid, fewest = config.grid(), config.comparison.fewest_positive
    for name, dataset in config.datasets.items():
        table = counts.get(dataset.archive)
        if table is None or table.empty:
            continue
        table = _in_a_fold(table, dataset.splits) if dataset.splits else table
        labels = dataset.listed or tuple(table["label"].unique())
        by_label = _smaller_classes(table, labels=labels, classes=grid.comparison(name).classes_of)
        if by_label and max(by_label.values()) < fewest:
            label, most = max(by_label.items(), key=lambda pair: pair[1])
            where = "all folds" if dataset.splits else "test"
            yield (
                f"datasets.{name}: no label can be tested, only described: none has {fewest} patients in {where} with "
                f"it and {fewest} without it (comparison.fewest_positive; the most has {label}, {most}); choose other "
                f"labels, or {'add patients' if dataset.splits else 'enlarge the test split'}"
            )
        choosing = table[(table["split"] == "validation") & table["label"].isin(labels)]
        if choosing.empty:
            # labels that the archive does not have, which others report
            continue
        place = f"datasets.{name}.splits" if dataset.splits else f"archives.{dataset.archive}"
        patients = int((choosing["positive_patients"] + choosing["negative_patients"]).max())
        if patients < FEW_TO_CHOOSE:
            yield (
                f"datasets.{name}: {patients} patient{'s' * (patients != 1)} at most in validation, too few to tell "
                f"which step is best; raise {place}.validation"
            )


def too_many_folds(config: Config, counts: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    """One line for each dataset with too few patients of whom a label is known for its folds."""
    for name, dataset in config.datasets.items():
        table = counts.get(dataset.archive)
        if dataset.splits and table is not None and len(table):
            known = table.groupby("label")[["positive_patients", "negative_patients"]].sum().sum(axis=1).max()
            folds = dataset.splits.folds
            if known < folds or known - math.ceil(known / folds) < FEWEST_OTHERS:
                what = f"{folds} folds, but {many(known, 'patient')} of whom a label is known"
                yield f"datasets.{name}.splits.folds: {what}; {_remedy(known, folds)}"


def _remedy(known: int, folds: int) -> str:
    """Fewer folds where as many folds as patients would do; else more patients."""
    if folds > known > FEWEST_OTHERS:
        return "set fewer folds"
    return f"add patients, as the other folds must have {FEWEST_OTHERS}, one to train and one for validation"


def _in_a_fold(counts: pd.DataFrame, folds: Folds) -> pd.DataFrame:
    """The counts of labels where all cases are tested, and all but a fold's learned from; a share for validation."""
    whole = counts.groupby("label", sort=False).sum(numeric_only=True).reset_index()
    numbers = whole.columns.drop("label")
    learned = 1 - 1 / folds.folds
    shares = {"train": learned * (1 - folds.validation), "validation": learned * folds.validation, "test": 1}
    parts = [
        whole.assign(split=split, **{name: (whole[name] * share).round().astype(int) for name in numbers})
        for split, share in shares.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _smaller_classes(
    counts: pd.DataFrame, *, labels: tuple[str, ...], classes: Callable[[str], tuple[str, ...]]
) -> dict[str, int]:
    """For each label the patients in test of its smaller class; 0 for one that no network can learn."""
    rows = {(row.label, row.split): row for row in counts.itertuples()}
    smaller = {}
    for label in labels:
        if (label, "test") in rows:
            taught = all(getattr(rows[label, "train"], f"{kind}s") for kind in classes(label))
            many = min(getattr(rows[label, "test"], f"{kind}_patients") for kind in classes(label))
            smaller[label] = many if taught else 0
    return smaller
