"""Reductions: which images of a corpus a pre-training sees.

A plug-in holds
    Options (optional)                      a record of what the user may choose
    keep(cases, images, *, options) -> Kept  what becomes of each image

`cases` is the corpus' training split as a "cases" table, patient by patient and within a patient slice by slice where
the archive tells positions, else in the order of cases.parquet; that order is part of each method. Besides, it has the
columns `volume` (series, else examination, else patient) and, of the image as it was decoded, `difference`,
`perceptual` and `average` (uint64; see perceptual_hash.py). `images` is the memory-mapped uint8, or int16 of Hounsfield
units, (cases, channels, height, width) of the whole archive; the column `row` of `cases` points into it. Where an
option means a "source" (see registry.MEANINGS), `images` are no pixels but what that source's encoder sees: features
float16 (training images, width), into which `row` points likewise. Of a corpus of volumes `images` is None; a plug-in
that needs pixels or hashes says so by OF_PICTURES = True.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of each image of a corpus."""

    leader: np.ndarray
    """int64 (cases,): the position of the kept image that stands for it: its own where it is kept, -1 where none."""
    distance: np.ndarray | None = None
    """float64 (cases,): how far from its leader it is, where that was measured."""

    @property
    def positions(self) -> np.ndarray:
        """The positions that are kept, in order."""
        return np.flatnonzero(self.leader == np.arange(len(self.leader)))


def groups(cases: pd.DataFrame, *, per: str) -> np.ndarray | None:
    """The number of each case's volume, int64 (cases,), in the order of the cases; none for the corpus as a whole."""
    if per == "corpus":
        return None
    return pd.factorize(pd.MultiIndex.from_frame(cases[["patient", "volume"]]))[0]
