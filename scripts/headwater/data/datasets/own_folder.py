"""A folder of your own: single images, and one CSV with the patient and the labels of each image."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.data.datasets import Card, _own_pictures, _own_table
from headwater.data.datasets._own_table import Columns, Layout

CARD = Card(
    title="A folder of one's own",
    licence="your own to know",
    citation="none",
    url="https://example.org/your-own",
    modality="image",
    task="multilabel",
    labels=(),
    patients=True,
    hosted_logging=False,
)

LAYOUT = Layout(
    places=("file", "patient", "study", "series", "position", "split", "sex", "age", "site", "view"),
    needed=("file", "patient"),
)

LABEL_OPTIONS = ("table", "file", "labels", "classes", "numbers", "title", "licence", "modality")
"""Options that change labels only, neither images nor splits."""

PICTURES, DICOMS = _own_pictures.READABLE, _own_pictures.DICOMS
"""The suffixes of files that are read, and of those of them that are DICOM files."""

PIXEL_OPTIONS = ("bits",)
"""Options on which the pixels depend."""


class Options(Columns):
    """The names of the columns, and how pictures are read."""

    file: str = "file"
    """Path of the image below the folder: PNG, JPEG, TIFF, PGM, or DICOM of one frame."""
    patient: str = "patient"
    """Patient of the image; "" if unknown, and each image then counts as a patient."""
    series: str = "series"
    """The volume of a slice."""
    position: str = "position"
    """The position of a slice in its volume, along its normal."""
    view: str = "view"
    """Projection, for the archive's `projections`."""
    modality: Literal["image", "radiograph", "CT", "MRI", "photograph"] = "image"
    """The kind of the images."""
    bits: Literal["guessed", 8, 10, 12, 14, 16] = "guessed"
    """Bits that the values of grey PNG and TIFF files in 16 bits have, such as 12: their highest value becomes white.
    By default the fewest that hold the values of the image itself, which may brighten a dark image."""


def card(options: Options) -> Card:
    """The card by the options."""
    described = {"title": options.title, "licence": options.licence, "modality": options.modality}
    task = "multiclass" if options.classes and isinstance(options.classes, str) else "multilabel"
    patients = options.patient != ""
    return CARD.model_copy(update={**described, "task": task, "labels": options.labels, "patients": patients})


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The labels by the options, or else by the table."""
    return _own_table.labels(_own_table.table_of(folder, options), options, LAYOUT)


def numbers(options: Options) -> tuple[str, ...]:
    """The numbers by the options."""
    return options.numbers


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table."""
    return [_own_table.table_of(folder, options)]


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per line of the table, in its order; mistakes are reported with line and column."""
    catalogue = read_sample(folder, options, rows=None)
    _own_table.refuse_all_absent(catalogue["file"], folder, options, column=options.file, what="images")
    return catalogue


def read_sample(folder: Path, options: Options, *, rows: int | None) -> pd.DataFrame:
    """The catalogue of the first `rows` lines of the table and of as many others, whether or not the images exist."""
    found = _own_table.read(folder, options, LAYOUT, rows=rows)
    _own_pictures.refuse_other_files(found)
    if "series" not in found.named:
        return _own_table.catalogue(found)[0]
    cells = found.cells["position"]
    heights = pd.to_numeric(cells, errors="coerce")
    placed = partial(_own_table.numbers, cells, heights, column=options.position, table=found.table)
    catalogue, (height,) = _own_table.catalogue(found, placed)
    return catalogue.assign(series=found.cells["series"], position=height)


def read_pixels(folder: Path, case: Mapping[str, Any], *, bits: int | Literal["guessed"] = "guessed") -> np.ndarray:
    """One image: uint8 (height, width), or in colour (height, width, 3)."""
    return _own_pictures.read(folder / case["file"], bits=bits)
