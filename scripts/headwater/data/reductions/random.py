"""Keeps a random share of a corpus' images, or as many as another reduction keeps: the control for its choice."""

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.reductions import Kept


class Options(Record):
    """What the user may choose."""

    share: float | None = Field(None, gt=0, le=1)
    """Share of the images that is kept, rounded to whole images; either this or like."""
    like: str | None = Field(None, json_schema_extra={"means": "reduction"})
    """Another reduction of the config: keep as many images as that one does."""
    seed: int = Field(0, ge=0)
    """Another seed keeps other images; with one seed a smaller share lies within a larger one."""

    def model_post_init(self, context: object) -> None:
        """Refuse two sizes, and none."""
        if (self.share is None) == (self.like is None):
            raise ValueError("say how many: either share or like, and not both")


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> Kept:
    """A random set of positions, drawn without replacement; `reduce` has turned `like` into a share."""
    shuffled = np.random.default_rng(options.seed).permutation(len(cases))
    leader = np.full(len(cases), -1)
    drawn = shuffled[: round(options.share * len(cases))]
    leader[drawn] = drawn
    return Kept(leader=leader)
