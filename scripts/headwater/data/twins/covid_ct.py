"""A twin of COVID-CT: PNG and JPEG files named after preprints, six lists of splits, and two tables of patients."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headwater.data.datasets.covid_ct import CARD, LISTS
from headwater.data.twin_folder import whole_folder
from headwater.data.twins import _slices
from headwater.data.twins._files import eight_bits, write_table
from headwater.study.archive import Twin

SIGNS = {"COVID": "patches of ground glass", "NonCOVID": "a nodule, or nothing"}
"""The archive's classes, and the sign of each."""

HEADERS = {
    "COVID": ("File name", "Patient ID", "Age", "Gender", "Location", "Captions"),
    "NonCOVID": ("image name", "patient id"),
}
"""The columns of the two tables of patients, whose spelling differs."""

TURNS = ("train", "test", "validation", "train", "train", "test", "train")
"""The splits of the patients of a class, in turn."""

PARTED_FROM = 100
"""In twins of at least so many images one patient is in two of the official lists, as in the archive."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One image: its name, class, patient and list."""

    name: str
    label: str
    patient: int
    split: str
    age: int
    female: bool


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A COVID-CT archive of `cases` synthetic slices at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="covid_ct", twin=twin) as temporary:
        for name in SIGNS:
            (temporary / "Images-processed" / f"CT_{name}").mkdir(parents=True)
            (temporary / "Data-split" / name).mkdir(parents=True)
        slices = list(_slices_of(temporary, cases=cases, seed=seed, first=first_patient, size=size))
        parted = _parted(slices) if cases >= PARTED_FROM else slices
        for (label, split), name in LISTS.items():
            listed = [slice_.name for slice_ in parted if (slice_.label, slice_.split) == (label, split)]
            (temporary / name).write_text("".join(f"{name}\n" for name in listed))
        for label, header in HEADERS.items():
            rows = [_row(slice_)[: len(header)] for slice_ in slices if slice_.label == label]
            write_table(header, rows, temporary / f"{label}-CT-MetaInfo.csv")


def _slices_of(folder: Path, *, cases: int, seed: int, first: int, size: int) -> Iterator[Slice]:
    """Every image as a file, patient by patient; the classes take turns."""
    most, number, turns = max(1, min(4, cases // 12)), first, dict.fromkeys(CARD.labels, 0)
    while cases > 0:
        label = CARD.labels[(number - first) % 2]
        rng = _slices.rng_of("covid_ct", seed=seed, number=number)
        count, age, female = min(1 + int(rng.integers(most)), cases), int(rng.integers(20, 85)), rng.random() < 0.5
        strength = rng.uniform(0.35, 1.0) * np.array([label == "COVID", label != "COVID" and rng.random() < 0.5])
        for piece in range(count):
            name = _name(label, number, piece if count > 1 else None)
            picture = _slices.chest(rng, patches=strength[0], nodule=strength[1], size=size)
            _write(eight_bits(picture), folder / "Images-processed" / f"CT_{label}" / name)
            split = TURNS[turns[label] % len(TURNS)]
            yield Slice(name=name, label=label, patient=number, split=split, age=age, female=female)
        turns[label] += 1
        number, cases = number + 1, cases - count


def _name(label: str, patient: int, piece: int | None) -> str:
    """A name as in the archive: preprint, page and figure for one class, a number for the other."""
    cut = "" if piece is None else f"%{piece}"
    if label == "NonCOVID":
        return f"{patient}{cut}.{'jpg' if patient % 4 else 'png'}"
    return f"2020.02.{patient % 28 + 1:02d}.{20_020_000 + patient}-p{patient % 30 + 2}-{50 + patient}{cut}.png"


def _write(picture: np.ndarray, path: Path) -> None:
    """A grey slice as in publications: with three equal channels, and as a JPEG if its name ends so."""
    options = {"quality": 92} if path.suffix == ".jpg" else {"compress_level": 1}
    Image.fromarray(np.repeat(picture[..., None], 3, axis=2)).save(path, **options)


def _parted(slices: list[Slice]) -> list[Slice]:
    """The same slices, but one of a training patient is in the test list."""
    train = [slice_ for slice_ in slices if (slice_.label, slice_.split) == ("COVID", "train")]
    counts = Counter(slice_.patient for slice_ in train)
    patient = next(slice_.patient for slice_ in train if counts[slice_.patient] > 1)
    last = [slice_ for slice_ in train if slice_.patient == patient][-1]
    return [Slice(**{**vars(slice_), "split": "test"}) if slice_ is last else slice_ for slice_ in slices]


def _row(slice_: Slice) -> tuple:
    """An image's line in the table of its class."""
    sex = "F" if slice_.female else "M"
    return slice_.name, f"Patient {slice_.patient}", slice_.age, sex, "", "Chest CT, made up"
