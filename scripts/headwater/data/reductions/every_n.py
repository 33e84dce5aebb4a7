"""Keeps every n-th image of a corpus, counted patient by patient, or volume by volume."""

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.reductions import Kept, groups


class Options(Record):
    """What the user may choose."""

    n: int = Field(ge=1)
    """Keep the first image and then each n-th after it."""
    per: Literal["corpus", "volume"] = "corpus"
    """Count through the whole corpus, or begin anew in each volume (series, else examination, else patient)."""


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> Kept:
    """Positions 0, n, 2n, ...; each stands for those up to the next."""
    volume = groups(cases, per=options.per)
    place = np.arange(len(cases)) if volume is None else cases.groupby(volume).cumcount().to_numpy()
    kept = place % options.n == 0
    leader = np.where(kept, np.arange(len(cases)), -1)
    if volume is None:
        return Kept(leader=np.maximum.accumulate(leader))
    return Kept(leader=pd.Series(leader).groupby(volume).cummax().to_numpy())
