"""Keeps a random share of a corpus' images."""

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.records import Record


class Options(Record):
    """What the user may choose."""

    share: float = Field(gt=0, le=1)
    """Share of the images that is kept, rounded to whole images."""
    seed: int = Field(0, ge=0)
    """Another seed keeps other images; with one seed a smaller share lies within a larger one."""


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> np.ndarray:
    """A random set of positions, drawn without replacement."""
    shuffled = np.random.default_rng(options.seed).permutation(len(cases))
    return np.sort(shuffled[: round(options.share * len(cases))])
