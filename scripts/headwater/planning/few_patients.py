"""Few patients: datasets on which too few patients are known for a test or for a choice, told before any training."""

from collections.abc import Callable, Iterable, Mapping

import pandas as pd

from headwater.study.config import Config

FEW_TO_CHOOSE = 10
"""Patients of a validation split below which it says little of which step is best."""


def notes(config: Config, counts: Mapping[str, pd.DataFrame]) -> Iterable[str]:
    """One line for each dataset that can test no label or hardly choose a step, given the label counts of archives."""
    grid, fewest = config.grid(), config.comparison.fewest_positive
    for name, dataset in config.datasets.items():
        table = counts.get(dataset.archive)
        if table is None or table.empty:
            continue
        labels = dataset.listed or tuple(table["label"].unique())
        by_label = _smaller_classes(table, labels=labels, classes=grid.comparison(name).classes_of)
        if by_label and max(by_label.values()) < fewest:
            label, many = max(by_label.items(), key=lambda pair: pair[1])
            yield (
                f"datasets.{name}: no label can be tested, only described: none has {fewest} patients in test with it "
                f"and {fewest} without it (comparison.fewest_positive; the most has {label}, {many}); choose other "
                "labels, or enlarge the test split"
            )
        choosing = table[(table["split"] == "validation") & table["label"].isin(labels)]
        if choosing.empty:
            # labels that the archive does not have, which others report
            continue
        patients = int((choosing["positive_patients"] + choosing["negative_patients"]).max())
        if patients < FEW_TO_CHOOSE:
            yield (
                f"datasets.{name}: {patients} patient{'s' * (patients != 1)} at most in validation, too few to tell "
                f"which step is best; raise archives.{dataset.archive}.validation"
            )


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
