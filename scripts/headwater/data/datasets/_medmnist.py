"""Files of MedMNIST: arrays of images and labels for each split, without names, patients or millimetres."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.data.io.arrays import read_one, read_whole, shape_of
from headwater.data.tables import TARGET

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Names of splits in the arrays, and ours."""


def cases(file: Path, classes: Mapping[int, str], *, fits: Callable[[tuple[int, ...]], bool], of: str) -> pd.DataFrame:
    """The catalogue: one row per image, split by split in the order of the arrays; each image counts as a patient.

    `classes`: the labels by their numbers in the arrays, from 0 on; a number without a name has none of the others.
    `fits`: whether an array of this shape holds images; `of` says in words what they should be.
    """
    parts = [_of_split(file, part, classes, fits=fits, of=of) for part in PARTS]
    return pd.concat(parts, ignore_index=True).assign(study="", site="", sex="", age=np.nan, view="")


def image(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One image as it is stored: uint8."""
    part, _, number = case["case"].rpartition("-")
    if part not in PARTS or not number.isdecimal():
        raise UserError(f"{case['case']!r} is not an image of an array", remedy="prepare the archive again")
    return read_one(folder / case["file"], f"{part}_images", position=int(number))


def _of_split(
    file: Path, part: str, classes: Mapping[int, str], *, fits: Callable[[tuple[int, ...]], bool], of: str
) -> pd.DataFrame:
    """The cases of one split, each with one class; refuses arrays that do not fit each other."""
    shape, kind = shape_of(file, f"{part}_images")
    if kind != np.uint8 or len(shape) < 3 or not fits(shape):
        what = f"array '{part}_images' is {kind} {shape}, not uint8 (images, {of})"
        raise UserError(what, file=file, remedy="fetch it again", nameless=what)
    numbers = read_whole(file, f"{part}_labels").reshape(-1)
    if len(numbers) != shape[0]:
        what = f"has {shape[0]} images and {len(numbers)} labels in {PARTS[part]}"
        raise UserError(what, file=file, remedy="fetch it again", nameless=what)
    invalid = ~np.isin(numbers, list(classes))
    if invalid.any():
        what = f"'{part}_labels' names no class in row {int(invalid.argmax())} ({int(invalid.sum())} such rows)"
        remedy = f"classes are numbers from 0 to {max(classes)}; fetch it again"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    names = pd.Series([f"{part}-{number:05d}" for number in range(len(numbers))], dtype=str)
    listed = pd.DataFrame({"case": names, "patient": names, "file": file.name, "split": PARTS[part]})
    targets = {TARGET + name: (numbers == at).astype("float32") for at, name in classes.items() if name}
    return pd.concat([listed, pd.DataFrame(targets)], axis=1)
