"""Volumes in NIfTI files: lists their slices by their headers, and reads single slices or whole volumes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import DiskError, UserError
from headwater.data.io.nifti import read_nifti
from headwater.data.io.slices import Slice, hounsfield, nifti_places, nifti_slices

FEWER = "has fewer slices than listed"


def listed(folder: Path, volumes: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each axial slice of each volume, from the feet to the head, with the entries of its volume.

    Each volume has a `file` and a `series`. A file that cannot be read has one row, so that it becomes a reject.
    """
    rows = [row for volume in volumes for row in _slices(folder, volume)]
    return pd.DataFrame(rows).assign(view="")


def _slices(folder: Path, volume: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of one volume."""
    try:
        places = nifti_places(folder / volume["file"])
    except DiskError:
        raise
    except UserError:
        yield {**volume, "case": name(volume["series"], 1), "position": np.nan}
        return
    for number, place in enumerate(places, start=1):
        yield {**volume, "case": name(volume["series"], number), "position": place.position}


def name(series: str, number: int) -> str:
    """The case name of a slice, given its number counted from the feet and from 1."""
    return f"{series}/{number:04d}"


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice: int16 (rows, columns), Hounsfield units."""
    file, number = folder / case["file"], int(case["case"].rpartition("/")[2])
    voxels = read_nifti(file).turned().voxels
    if number > len(voxels):
        thing = f"has {len(voxels)} slices, but slice {number} is listed"
        raise UserError(thing, file=file, nameless=FEWER)
    return hounsfield(voxels[number - 1])


def read_scan(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Slice]]:
    """(position among the rows, slice) of each listed slice of a volume, from the feet to the head."""
    file, series = folder / rows[0]["file"], rows[0]["series"]
    unread = {row["case"]: place for place, row in enumerate(rows)}
    for slice_ in nifti_slices(file):
        place = unread.pop(name(series, slice_.number + 1), None)
        # slices that the catalogue does not list are left out
        if place is not None:
            yield place, slice_._replace(place=slice_.place._replace(series=series))
    for case, place in unread.items():
        yield place, Slice(file, 0, reason=f"{file}: has no slice for {case}", kind=FEWER)
