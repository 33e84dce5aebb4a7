"""Pictures that are not stored: decoded from the archive's files whenever they are used, as `prepare` decoded them.

Their `images.npy` holds, in place of pixels, the record of the archive as a text.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import pixel_options
from headwater.study.archive import Archive, window_of


class Unstored(Record):
    """How pictures are decoded again."""

    archive: Archive
    channels: int
    """1, or 3 if any picture is in colour."""


class Decoded:
    """The pictures of some cases, in their order, read like an array; several are decoded at a time."""

    def __init__(self, text: str, *, cases: pd.DataFrame, file: Path):
        try:
            told = Unstored.model_validate_json(text)
        except ValidationError:
            thing = "does not say how pictures are decoded"
            raise UserError(thing, file=file, remedy="delete it and run prepare again") from None
        self._archive, self._cases = told.archive, cases
        self.shape = (len(cases), told.channels, told.archive.size, told.archive.size)
        """(cases, channels, height, width)."""
        self.dtype = np.dtype(np.int16 if window_of(told.archive) else np.uint8)
        """uint8 of shades, or int16 of Hounsfield units."""

    def __len__(self) -> int:
        return len(self._cases)

    def __getitem__(self, rows: np.ndarray | int | slice) -> np.ndarray:
        numbers = np.arange(len(self))[rows]
        if not numbers.ndim:
            return self._image(int(numbers))
        images = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        for place, image in enumerate(self.each(numbers)):
            images[place] = image
        return images

    def each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The pictures of some rows (count,), one after the other, while the next are decoded."""
        return self._threads.map(self._image, rows.tolist())

    def file(self, row: int) -> Path:
        """The file of a picture."""
        return Path(self._archive.folder) / self._cases["file"].iloc[row]

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        # the processors of this process, which the processes of a training share
        count = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        return ThreadPoolExecutor(max(count, 1), thread_name_prefix="decode")

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: column.to_numpy() for name, column in self._cases.items()}

    def _image(self, row: int) -> np.ndarray:
        case = {name: column[row] for name, column in self._columns.items()}
        pixels = decoded(case, archive=self._archive)
        # a grey picture among pictures in colour
        return np.broadcast_to(pixels, self.shape[1:])


def decoded(case: Mapping[str, Any], *, archive: Archive) -> np.ndarray:
    """A picture of an archive, decoded and resized: (channels, size, size)."""
    # not above: trainings on stored pictures have no use for it
    from headwater.data.resizing import fitted

    plugin = registry.load("datasets", archive.kind.name)
    how = pixel_options(plugin, registry.chosen("datasets", archive.kind))
    pixels = plugin.read_pixels(Path(archive.folder), case, **how)
    return fitted(pixels, size=archive.size, resize=archive.resize)
