"""Keeps the images whose structure (SSIM) differs from that of all images kept before them."""

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.neighbours.similarity import structural
from headwater.data.reductions import Kept, _images

OF_PICTURES = True


class Options(Record):
    """What the user may choose."""

    similarity: float = Field(0.9, ge=0, le=1)
    """An image is dropped if it is at least so similar; what arXiv 2410.14524 took is not published."""
    share: float | None = Field(None, gt=0, le=1)
    """Instead of a similarity: keep this share of each volume, or of the corpus."""
    per: Literal["volume", "corpus"] = "volume"
    """Compare within a volume (series, else examination, else patient), or all images of the corpus."""
    mode: Literal["leader", "neighbour"] = "leader"
    """Hold each image against all that are kept before it, or against the last of them only."""

    def model_post_init(self, context: object) -> None:
        """Refuse two sizes."""
        if self.share is not None and "similarity" in self.model_fields_set:
            raise ValueError("either similarity or share, and not both")


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> Kept:
    """Leaders by structural similarity of the prepared images."""
    return _images.alike(cases, images, options=options, similarity=structural)
