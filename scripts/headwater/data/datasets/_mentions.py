"""Labels that programs extracted from reports: positive, negative, uncertain, or not mentioned."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from headwater.data.io.sheets import refuse_other
from headwater.data.tables import TARGET

TAKEN_AS = {"negative": 0.0, "positive": 1.0, "ignored": math.nan}
"""The values of the options `uncertain` and `missing`, and the target that each stands for."""


def columns(labels: Sequence[str], *, spellings: Mapping[str, tuple[str, ...]] | None = None) -> dict:
    """For `read_sheet`: the spellings of each label's column, by default its own name."""
    return {label: (spellings or {}).get(label, (label,)) for label in labels}


def targets(sheet: pd.DataFrame, *, labels: Sequence[str], uncertain: str, missing: str, file: Path) -> pd.DataFrame:
    """A target column per label, float32, from cells with 1.0, 0.0, -1.0 (uncertain) or nothing (not mentioned)."""
    # the same values may be written as 1 or as 1.0
    values = {"1": 1.0, "0": 0.0, "-1": TAKEN_AS[uncertain]}
    values |= {f"{word}.0": value for word, value in values.items()} | {"": TAKEN_AS[missing]}
    refuse_other(sheet, columns=labels, known=values, file=file, remedy="1.0, 0.0, -1.0 or nothing at all")
    read = {TARGET + label: sheet[label].map(values).astype("float32") for label in labels}
    return pd.DataFrame(read, index=sheet.index)
