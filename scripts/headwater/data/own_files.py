"""Files of one's own, read and prepared as the images of an archive were, or refused for the same reasons."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data import preparation as pictures
from headwater.data import prepared, store, volume_preparation
from headwater.data.datasets.own_folder import DICOMS, PICTURES
from headwater.data.datasets.own_volumes import ENDINGS
from headwater.data.io.folders import files_below
from headwater.data.volume_preparation import Census, Files, Work
from headwater.study.archive import Archive
from headwater.study.ct_windows import Window
from headwater.study.intensity import Intensity
from headwater.study.preparation import Preparation

NAME = "own files"


def listed(place: Path, *, how: Preparation) -> tuple[Path, list[str]]:
    """(folder, names below it) of the images at a place: a file, or a folder with any number of them.

    Volumes are NIfTI files, or folders with the DICOM files of one series. Refuses a place without images.
    """
    if not place.exists():
        raise UserError("there is no such file or folder", file=place, remedy="correct its path")
    if not place.is_dir():
        return place.parent, [place.name]
    found = list(dict.fromkeys(_volumes(place) if how.ndim == 3 else _pictures(place, how=how)))
    if not found:
        endings = (*ENDINGS, *DICOMS) if how.ndim == 3 else _endings(how)
        raise UserError("holds no image", file=place, remedy=f"images end in {', '.join(endings)}")
    return place, found


def _endings(how: Preparation) -> tuple[str, ...]:
    # Hounsfield units are read from DICOM files only
    return DICOMS if how.hounsfield else PICTURES


def _pictures(folder: Path, *, how: Preparation) -> Iterator[str]:
    for file in files_below(folder):
        if file.suffix.lower() in _endings(how) and not file.name.startswith("."):
            yield str(file.relative_to(folder))


def _volumes(folder: Path) -> Iterator[str]:
    """NIfTI files, and folders that hold DICOM files."""
    for file in files_below(folder):
        if file.name.startswith("."):
            continue
        if file.name.lower().endswith(ENDINGS):
            yield str(file.relative_to(folder))
        elif file.suffix.lower() in DICOMS:
            yield str(file.parent.relative_to(folder))


def prepare(
    folder: Path,
    names: list[str],
    *,
    how: Preparation,
    size: int | tuple[int, ...],
    seen: Window | Intensity | None,
    into: Path,
    workers: int,
) -> tuple[store.Prepared | None, pd.DataFrame]:
    """(images as a network of this size sees them, those that cannot be used with the reason); files go INTO a folder.

    The cases bear the names of the files. There are no images if none can be used.
    """
    catalogue = _catalogue(names)
    cases, images = into / "table.parquet", into / "pixels.npy"
    if how.ndim == 3:
        table, refused = _prepared_volumes(catalogue, folder, how=how, images=images, workers=workers)
    else:
        table, refused = _prepared_pictures(catalogue, folder, how=how, size=size, images=images, workers=workers)
    if not len(table):
        return None, refused
    store.CASES.write(table, cases)
    return prepared.read(cases, images=images, seen=seen, patch=size if how.ndim == 3 else None), refused


def _catalogue(names: list[str]) -> pd.DataFrame:
    """The names as cases of which nothing else is known."""
    empty = dict.fromkeys(("study", "site", "sex", "view"), "")
    frame = pd.DataFrame({"case": names, "patient": names, "file": names}).assign(**empty, split="test", age=np.nan)
    return frame[["case", "patient", "study", "site", "file", "split", "sex", "age", "view"]]


def _prepared_pictures(
    catalogue: pd.DataFrame, folder: Path, *, how: Preparation, size: int, images: Path, workers: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    # a CT slice in a DICOM file of its own is read as in the archive that consists of such files
    kind = Choice(name="rsna_ich") if how.hounsfield else Choice(name="own_folder", options={"bits": how.bits})
    archive = Archive(name=NAME, kind=kind, folder=str(folder), size=size, resize=how.resize)
    with_suffix = catalogue["file"].str.lower().str.endswith(_endings(how))
    cases, _, refused = pictures.read_all(
        catalogue[with_suffix].reset_index(drop=True), archive=archive, workers=workers, images=images
    )
    kind = f"has no suffix of an image; use one of {', '.join(_endings(how))}"
    others = catalogue.loc[~with_suffix, ["case", "file"]].assign(kind=kind)
    others["reason"] = others["file"] + f": {kind}"
    return cases, pd.concat([refused, others], ignore_index=True)


def _prepared_volumes(
    catalogue: pd.DataFrame, folder: Path, *, how: Preparation, images: Path, workers: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    kind = Choice(name="own_volumes", options={"hounsfield": how.hounsfield})
    work = Work(kind, str(folder), (), hounsfield=how.hounsfield, spacing=how.spacing)
    archive = Archive(name=NAME, kind=kind, folder=str(folder))
    files = Files(images, images.with_name("masks.npy"), images.with_name("references.npy"))
    counted = [Census([]) for _ in range(len(catalogue))]
    cases, _, refused, _ = volume_preparation.read_all(
        catalogue, counted, work=work, archive=archive, workers=workers, files=files
    )
    return cases, refused
