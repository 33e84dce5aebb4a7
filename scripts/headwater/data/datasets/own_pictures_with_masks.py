"""A folder of your own pictures with masks: single pictures, their label maps, and one CSV with a row per picture.

A picture is prepared as a volume of one axial slice, so that everything that holds for outlines in volumes holds here:
the ceiling of the prepared grid, patches on structures, and measures on the picture's own grid.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data.datasets import Card, _own_masks, _own_pictures, _own_table
from headwater.data.datasets._masks import numbered
from headwater.data.datasets._own_table import Columns, Layout, Read
from headwater.data.io.raster import FORMATS, MASKS, Frame, frame_of, read_labels
from headwater.data.io.volumes import Volume
from headwater.data.tables import TARGET

CARD = Card(
    title="A folder of one's own pictures with masks",
    licence="your own to know",
    citation="none",
    url="https://example.org/your-own",
    modality="image",
    task="multilabel",
    labels=(),
    patients=True,
    ndim=3,
    flat=True,
    hosted_logging=False,
)

LAYOUT = Layout(
    places=("file", "mask", "pixel_spacing", "patient", "study", "split", "sex", "age", "site", "view"),
    needed=("file", "patient"),
)

ENDINGS = (".png", ".tif", ".tiff")
"""Of files of masks. JPEG changes numbers, and PGM is stretched to its highest one."""

WHITE = 255
"""The value of the structure in masks of a single one that are black and white."""

LARGEST = 100.0
"""Millimetres between two pixels, above which a number is taken for a mistake."""

RED_GREEN_BLUE = (0.299, 0.587, 0.114)
"""Shares of the colours in grey (ITU-R BT.601), as in the views of pictures."""

IN_PIXELS = (
    "distances and `tolerance` are in pixels; set millimetres: true if a column or the headers tell how far pixels lie "
    "apart, else millimetres: false"
)


class Options(Columns):
    """The names of the columns, what the values of masks mean, and how pictures are read."""

    file: str = "file"
    """Path of the picture below the folder: PNG, JPEG, TIFF, PGM, or DICOM of one frame."""
    mask: str = "mask"
    """Path of its mask, or nothing (unknown): PNG or TIFF of one channel and as many pixels, whose values are whole
    numbers; of a single structure it may be black and white."""
    structures: tuple[str, ...] = ()
    """Names of the masks' values from 1 on; 0 is the background."""
    patient: str = "patient"
    """Patient of the picture; "" if unknown, and each picture then counts as a patient."""
    view: str = "view"
    """Projection."""
    millimetres: bool = False
    """Whether distances are in millimetres, which each picture must then tell: by the column `pixel_spacing`, or as
    PixelSpacing of DICOM. By default they are in pixels."""
    pixel_spacing: str = "pixel_spacing"
    """Millimetres between the centres of pixels: one number, or those between rows and columns as in `0.2 x 0.1`."""
    grey: bool = False
    """Whether pictures in colour are taken as grey. Networks that outline see one channel, so that they are else
    rejected."""
    title: str = "A folder of one's own pictures with masks"
    """The archive's name in tables."""
    modality: Literal["image", "radiograph", "CT", "MRI", "ultrasound", "photograph", "microscopy"] = "image"
    """The kind of the pictures."""
    bits: Literal["guessed", 8, 10, 12, 14, 16] = "guessed"
    """Bits that the values of grey PNG and TIFF files in 16 bits have, such as 12: their highest value becomes white.
    By default the fewest that hold the values of the picture itself, which may brighten a dark picture."""


def card(options: Options) -> Card:
    """The card by the options."""
    described = {"title": options.title, "licence": options.licence, "modality": options.modality}
    outlined = {"labels": (*options.labels, *options.structures), "structures": options.structures}
    known = {"patients": options.patient != "", "unit": "mm" if options.millimetres else "pixels"}
    return CARD.model_copy(update={**described, **outlined, **known})


def notes(options: Options) -> tuple[str, ...]:
    """What these options mean for a study, where it may surprise."""
    return () if "millimetres" in options.model_fields_set else (IN_PIXELS,)


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The labels by the options, or else by the table; then the structures."""
    return _own_masks.labels(folder, options, LAYOUT)


def structures(folder: Path, options: Options) -> tuple[str, ...]:
    """The structures in the order of their values."""
    return options.structures


def numbers(options: Options) -> tuple[str, ...]:
    """The numbers by the options."""
    return options.numbers


def label_files(folder: Path, options: Options) -> list[Path]:
    """The table."""
    return [_own_table.table_of(folder, options)]


def beside(folder: Path, options: Options) -> set[str]:
    """The masks that the table lists."""
    return set(_own_masks.beside(folder, options, LAYOUT, place="mask").values())


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per line of the table, in its order; mistakes are reported with line and column."""
    catalogue = read_sample(folder, options, rows=None)
    _own_table.refuse_all_absent(catalogue["file"], folder, options, column=options.file, what="pictures")
    return catalogue


def read_sample(folder: Path, options: Options, *, rows: int | None) -> pd.DataFrame:
    """The catalogue of the first `rows` lines of the table and of as many others, whether or not the pictures exist."""
    table = label_files(folder, options)[0]
    _own_masks.refuse_unnamed(table, options, LAYOUT)
    if not options.structures:
        what = "no option names structures, so nothing can be outlined"
        raise UserError(what, file=table, remedy="set structures: [...], or kind: own_folder", nameless=what)
    labels(folder, options)
    found = _own_table.read(folder, options, LAYOUT, rows=rows)
    _own_pictures.refuse_other_files(found)
    _refuse_spacing(found)
    _own_masks.refuse_odd(found, folder, endings=ENDINGS, what="PNG or TIFF file")
    catalogue, _ = _own_table.catalogue(found)
    # whether a mask has a structure is known when it has been looked into
    return catalogue.assign(**{TARGET + name: np.float32(np.nan) for name in options.structures})


def extent(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One picture as a volume whose voxels are all 0 and take no memory, by its header alone."""
    frame, spacing = _grid(folder, case["file"], options)
    return _upright(np.broadcast_to(np.float32(0), (1, *frame.upright)), spacing)


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One picture as a volume of one axial slice; the patient's front is at its top, the right side at its left."""
    path = folder / case["file"]
    pixels = _own_pictures.read(path, bits=options.bits)
    if pixels.ndim == 3:
        if not options.grey:
            what = "is in colour, and networks that outline see grey"
            raise UserError(what, file=path, remedy="set the option grey: true", nameless=what)
        pixels = np.rint(pixels @ RED_GREEN_BLUE)
    return _upright(pixels[None].astype(np.float32), _grid(folder, case["file"], options)[1])


def read_mask(folder: Path, case: Mapping[str, Any], options: Options) -> Volume | None:
    """Its mask, in which structures are numbered from 1 in their order; None where the table names none."""
    name = _own_masks.beside(folder, options, LAYOUT, place="mask").get(case["file"], "")
    if not name:
        return None
    file = folder / name
    found = read_labels(file)
    frame, spacing = _grid(folder, case["file"], options)
    _refuse_other_frame(found, file=file, own=frame_of(file, formats=MASKS), picture=frame)
    values = range(1, len(options.structures) + 1)
    if len(values) == 1 and found.max() == WHITE:
        values = (WHITE,)
    return _upright(numbered(found, values, file=file)[None], spacing)


def _upright(slices: np.ndarray, spacing: tuple[float, float]) -> Volume:
    """Pixels (1, rows, columns) as a volume: rows grow to the back, columns to the left, and a pixel is 1 mm thick."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 1.0, *spacing, 1.0
    return Volume(slices, affine, "")


def _grid(folder: Path, file: str, options: Options) -> tuple[Frame, tuple[float, float]]:
    """The frame of a picture, and how far its rows and its columns lie apart: in millimetres, or 1 for pixels."""
    path, told = folder / file, None
    if _own_pictures.is_dicom(path):
        # pydicom is slow to import
        from headwater.data.io.dicom import read_grid

        sides, told = read_grid(path)
        frame = Frame(sides, 1)
    else:
        frame = frame_of(path, formats=FORMATS[path.suffix.lower()])
    if not options.millimetres:
        return frame, (1.0, 1.0)
    listed = _lengths(_own_masks.beside(folder, options, LAYOUT, place="pixel_spacing").get(file, ""))
    if listed and told and not np.allclose(listed, told, rtol=0.01):
        what = "has another pixel spacing in the table than in its header"
        remedy = f"correct the table, or leave its cell empty for the header's {told[0]:g} x {told[1]:g}"
        raise UserError(what, file=path, remedy=remedy, nameless=what)
    spacing = listed or told
    if spacing is None:
        what = "does not tell how many millimetres its pixels lie apart"
        remedy = "fill in the column `pixel_spacing`, or set millimetres: false"
        raise UserError(what, file=path, remedy=remedy, nameless=what)
    return frame, spacing


def _lengths(cell: str) -> tuple[float, float] | None:
    """Millimetres between rows and between columns by a cell; none by one that does not say them."""
    inner = cell.strip("[]() ")
    # without brackets or a space a comma may be a decimal one
    apart = r"\s*[\\x×;]\s*|\s*,\s+|\s+" + (r"|," if inner != cell.strip() else "")
    words = re.split(apart, inner)
    if not all(re.fullmatch(r"\d*\.?\d+(?:[eE][+-]?\d+)?", word) for word in words) or len(words) > 2:
        return None
    lengths = float(words[0]), float(words[-1])
    return lengths if all(0 < length <= LARGEST for length in lengths) else None


def _refuse_spacing(found: Read) -> None:
    """Refuse a column of millimetres that has no effect, cells of it that say none, and pictures that cannot."""
    options, cells, column = found.options, found.cells["pixel_spacing"], found.named.get("pixel_spacing")
    if not options.millimetres:
        if column:
            what = f"has the column {column!r}, but distances are in pixels"
            remedy = 'set millimetres: true, or pixel_spacing: ""'
            raise UserError(what, file=found.table, remedy=remedy, nameless=what)
        return
    odd = (cells != "") & cells.map(_lengths).isna()
    remedy = f"use one number up to {LARGEST:g} with a decimal point, or two with x"
    found.refuse(odd.to_numpy(), "pixel_spacing", " is no distance of pixels in millimetres", remedy=remedy)
    silent = (cells == "") & ~found.cells["file"].str.lower().str.endswith(_own_pictures.DICOMS)
    what, remedy = " has no pixel spacing", "fill in a column of it and name that by the option `pixel_spacing`"
    found.refuse(silent.to_numpy(), "file", what, remedy=remedy)


def _refuse_other_frame(found: np.ndarray, *, file: Path, own: Frame, picture: Frame) -> None:
    """Refuse a mask of another size than its picture, or of which nothing says whether it was turned with it."""
    if own.orientation not in (1, picture.orientation):
        what = "has a tag (EXIF) that turns it otherwise than its picture, so that nothing says how it lies"
        remedy = "save the mask as it is seen on its picture, without the tag"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    if picture.orientation != 1 and own.orientation == 1 and found.shape == picture.stored:
        what = "has no tag (EXIF) that turns it as its picture, so that nothing says how it lies"
        remedy = "save the picture as it is seen, without the tag, and draw the mask on that"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    if found.shape != picture.upright:
        sides = " x ".join(map(str, found.shape[::-1])), " x ".join(map(str, picture.upright[::-1]))
        what, remedy = "has {} pixels, its picture {}".format(*sides), "resample it to the pixels of its picture"
        raise UserError(what, file=file, remedy=remedy, nameless="is on another grid")
