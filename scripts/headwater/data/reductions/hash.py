"""Keeps the images whose hash differs from those of all images kept before them: Hash-6 of the study on CT slices.

That is arXiv 2410.14524 as its code has it: difference hashes, at most 6 bits apart, volume by volume. Here the order
is anatomical where the archive tells positions; there it is that of file names without leading zeros.
"""

from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.neighbours import leaders
from headwater.data.reductions import Kept, _thinning, groups

OF_PICTURES = True


class Options(Record):
    """What the user may choose."""

    of: Literal["difference", "perceptual", "average"] = "difference"
    """Which hash of 64 bits: brighter than its left neighbour; low frequencies above their median; above the mean."""
    distance: int = Field(6, ge=0, le=64)
    """An image is dropped if at most so many bits differ; the study has 3, 6 and 12."""
    share: float | None = Field(None, gt=0, le=1)
    """Instead of a distance: keep this share of each volume, or of the corpus."""
    per: Literal["volume", "corpus"] = "volume"
    """Compare within a volume (series, else examination, else patient), or all images of the corpus."""
    mode: Literal["leader", "neighbour"] = "leader"
    """Hold each image against all that are kept before it, or against the last of them only."""

    def model_post_init(self, context: object) -> None:
        """Refuse two sizes."""
        if self.share is not None and "distance" in self.model_fields_set:
            raise ValueError("either distance or share, and not both")


def keep(cases: pd.DataFrame, images: np.ndarray, *, options: Options) -> Kept:
    """Leaders by hash."""
    words = cases[options.of].to_numpy(np.uint64)

    def lead(rows: np.ndarray, threshold: float, among: np.ndarray | None) -> np.ndarray:
        if options.mode == "leader":
            return leaders.by_hash(words[rows], distance=int(threshold), groups=among)
        between = partial(_between, words[rows].tolist())
        return leaders.by_neighbour(len(rows), threshold=threshold, between=between, groups=among)

    return _thinning.thinned(
        len(cases),
        groups=groups(cases, per=options.per),
        threshold=options.distance if options.share is None else range(leaders.BITS + 1),
        share=options.share,
        lead=lead,
        away=lambda one, other: leaders.apart(words[one], words[other]),
    )


def _between(words: list[int], one: int, other: int) -> int:
    """Bits in which two of the words differ."""
    return (words[one] ^ words[other]).bit_count()
