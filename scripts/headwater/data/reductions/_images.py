"""Leaders by how alike the prepared images are, pair by pair."""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import numpy as np
import pandas as pd
from PIL import Image

from headwater.data.io.windows import as_shades
from headwater.data.neighbours import leaders
from headwater.data.reductions import Kept, _thinning, groups

STEPS = 100
"""With a share, thresholds are tried in steps of a hundredth."""


REMEMBERED = 2**20
"""So many pairs are not compared again: those of a volume of 1,400 images; more would fill the memory."""


class Chosen(Protocol):
    """The options of a reduction that compares images."""

    similarity: float
    share: float | None
    per: str
    mode: str


def alike(
    cases: pd.DataFrame, images: np.ndarray, *, options: Chosen, similarity: Callable[[np.ndarray, np.ndarray], float]
) -> Kept:
    """Leaders where images of at least the similarity that the options name count as the same."""
    rows = cases["row"].to_numpy()

    @lru_cache(REMEMBERED)
    def apart(one: int, other: int) -> float:
        return 1.0 - similarity(grey(images[rows[one]]), grey(images[rows[other]]))

    def lead(places: np.ndarray, threshold: float, among: np.ndarray | None) -> np.ndarray:
        def between(one: int, other: int) -> float:
            return apart(int(places[one]), int(places[other]))

        search = leaders.by_distance if options.mode == "leader" else leaders.by_neighbour
        return search(len(places), threshold=threshold, between=between, groups=among)

    return _thinning.thinned(
        len(cases),
        groups=groups(cases, per=options.per),
        threshold=1.0 - options.similarity if options.share is None else _steps(),
        share=options.share,
        lead=lead,
        away=lambda one, other: np.array(
            [apart(*pair) if pair[0] != pair[1] else 0.0 for pair in zip(one.tolist(), other.tolist(), strict=True)]
        ),
    )


def _steps() -> list[float]:
    """Thresholds from that of equal images on; beyond the last, all images are one."""
    return [*(step / STEPS for step in range(STEPS + 1)), float("inf")]


def grey(pixels: np.ndarray) -> np.ndarray:
    """An image (channels, height, width) without its colours: uint8 (height, width).

    Hounsfield units go from the lowest to the highest of their slice, whatever window trainings see them through.
    """
    if len(pixels) == 1:
        return np.ascontiguousarray(as_shades(pixels[0]))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).convert("L"))
