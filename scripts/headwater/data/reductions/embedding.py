"""Keeps the images in which an encoder sees something else than in all images kept before them.

The deep embedding of arXiv 2410.14524, whose network and threshold are not published: here the cosine distance of the
features of any source of the study. `reduce` puts those, float16 (cases, width), in the place of the images.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.records import Record
from headwater.data.neighbours import directions, leaders
from headwater.data.reductions import Kept, _thinning, groups

THRESHOLDS = [0.0, *(2.0 ** (quarter / 4) for quarter in range(-80, 5)), float("inf")]
"""With a share, distances from that of equal features on: quarters of an octave from a millionth to 2, then all."""


class Options(Record):
    """What the user may choose."""

    source: str = Field(json_schema_extra={"means": "source"})
    """Whose encoder looks at the images: a source of the config, random, adopted or pre-trained."""
    similarity: float = Field(0.95, ge=-1, le=1)
    """An image is dropped if the cosine of the angle between its features and those of a kept one is at least this."""
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
    """Leaders by the direction of their features."""
    features = directions.without_nothing(images[cases["row"].to_numpy()])

    @lru_cache(1)
    def within(places: bytes) -> np.ndarray:
        some = features[np.frombuffer(places, np.int64)]
        return directions.apart(some, some)

    def lead(rows: np.ndarray, threshold: float, among: np.ndarray | None) -> np.ndarray:
        if options.mode == "neighbour":

            def between(one: int, other: int) -> float:
                return float(directions.pairwise(features[rows[[one]]], features[rows[[other]]])[0])

            return leaders.by_neighbour(len(rows), threshold=threshold, between=between, groups=among)
        if among is None and len(rows) <= directions.BLOCK:
            # a share tries many thresholds on one volume
            return directions.among(within(rows.astype(np.int64).tobytes()) <= threshold)
        return leaders.by_direction(features[rows], threshold=threshold, groups=among)

    return _thinning.thinned(
        len(cases),
        groups=groups(cases, per=options.per),
        threshold=1.0 - options.similarity if options.share is None else THRESHOLDS,
        share=options.share,
        lead=lead,
        away=lambda one, other: directions.pairwise(features[one], features[other]),
    )
