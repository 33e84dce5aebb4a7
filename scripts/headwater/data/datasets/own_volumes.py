"""A folder of your own volumes: NIfTI files or folders of DICOM files, and one CSV with a row per volume.

The tables of fuse-med-ml's example of knee MRI (`accession_number`, `path`, `fold`; `img_path`, `seg_path`, `fold`) are
known by their own columns.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError
from headwater.data.datasets import Card, _own_masks, _own_table
from headwater.data.datasets._masks import numbered
from headwater.data.datasets._own_table import SPLITS, Columns, Layout, Read
from headwater.data.io.folders import files_below
from headwater.data.io.nifti import read_nifti
from headwater.data.io.raster import FORMATS
from headwater.data.io.sheets import read_header, refuse_empty
from headwater.data.io.volumes import Volume
from headwater.data.tables import TARGET

CARD = Card(
    title="A folder of one's own volumes",
    licence="your own to know",
    citation="none",
    url="https://example.org/your-own",
    modality="volume",
    task="multilabel",
    labels=(),
    patients=True,
    ndim=3,
    hosted_logging=False,
)

LAYOUT = Layout(
    places=("file", "mask", "patient", "study", "split", "fold", "sex", "age", "site"),
    needed=("file",),
    spellings=(("file", ("path", "img_path")), ("mask", ("seg_path",)), ("study", ("accession_number",))),
    # patients, if no option names them; a row number, and a divisor of values, which `window` or `intensity` replace
    ignored=("PatientID", "patient_id", "ParticipantID", "idx", "max_val"),
)

PATIENTS = ("patient", "patientid", "participantid", "subject", "subjectid", "mrn")
"""Columns that probably name the patient, in small letters and without underscores."""

UNKNOWN_PATIENTS = (
    "no column names the patients, so each volume counts as one: two knees or two visits of a person cannot be kept "
    "apart, and intervals may be too narrow; name it by the option `patient` if there is one"
)

ENDINGS = (".nii", ".nii.gz", ".mgz", ".mgh")
"""Files of whole volumes; what else is listed is DICOM."""

NO_SLICES = ("duplicate", "localizer", "directory")
"""Files that may lie in the folder of a series without being slices of it; see `io.series.SetAside`."""


class Options(Columns):
    """The names of the columns, and what the values of volumes and masks mean."""

    file: str = "file"
    """Path of the volume below the folder: a NIfTI file, or a folder with the DICOM files of one series."""
    mask: str = "mask"
    """Path of its label map, NIfTI on the grid of the volume in any orientation, or nothing (unknown)."""
    structures: tuple[str, ...] = ()
    """Names of the masks' values from 1 on."""
    patient: str = ""
    """Patient of the volume; by default unknown, and each volume then counts as a patient."""
    fold: str = "fold"
    """In place of `split`: train, validation or test, or the whole number of a fold."""
    test_folds: tuple[int, ...] = ()
    """Folds that are tested on; without any, test cases are drawn from those that neither option names."""
    validation_folds: tuple[int, ...] = ()
    """Folds that choose the step; all other folds are trained on."""
    hounsfield: bool = Field(False, json_schema_extra={"means": "hounsfield"})
    """Whether values are Hounsfield units."""
    title: str = "A folder of one's own volumes"
    """The archive's name in tables."""
    modality: Literal["volume", "CT", "MRI", "PET", "ultrasound", "microscopy"] = "volume"
    """The kind of the volumes."""


def card(options: Options) -> Card:
    """The card by the options."""
    modality = "CT" if options.hounsfield and options.modality == "volume" else options.modality
    described = {"title": options.title, "licence": options.licence, "modality": modality}
    outlined = {"labels": (*options.labels, *options.structures), "structures": options.structures}
    return CARD.model_copy(update={**described, **outlined, "patients": options.patient != ""})


def notes(options: Options) -> tuple[str, ...]:
    """What these options mean for a study, where it may surprise."""
    return () if options.patient or "patient" in options.model_fields_set else (UNKNOWN_PATIENTS,)


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
    _own_table.refuse_all_absent(catalogue["file"], folder, options, column=options.file, what="volumes")
    return catalogue


def read_sample(folder: Path, options: Options, *, rows: int | None) -> pd.DataFrame:
    """The catalogue of the first `rows` lines of the table and of as many others, whether or not the volumes exist."""
    _refuse_unnamed(label_files(folder, options)[0], options)
    labels(folder, options)
    found = _own_table.read(folder, options, LAYOUT, rows=rows)
    pictures = found.cells["file"].str.lower().str.endswith((*FORMATS,)).to_numpy()
    remedy = "name a NIfTI file or a folder of DICOM files; pictures are read by own_folder or own_pictures_with_masks"
    found.refuse(pictures, "file", " is a picture, not a volume", remedy=remedy)
    if options.structures:
        _own_masks.refuse_odd(found, folder, endings=ENDINGS, what="NIfTI file")
    catalogue, _ = _own_table.catalogue(found, split=partial(_splits, found, whole=rows is None))
    # whether a mask has a structure is known when it has been looked into
    return catalogue.assign(**{TARGET + name: np.float32(np.nan) for name in options.structures})


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One volume in the orientation of its file or series."""
    place = folder / case["file"]
    # a folder may have any name
    if place.name.lower().endswith(ENDINGS) and not place.is_dir():
        return read_nifti(place)
    volume = _series(place)
    if (volume.unit == "HU") != options.hounsfield:
        what = "has Hounsfield units" if volume.unit == "HU" else "has no Hounsfield units"
        remedy = f"set the option hounsfield: {str(not options.hounsfield).lower()}"
        raise UserError(what, file=place, remedy=remedy, nameless=what)
    return volume


def read_mask(folder: Path, case: Mapping[str, Any], options: Options) -> Volume | None:
    """Its mask, in which structures are numbered from 1 in their order; None where the table names none."""
    name = _own_masks.beside(folder, options, LAYOUT, place="mask").get(case["file"], "")
    if not name:
        return None
    mask = read_nifti(folder / name)
    values = range(1, len(options.structures) + 1)
    return mask._replace(voxels=numbered(mask.voxels, values, file=folder / name))


def _refuse_unnamed(table: Path, options: Options) -> None:
    """Refuse a table with masks or patients of which no option says what to make of them."""
    _own_masks.refuse_unnamed(table, options, LAYOUT)
    header = read_header(table)
    named = [name for name in header if name.lower().replace("_", "") in PATIENTS]
    if named and "patient" not in options.model_fields_set:
        remedy = f'set patient: {named[0]}, or patient: "" if it does not tell people apart'
        raise UserError(f"line 1 has the column {named[0]!r}, which no option names", file=table, remedy=remedy)


def _splits(found: Read, *, whole: bool) -> pd.Series:
    """The split of each line, by its own column or by its fold."""
    options, folds = found.options, found.cells["fold"]
    asked = (*options.test_folds, *options.validation_folds)
    by_fold = (folds != "").any()
    if by_fold and (found.cells["split"] != "").any():
        what = f"has the columns {found.named['split']!r} and {found.named['fold']!r}, which both say the split"
        raise UserError(what, file=found.table, remedy='set split: "" or fold: ""', nameless=what)
    words = by_fold and folds.str.lower().isin(SPLITS).any()
    if not asked and (words or not by_fold):
        return _own_table.splits_of(found, "fold" if words else "split")
    if not by_fold:
        what = "has no folds, but the options `test_folds` or `validation_folds` name some"
        raise UserError(what, file=found.table, remedy="set fold: COLUMN, or remove them", nameless=what)
    return _by_fold(found, asked=asked, whole=whole)


def _by_fold(found: Read, *, asked: tuple[int, ...], whole: bool) -> pd.Series:
    """The split of each line by the whole number of its fold."""
    refuse_empty(found.cells, columns=["fold"], file=found.table)
    options, column = found.options, found.named["fold"]
    folds = found.cells["fold"].str.replace(r"\.0+$", "", regex=True)
    odd = ~folds.str.fullmatch(r"\d{1,9}").to_numpy()
    words = ", ".join(map(repr, sorted(SPLITS)))
    found.refuse(odd, "fold", "", remedy=f"use whole numbers in all lines, or {words}")
    there = folds.astype(int)
    listed = ", ".join(map(str, sorted(set(there))))
    if not asked:
        what = f"column {column!r} has folds, but no option says what they are for"
        remedy = f'name some of {listed} by `test_folds` or `validation_folds`, or set fold: ""'
        raise UserError(what, file=found.table, remedy=remedy, nameless=what)
    # a sample of the lines need not have every fold
    absent = [fold for fold in asked if whole and not (there == fold).any()]
    twice = [fold for fold in asked if asked.count(fold) > 1]
    if absent or twice:
        what = f"fold {absent[0]} is in no line" if absent else f"fold {twice[0]} is named twice"
        remedy = f"correct `test_folds` and `validation_folds`; folds are {listed}"
        raise UserError(f"column {column!r}: {what}", file=found.table, remedy=remedy, nameless=what)
    split = pd.Series("train", index=there.index)
    return split.mask(there.isin(options.test_folds), "test").mask(there.isin(options.validation_folds), "validation")


def _series(place: Path) -> Volume:
    """A folder of DICOM files, or a file of many frames, as a volume; refused if it is not one whole series."""
    # pydicom is slow to import, and planning reads no pixels
    from headwater.data.io import series, stacking

    if not place.exists():
        raise UserError("is not there", file=place, remedy="fetch it, or correct its path", nameless="is not there")
    # macOS leaves files beside the others whose names begin with a dot
    files = [file for file in files_below(place) if not file.name.startswith(".")] if place.is_dir() else [place]
    ordered = series.sort_files(files)
    strange = [aside for aside in ordered.set_aside if aside.kind not in NO_SLICES]
    if strange:
        what = "is no slice of a series"
        remedy = "fetch it again, or take it out of the folder"
        raise UserError(f"{what}: {strange[0].reason}", file=strange[0].file, remedy=remedy, nameless=what)
    if len(ordered.series) != 1:
        names = ", ".join(sorted(one.description or one.name for one in ordered.series))
        what = f"holds {len(ordered.series)} series, not one"
        remedy = "give each series a folder, and a line of the table, of its own"
        raise UserError(f"{what}: {names}" if names else what, file=place, remedy=remedy, nameless=what)
    return stacking.read_volume(ordered.series[0])
