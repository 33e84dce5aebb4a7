"""Prepared images and what is known of each: the two files that `prepare` leaves, read together."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from headwater import formats
from headwater.refusals import Refusal


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Cases (one row each) and their images, uint8 (cases, channels, size, size), in one order."""

    cases: pd.DataFrame
    images: np.ndarray

    @property
    def size(self) -> int:
        """Width and height of the images in pixels."""
        return self.images.shape[-1]

    @property
    def labels(self) -> list[str]:
        """The labels that the cases have targets for."""
        return formats.labels_of(self.cases)

    def rows(self, split: str) -> np.ndarray:
        """The rows of one split, in order."""
        return np.flatnonzero(self.cases["split"].to_numpy() == split)

    def targets(self, rows: np.ndarray, labels: list[str]) -> np.ndarray:
        """Targets float32 (rows, labels): 1 present, 0 absent, NaN unknown."""
        columns = [formats.TARGET + label for label in labels]
        return self.cases[columns].to_numpy(dtype=np.float32)[rows]


def read(cases: Path, *, images: Path) -> Prepared:
    """Cases and images; refuses files that do not belong together."""
    prepared = Prepared(cases=formats.read_table(cases, "cases"), images=formats.read_images(images))
    if len(prepared.cases) != len(prepared.images):
        raise Refusal(
            f"has {len(prepared.images)} images, {cases} has {len(prepared.cases)} cases",
            file=images,
            remedy="delete both and run prepare again",
        )
    return prepared
