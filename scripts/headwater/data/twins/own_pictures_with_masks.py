"""A twin of a folder of own pictures with masks: slices of the organ of the twin of `msd`, their masks and a CSV.

Pictures are PNG, TIFF, and JPEG that a tag turns upright, as of telephones; masks are PNG and lie as pictures are seen.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits, write_table
from headwater.data.twins._slices import rng_of
from headwater.data.twins.msd import STRUCTURES, outlined, picture
from headwater.study.archive import Twin

HEADER = ("file", "mask", "patient", "sex", "age")

OPTIONS: dict[str, Any] = {"structures": list(STRUCTURES), "millimetres": False}
"""The options by which its table is read."""

ENDINGS = (".png", ".tif", ".jpg")

ON_ITS_SIDE = 6
"""The orientation of a picture whose first column is at its top (EXIF 2.3, 4.6.4 A)."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A folder of `cases` synthetic pictures of up to `size` pixels a side, two of each patient, with its CSV."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="own_pictures_with_masks", twin=twin) as temporary:
        (temporary / "masks").mkdir()
        rows = [_row(temporary, first_patient + at // 2, at % 2, seed=seed, size=size) for at in range(cases)]
        write_table(HEADER, rows, temporary / "cases.csv")


def _row(folder: Path, number: int, visit: int, *, seed: int, size: int) -> tuple:
    """A picture and its mask as files; gives its line of the CSV."""
    rng = rng_of("own_pictures_with_masks", seed=seed, number=2 * number + visit)
    # never a square: by the sides alone one tells whether a mask lies as its turned picture
    width, height = (int(rng.integers(least * size // 8, (least + 1) * size // 8)) for least in (6, 7))
    # a slice through the middle, whose rows grow to the back and columns to the left
    labels = outlined((width, height, 3), rng)
    values, mask = (volume[::-1, ::-1, 1].T for volume in (picture(labels, rng), labels))
    patient, sex = f"P{number:05d}", "FM"[number % 2]
    file = f"{patient}_{visit}{ENDINGS[number % len(ENDINGS)]}"
    _write(eight_bits(values), folder / file)
    # of a few nobody drew the outlines
    name = f"masks/{patient}_{visit}.png" if number % 8 else ""
    if name:
        Image.fromarray(mask).save(folder / name)
    return file, name, patient, sex, 40 + number % 30


def _write(pixels: np.ndarray, path: Path) -> None:
    """A picture as a file; JPEG lies on its side, and its tag turns it upright."""
    if path.suffix != ".jpg":
        Image.fromarray(pixels).save(path)
        return
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = ON_ITS_SIDE
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(path, quality=95, exif=tags)
