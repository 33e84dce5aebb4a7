"""A twin of COVID-CT: PNG and JPEG files named after preprints, six lists that part them, two tables of patients."""

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
"""The archive's classes, and what is drawn for each."""

HEADERS = {
    "COVID": ("File name", "Patient ID", "Age", "Gender", "Location", "Captions"),
    "NonCOVID": ("image name", "patient id"),
}
"""The columns of the two tables of patients, which spell alike things differently."""

TURNS = ("train", "test", "validation", "train", "train", "test", "train")
"""The splits that the patients of a class come into, one after another."""

PARTED_FROM = 100
"""Images from which on one patient is in two of the official lists, as in the archive."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One picture: whose it is, how it is called, and which list names it."""

    name: str
    label: str
    patient: int
    split: str
    age: int
    female: bool


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A COVID-CT archive of `cases` made-up slices at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="covid_ct", twin=twin) as temporary:
        for name in SIGNS:
            (temporary / "Images-processed" / f"CT_{name}").mkdir(parents=True)
            (temporary / "Data-split" / name).mkdir(parents=True)
        slices = list(_slices_of(temporary, cases=cases, seed=seed, first=first_patient, size=size))
        parted = _parted(slices) if cases >= PARTED_FROM else slices
        for (label, split), name in LISTS.items():
            listed = [one.name for one in parted if (one.label, one.split) == (label, split)]
            (temporary / name).write_text("".join(f"{name}\n" for name in listed))
        for label, header in HEADERS.items():
            rows = [_row(one)[: len(header)] for one in slices if one.label == label]
            write_table(header, rows, temporary / f"{label}-CT-MetaInfo.csv")


def _slices_of(folder: Path, *, cases: int, seed: int, first: int, size: int) -> Iterator[Slice]:
    """Every picture as a file, patient by patient; the classes take turns."""
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
    """As the archive calls its files: preprint, page and figure of the one class, a number of the other."""
    cut = "" if piece is None else f"%{piece}"
    if label == "NonCOVID":
        return f"{patient}{cut}.{'jpg' if patient % 4 else 'png'}"
    return f"2020.02.{patient % 28 + 1:02d}.{20_020_000 + patient}-p{patient % 30 + 2}-{50 + patient}{cut}.png"


def _write(picture: np.ndarray, path: Path) -> None:
    """A grey slice as publications show it: in three equal colours, and as a JPEG where its name says so."""
    options = {"quality": 92} if path.suffix == ".jpg" else {"compress_level": 1}
    Image.fromarray(np.repeat(picture[..., None], 3, axis=2)).save(path, **options)


def _parted(slices: list[Slice]) -> list[Slice]:
    """The same slices, but one of a training patient of the one class stands in the test list."""
    trained = [one for one in slices if (one.label, one.split) == ("COVID", "train")]
    whose = next(one.patient for one in trained if sum(other.patient == one.patient for other in trained) > 1)
    last = [one for one in trained if one.patient == whose][-1]
    return [Slice(**{**vars(one), "split": "test"}) if one is last else one for one in slices]


def _row(one: Slice) -> tuple:
    """A picture's line in the table of its class."""
    sex = "F" if one.female else "M"
    return one.name, f"Patient {one.patient}", one.age, sex, "", "Chest CT, made up"
