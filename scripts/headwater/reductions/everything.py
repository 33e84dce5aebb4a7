"""Keeps every image of a corpus."""

import numpy as np
import pandas as pd

from headwater.records import Record


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Record) -> np.ndarray:
    """All positions."""
    return np.arange(len(cases))
