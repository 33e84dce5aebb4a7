"""Keeps every n-th image of a corpus, counted patient by patient."""

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.records import Record


class Options(Record):
    """What the user may choose."""

    n: int = Field(ge=1)
    """Keep the first image and then each n-th after it."""


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> np.ndarray:
    """Positions 0, n, 2n, ... over the whole corpus."""
    return np.arange(0, len(cases), options.n)
