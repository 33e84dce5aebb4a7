"""The tables that pass between rules, checked on read and on write, and files that appear whole or not at all."""

import json
from pathlib import Path

import pandas as pd
from pyarrow import parquet

from headwater.core.errors import UserError
from headwater.core.files import whole

TARGET = "target:"
"""Prefix of the columns that hold a label's value: 1 present, 0 absent, NaN unknown."""

MACRO = "macro"
"""What stands for a label where a number is the mean over labels."""

OF_SUBSET = f"{MACRO}: "
"""What stands before the name of a subset where a number is the mean over its labels."""

CHANCE = "chance"
"""What stands for a reference where a source is compared with guessing."""

TEXT, WHOLE, NUMBER, FLAG = "text", "whole number", "number", "yes or no"

COUNTED = {
    "patients": WHOLE,
    "cases": WHOLE,
    "positives": WHOLE,
    "positive_patients": WHOLE,
    "negative_patients": WHOLE,
    "seeds": WHOLE,
    "resamples": WHOLE,
    "tested": FLAG,
    "note": TEXT,
}
"""Columns of what a number of a label rests on."""


def estimated(*names: str) -> dict[str, str]:
    """Columns of quantities, each with its standard error and its interval."""
    return {f"{name}{suffix}": NUMBER for name in names for suffix in ("", "_se", "_low", "_high")}


TABLES: dict[str, dict[str, str]] = {
    # what an archive says of each image, before a pixel is read (datasets -> prepare)
    "catalogue": {
        "case": TEXT,
        "patient": TEXT,
        # the examination that the image belongs to, and who or what took it; "" where the archive does not tell
        "study": TEXT,
        "site": TEXT,
        "file": TEXT,
        "split": TEXT,
        "sex": TEXT,
        "age": NUMBER,
        "view": TEXT,
    },
    # one readable image each, in the order of images.npy (prepare -> all)
    "cases": {
        "row": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        "study": TEXT,
        "site": TEXT,
        "file": TEXT,
        "split": TEXT,
        "sex": TEXT,
        "age": NUMBER,
        "view": TEXT,
        "pixels": TEXT,
    },
    # images that could not be read, and why
    "rejects": {"case": TEXT, "file": TEXT, "reason": TEXT},
    # how many cases and patients of each split bear a label
    "labels": {
        "label": TEXT,
        "split": TEXT,
        "positives": WHOLE,
        "negatives": WHOLE,
        "unknown": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
    },
    # what two parts of the grid share, and what each part holds more than once (ledger -> trainings, report)
    "ledger": {
        "kind": TEXT,
        "part": TEXT,
        "other": TEXT,
        "cases": WHOLE,
        "other_cases": WHOLE,
        "patients": WHOLE,
        "example": TEXT,
        "other_example": TEXT,
        "must_be_apart": FLAG,
        "excuse": TEXT,
    },
    # which rows of images.npy a corpus keeps, in order
    "rows": {"row": WHOLE, "case": TEXT},
    # all training images of a corpus in the order in which a reduction saw them, and what it did with each
    "manifest": {
        "row": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        # series, else examination, else patient; and where in it the image lies, as far as the archive tells
        "volume": TEXT,
        "position": NUMBER,
        "kept": FLAG,
        # the kept image that stands for it, itself where it is kept; "" and -1 where none does
        "leader": TEXT,
        "leader_row": WHOLE,
        # from the leader; empty where a reduction measures none
        "distance": NUMBER,
    },
    # one row per case and label (predict -> compare)
    "predictions": {
        "dataset": TEXT,
        "source": TEXT,
        "recipe": TEXT,
        "seed": WHOLE,
        "case": TEXT,
        "patient": TEXT,
        "label": TEXT,
        "target": NUMBER,
        "score": NUMBER,
    },
    # what a network says of the test cases of other datasets: one row per dataset, case and finding, `label` as it is
    # called there, `asked` as it is called where the network was fitted (transport -> cross)
    "elsewhere": {
        "dataset": TEXT,
        "source": TEXT,
        "recipe": TEXT,
        "seed": WHOLE,
        "tested_on": TEXT,
        "case": TEXT,
        "patient": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "target": NUMBER,
        "score": NUMBER,
    },
    # one row per metric, recipe, source, dataset that was fitted to, and label; `dataset` is the one tested on, `home`
    # the same source fitted to that one, over the same findings (cross -> report)
    "crossed": {
        "dataset": TEXT,
        "fitted_to": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "findings": WHOLE,
        "value": NUMBER,
        "value_se": NUMBER,
        "value_low": NUMBER,
        "value_high": NUMBER,
        "home_value": NUMBER,
        "home_se": NUMBER,
        "home_low": NUMBER,
        "home_high": NUMBER,
        "difference": NUMBER,
        "difference_se": NUMBER,
        "difference_low": NUMBER,
        "difference_high": NUMBER,
        "degrees_of_freedom": NUMBER,
        "p": NUMBER,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "tested": FLAG,
        "few": FLAG,
        "note": TEXT,
    },
    # one row per metric, recipe, label, source and reference; no reference: the source alone (compare -> report)
    "comparisons": {
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "label": TEXT,
        "source": TEXT,
        "reference": TEXT,
        "value": NUMBER,
        "value_se": NUMBER,
        "value_low": NUMBER,
        "value_high": NUMBER,
        "reference_value": NUMBER,
        "reference_se": NUMBER,
        "reference_low": NUMBER,
        "reference_high": NUMBER,
        "difference": NUMBER,
        "difference_se": NUMBER,
        "difference_low": NUMBER,
        "difference_high": NUMBER,
        "degrees_of_freedom": NUMBER,
        "p": NUMBER,
        # the same question asked of the replicates alone, and the smallest p that they can give
        "p_percentile": NUMBER,
        "smallest_p": NUMBER,
        # against the margin; the interval covers 1 - 2 x level
        "p_noninferior": NUMBER,
        "p_equivalent": NUMBER,
        "margin_low": NUMBER,
        "margin_high": NUMBER,
        # difference in standard deviations of one training; share of seed pairs in which the source is better
        "effect": NUMBER,
        "superiority": NUMBER,
        # the published study's way, where it is asked for
        "published_value": NUMBER,
        "published_sd": NUMBER,
        "published_reference": NUMBER,
        "published_reference_sd": NUMBER,
        "published_p": NUMBER,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "dropped": WHOLE,
        "tested": FLAG,
        "few": FLAG,
        "note": TEXT,
    },
    # what each run reached, over all cases (compare -> report)
    "values": {
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "label": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "value": NUMBER,
    },
    # macro differences with patients and seeds resampled; empty where undefined (compare -> report)
    "replicates": {
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "reference": TEXT,
        "replicate": WHOLE,
        "difference": NUMBER,
    },
    # what each run predicted, and the files that came from, by their SHA-256 (compare, examine -> report)
    "provenance": {
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "run": TEXT,
        # predictions.parquet, validation.parquet or elsewhere.parquet of the run, and its fingerprint
        "file": TEXT,
        "predictions": TEXT,
        "record": TEXT,
        "model": TEXT,
        "encoder": TEXT,
        "split": TEXT,
    },
    # what each run's validation split settles, before its test split is looked at (examine)
    "settled": {
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "label": TEXT,
        # one for all labels, which makes the log loss of the known targets least
        "temperature": NUMBER,
        "log_loss": NUMBER,
        "log_loss_scaled": NUMBER,
        "known": WHOLE,
        # the least score at which alarms pass over this share of the negatives
        "specificity": NUMBER,
        "threshold": NUMBER,
        "cases": WHOLE,
        "positives": WHOLE,
        "negatives": WHOLE,
        "note": TEXT,
    },
    # how far scores can be read as probabilities; `scores`: raw, or scaled by temperature (examine -> report)
    "calibration": {
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        # what the test split calls it, and what the network calls it
        "label": TEXT,
        "asked": TEXT,
        "scores": TEXT,
        **estimated("intercept", "slope", "brier", "ratio"),
        **COUNTED,
    },
    # points of the reliability plots, seeds pooled; equal scores share a bin (examine -> report)
    "reliability": {
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "scores": TEXT,
        "bin": WHOLE,
        "predicted": NUMBER,
        "observed": NUMBER,
        "low": NUMBER,
        "high": NUMBER,
        "scored": WHOLE,
        "patients": WHOLE,
    },
    # what alarms find and miss on the test split, at the thresholds of the validation split (examine -> report)
    "thresholds": {
        "dataset": TEXT,
        "fitted_to": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "asked": TEXT,
        "asked_specificity": NUMBER,
        # the mean over seeds, the lowest and the highest
        "threshold": NUMBER,
        "threshold_low": NUMBER,
        "threshold_high": NUMBER,
        **estimated("sensitivity", "specificity", "ppv", "npv"),
        **COUNTED,
    },
    # the first metric in groups of the test patients, each held against all others (examine -> report)
    "subgroups": {
        "dataset": TEXT,
        "metric": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "label": TEXT,
        "characteristic": TEXT,
        "group": TEXT,
        **estimated("value"),
        "rest": NUMBER,
        **estimated("difference"),
        # of its characteristic the group that lies furthest from all others
        "largest": FLAG,
        "patients": WHOLE,
        "cases": WHOLE,
        "positives": WHOLE,
        "positive_patients": WHOLE,
        "negative_patients": WHOLE,
        "seeds": WHOLE,
        "resamples": WHOLE,
        "note": TEXT,
    },
    # ROC curves of the runs, thinned for drawing (compare -> report)
    "curves": {
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "label": TEXT,
        "false_positive_rate": NUMBER,
        "true_positive_rate": NUMBER,
    },
}

KEYS = {
    "catalogue": ["case"],
    "cases": ["case"],
    "rejects": ["case"],
    "labels": ["label", "split"],
    "ledger": ["kind", "part", "other"],
    "rows": ["row"],
    "manifest": ["row"],
    "predictions": ["case", "label"],
    "elsewhere": ["tested_on", "case", "label"],
    "crossed": ["fitted_to", "metric", "recipe", "source", "label"],
    "comparisons": ["metric", "recipe", "label", "source", "reference"],
    "values": ["metric", "recipe", "label", "source", "seed"],
    "replicates": ["metric", "recipe", "source", "reference", "replicate"],
    "settled": ["recipe", "source", "seed", "label"],
    "calibration": ["fitted_to", "recipe", "source", "label", "asked", "scores"],
    "reliability": ["fitted_to", "recipe", "source", "label", "asked", "scores", "bin"],
    "thresholds": ["fitted_to", "recipe", "source", "label", "asked"],
    "subgroups": ["recipe", "source", "label", "characteristic", "group"],
    "provenance": ["dataset", "recipe", "source", "seed", "file"],
}
"""Columns that together may name a row only once."""

OPTIONAL: dict[str, dict[str, str]] = {
    # of slices: the volume that they belong to, where in it they lie along its normal, and how far apart their rows
    # and columns are as they were read, in millimetres
    table: {"series": TEXT, "position": NUMBER, "row_spacing": NUMBER, "column_spacing": NUMBER}
    for table in ("catalogue", "cases")
}
"""Columns that a table may have besides its own."""

WITH_TARGETS = ("catalogue", "cases")
"""Tables that have a target column per label besides their own."""

SPLITS = ("train", "validation", "test")


def is_mean(label: str) -> bool:
    """Whether what stands for a label is a mean over labels, all of them or a subset."""
    return label == MACRO or label.startswith(OF_SUBSET)


def labels_of(frame: pd.DataFrame) -> list[str]:
    """The labels that a table of cases has targets for, in order."""
    return [column.removeprefix(TARGET) for column in frame.columns if column.startswith(TARGET)]


def check(frame: pd.DataFrame, table: str, *, file: Path | str = "table") -> pd.DataFrame:
    """The frame in the form of `table`: known columns in order, right kinds, keys that occur once; else a refusal."""
    optional = {name: kind for name, kind in OPTIONAL.get(table, {}).items() if name in frame.columns}
    columns = TABLES[table] | optional
    targets = [column for column in frame.columns if column.startswith(TARGET)] if table in WITH_TARGETS else []
    absent = [column for column in columns if column not in frame.columns]
    strange = [column for column in frame.columns if column not in columns and column not in targets]
    if absent or strange:
        wrong = [f"column {name!r} is missing" for name in absent] + [f"column {name!r} is unknown" for name in strange]
        raise UserError(f"not a table of {table}: " + ", ".join(wrong), file=file, remedy="make it again")
    formed = pd.DataFrame({name: _column(frame[name], kind, file) for name, kind in columns.items()})
    if targets:
        values = {name: _column(frame[name], NUMBER, file).astype("float32") for name in targets}
        formed = pd.concat([formed, pd.DataFrame(values)], axis=1)
    keys = KEYS.get(table)
    if keys and formed.duplicated(keys).any():
        twice = formed.loc[formed.duplicated(keys), keys].iloc[0].tolist()
        raise UserError(
            f"{', '.join(keys)} {twice} occurs more than once", file=file, remedy="each may stand there once"
        )
    return formed


def _column(values: pd.Series, kind: str, file: Path | str) -> pd.Series:
    """One column as its kind."""
    values = values.reset_index(drop=True)
    if kind != NUMBER and values.isna().any():
        raise UserError(f"column {values.name!r} has empty cells", file=file, remedy="fill them in")
    try:
        if kind == TEXT:
            return values.astype(str)
        if kind == NUMBER:
            return values.astype("float64")
        numbers = pd.to_numeric(values)
        formed = numbers.astype("int64" if kind == WHOLE else "bool")
    except (ValueError, TypeError) as error:
        raise UserError(f"column {values.name!r} is no {kind}: {error}", file=file, remedy="make it again") from None
    if (formed != numbers).any():
        wrong = values[formed != numbers].iloc[0]
        raise UserError(f"column {values.name!r} is no {kind}: {wrong}", file=file, remedy="make it again")
    return formed


def read_table(path: Path, table: str, *, where: tuple[str, str] | None = None) -> pd.DataFrame:
    """A table from Parquet, checked; with `where`, a column and its value, only the rows that have it."""
    try:
        frame = pd.read_parquet(path, filters=where and [(where[0], "==", where[1])])
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot be read: {error}", file=path, remedy="delete it and run the rule that makes it again"
        ) from None
    return check(frame, table, file=path)


def read_column(path: Path, column: str) -> pd.Series:
    """One column of a table from Parquet, without reading the others."""
    try:
        return pd.read_parquet(path, columns=[column])[column]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"cannot be read: {error}", file=path, remedy="delete it and run the rule that makes it again"
        ) from None


def told(path: Path) -> dict[str, str]:
    """What a table in Parquet tells of where it came from; nothing if it was written without."""
    try:
        kept = (parquet.read_schema(path).metadata or {}).get(b"PANDAS_ATTRS", b"{}")
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot be read: {error}", file=path, remedy="delete it and run the rule that makes it again"
        ) from None
    return json.loads(kept)


def write_table(frame: pd.DataFrame, path: Path, table: str, *, origin: dict[str, str] | None = None) -> None:
    """A checked table as Parquet, whole or not at all, with what is told of where it came from."""
    formed = check(frame, table, file=path)
    formed.attrs = dict(sorted((origin or {}).items()))
    with whole(path) as temporary:
        formed.to_parquet(temporary, index=False)
