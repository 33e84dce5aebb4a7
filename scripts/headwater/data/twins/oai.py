"""A twin of the Osteoarthritis Initiative: both knees of each participant at one to three visits, as DICOM series.

Progression shows as thin cartilage, the sex as the size of the bones, and a knee's grade as spurs of bone. Both knees
of a participant are alike, and visits nearly so. Tables are as awkward as the real ones: columns in other capitals,
codes with and without words, missing values, knees read twice, and rows listed twice.
"""

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.data.datasets.oai import COHORTS, MONTHS
from headwater.data.io.dicom_writing import identifier, write_mr_series
from headwater.data.io.nifti_writing import write_volume
from headwater.data.io.slices import read_words
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._knee import STRUCTURES, Knee, drawn
from headwater.data.twins._scans import GOLDEN
from headwater.data.twins._slices import rng_of
from headwater.study.archive import Twin

__all__ = ["STRUCTURES", "make"]

VISITS = (1, 1, 1, 2, 3, 1)
"""Visits of participants 1, 2, 3, ..., then from the beginning again."""

NUMBERS = (0, 1, 3)
"""The numbers of the visits at 0, 12 and 24 months."""

SHARES = (0.4, 0.8, 1.0)
"""Where the share of each cohort ends; of the real ones the third is much smaller."""

CARTILAGE = {"Progression": 1.7, "Incidence": 2.4, "Non-exposed control group": 3.1}
"""Thickness in voxels."""

GRADES = {"Progression": (2, 3, 4), "Incidence": (0, 1, 2), "Non-exposed control group": (0, 0, 1)}

BONES = {"M": 1.0, "F": 0.84}

MASKED = (0, 1)
"""Numbers of the visits whose knees have masks."""

FIELD = (112.0, 140.0, 140.0)
"""Millimetres of the field of view from right to left, back to front and feet to head."""

DEPTH = 5 / 12
"""Slices for each pixel of a side, as in 160 slices of 384 x 384."""

LEVELS = 1500
"""The highest stored value."""

MISSING = ".: Missing Form/Incomplete Workbook"

UNKNOWN_EVERY = 6
"""Of so many participants one has no sex, and one no graded radiograph."""

TWICE_EVERY = 5
"""One series in so many is listed twice."""

LONE_FROM = 300
"""In twins of at least so many cases one folder is not there and one lacks a slice: fewer than `prepare_volumes`
rejects at most."""


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A synthetic participant."""

    number: int
    sex: str
    cohort: str
    age: int
    site: str
    grades: dict[str, int]
    """of each knee at the first visit"""
    shape: Knee
    rng_seed: int

    @property
    def name(self) -> str:
        """Its number in tables."""
        return str(9_000_000 + self.number)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One knee at one visit."""

    who: Participant
    number: int
    """of the visit, as in the names of tables"""
    side: str

    @property
    def date(self) -> str:
        """The day of the visit."""
        return f"{2004 + MONTHS[self.number] // 12}{1 + self.who.number % 12:02d}15"

    @property
    def barcode(self) -> str:
        """The number of the series."""
        return f"0166{self.number}{self.who.number:05d}{self.number}{1 + (self.side == 'LEFT')}"

    @property
    def description(self) -> str:
        """The name of the series."""
        return f"SAG_3D_DESS_{self.side}"

    @property
    def folder(self) -> str:
        """Its folder as the tables have it."""
        return f"{self.number}.E.1/{self.who.name}/{self.date}/{self.barcode[4:]}"

    @property
    def case(self) -> str:
        """Its name in the catalogue."""
        return f"{self.who.name}_{self.date}_{self.description}_{self.barcode}"

    @property
    def grade(self) -> int:
        """The grade of the knee's radiograph; knees of the first cohort get worse."""
        return min(4, self.who.grades[self.side] + (self.number > 0 and self.who.cohort == COHORTS["1"]))


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 64) -> None:
    """An OAI archive of `cases` synthetic series of `size` x `size` pixels at `folder`, with masks of most."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="oai", twin=twin) as temporary:
        listed = list(_series(cases=cases, seed=seed, first=first_patient))
        (temporary / "masks").mkdir()
        for series in listed:
            _write(temporary, series, size=size)
        if cases >= LONE_FROM:
            _take_away(temporary, listed[-1], listed[-2])
        _write_tables(temporary, listed)


def _series(*, cases: int, seed: int, first: int) -> Iterator[Series]:
    """So many series, participant by participant."""
    left, number = cases, first
    while left > 0:
        who = _participant(number, seed=seed)
        for visit in NUMBERS[: VISITS[(number - 1) % len(VISITS)]]:
            for side in ("RIGHT", "LEFT")[:left]:
                yield Series(who=who, number=visit, side=side)
                left -= 1
        number += 1


def _participant(number: int, *, seed: int) -> Participant:
    """A participant, who depends on the seed and the number only."""
    rng = rng_of("oai", seed=seed, number=number)
    # by steps of the golden ratio, so that even a few participants are of every cohort
    cohort = list(COHORTS.values())[int(np.searchsorted(SHARES, number * GOLDEN % 1, side="right"))]
    sex = "MF"[int(rng.random() < 0.58)]
    return Participant(
        number=number,
        sex=sex,
        cohort=cohort,
        age=int(rng.integers(45, 80)),
        site="ABCDE"[int(rng.integers(5))],
        grades={side: int(rng.choice(GRADES[cohort])) for side in ("RIGHT", "LEFT")},
        shape=Knee(
            size=BONES[sex] * rng.uniform(0.96, 1.04),
            cartilage=CARTILAGE[cohort] * rng.uniform(0.93, 1.07),
            spurs=0.0,
            shift=tuple(rng.uniform(-0.06, 0.06, 3)),
        ),
        rng_seed=int(rng.integers(2**31)),
    )


def _write(folder: Path, series: Series, *, size: int) -> None:
    """The DICOM files of a series and, at some visits, its mask."""
    rng = np.random.default_rng([series.who.rng_seed, series.number, series.side == "LEFT"])
    shape = (max(8, round(size * DEPTH)), size, size)
    shift = tuple(at + rng.normal(0, 0.01) for at in series.who.shape.shift)
    knee = Knee(
        size=series.who.shape.size,
        cartilage=series.who.shape.cartilage,
        spurs=0.05 * series.grade,
        shift=shift,
    )
    values, labels = drawn(shape, knee, tissue=np.random.default_rng(series.who.rng_seed), rng=rng)
    # in a right knee the lateral side is to the right, where x grows
    step = 1 if series.side == "RIGHT" else -1
    affine = _affine(shape, turn=rng.uniform(-0.08, 0.08))
    _write_slices(folder / _place(series), values[::step], series, affine=affine, rng=rng)
    if series.number in MASKED:
        mask_affine = np.diag([-1, -1, 1, 1]) @ affine
        write_volume(labels[::step], folder / "masks" / f"{series.case}.nii.gz", affine=mask_affine)


def _place(series: Series) -> str:
    """The folder of a series below the archive's."""
    return f"{MONTHS[series.number]:02d}m/{series.folder}"


def _affine(shape: tuple[int, ...], *, turn: float) -> np.ndarray:
    """From indices (x, y, z, 1), which grow to the right, the front and the head, to millimetres (LPS)."""
    cosine, sine = math.cos(turn), math.sin(turn)
    directions = np.array([[-cosine, sine, 0], [-sine, -cosine, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = directions * (np.array(FIELD) / shape)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return affine


def _write_slices(
    place: Path, values: np.ndarray, series: Series, *, affine: np.ndarray, rng: np.random.Generator
) -> None:
    """Sagittal slices (x, y, z), whose rows go from the head to the feet and columns from the front to the back."""
    place.mkdir(parents=True)
    stored = np.rint(LEVELS * values).astype(np.uint16)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    backwards, down = -affine[:3, 1] / spacing[1], -affine[:3, 2] / spacing[2]
    corners = [affine @ (number, stored.shape[1] - 1, stored.shape[2] - 1, 1) for number in range(len(stored))]
    write_mr_series(
        stored[:, ::-1, ::-1].transpose(0, 2, 1),
        [place / f"{name:03d}" for name in rng.permutation(len(stored)) + 1],
        patient=series.who.name,
        study=identifier("study", f"oai {series.who.name} {series.number}"),
        series=identifier("series", f"oai {series.who.rng_seed} {series.case}"),
        positions=np.array(corners)[:, :3],
        orientation=(*backwards, *down),
        spacing=(spacing[2], spacing[1]),
        SeriesDescription=series.description,
    )


def _take_away(folder: Path, absent: Series, short: Series) -> None:
    """Take away the folder of one series, and a slice from the middle of another."""
    shutil.rmtree(folder / _place(absent))
    middle_of(folder / _place(short)).unlink()


def middle_of(place: Path) -> Path:
    """The file of the slice in the middle of a series, whatever the names of files."""
    files = sorted(place.iterdir(), key=lambda file: int(read_words(file, ["InstanceNumber"])["InstanceNumber"]))
    return files[len(files) // 2]


def _write_tables(folder: Path, listed: list[Series]) -> None:
    """The lists of series by visit, the table of participants, and those of ages and graded radiographs."""
    people = list({series.who.number: series.who for series in listed}.values())
    for number in NUMBERS:
        if of_visit := [series for series in listed if series.number == number]:
            _lines(folder / f"contents.{number}E1.csv", _contents(of_visit), separator=",")
    _lines(folder / "Enrollees.txt", _enrollees(people))
    ages = [["id", "VERSION", "V00AGE"], *([who.name, "0.2.2", str(who.age)] for who in people)]
    _lines(folder / "AllClinical00.txt", ages)
    for number, name in enumerate(("kxr_sq_bu00.txt", "KXR_SQ_BU01.txt")):
        if any(series.number == number for series in listed):
            _lines(folder / name, _radiographs(listed, number=number))


def _lines(file: Path, rows: list[list[str]], *, separator: str = "|") -> None:
    """A table."""
    file.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")


def _contents(listed: list[Series]) -> list[list[str]]:
    """The series of a visit; other images are listed as well, some series twice."""
    rows = [["Folder", "ParticipantID", "StudyDate", "Barcode", "StudyDescription", "SeriesDescription"]]
    for place, series in enumerate(listed):
        beginning, about = series.folder.rpartition("/")[0], [series.who.name, series.date]
        other = f"{90_000_000 + place}"
        rows.append([f"{beginning}/{other}", *about, f"0166{other}", "OAI^MR", f"MP_LOCATOR_{series.side}"])
        row = [series.folder, *about, series.barcode, "OAI^MR", series.description]
        rows += [row] * (2 if place % TWICE_EVERY == 0 else 1)
    return rows


def _enrollees(people: list[Participant]) -> list[list[str]]:
    """The participants."""
    rows = [["ID", "VERSION", "V00SITE", "P02SEX", "P02RACE", "V00COHORT"]]
    sexes, numbers = {"M": "1: Male", "F": "2: Female"}, {name: number for number, name in COHORTS.items()}
    for who in people:
        sex = MISSING if who.number % UNKNOWN_EVERY == 0 else sexes[who.sex]
        race = MISSING if who.number % 7 == 0 else "1: White or Caucasian"
        rows.append([who.name, "25", who.site, sex, race, f"{numbers[who.cohort]}: {who.cohort}"])
    return rows


def _radiographs(listed: list[Series], *, number: int) -> list[list[str]]:
    """The graded knees of a visit; baseline has codes with words and two readings, the other plain codes."""
    words = number == 0
    header = ["ID", "SIDE", "READPRJ", "VERSION", f"V{number:02d}XRKL", f"V{number:02d}XRJSM"]
    rows = [header if words else [name.lower() for name in header]]
    for series in (series for series in listed if series.number == number):
        side = {"RIGHT": "1: Right", "LEFT": "2: Left"}[series.side]
        unknown = series.who.number % UNKNOWN_EVERY == 3
        grade = ".A: Not Expected" if unknown else f"{series.grade}: {series.grade}" if words else str(series.grade)
        rows.append([series.who.name, side if words else side[0], "15", "0.6", grade, "0: Normal" if words else "0"])
        if words and series.who.number % 3 == 0 and not unknown:
            # another project read the same radiograph, and came to another grade
            rows.append([series.who.name, side, "37", "0.6", str((series.grade + 1) % 5), "0: Normal"])
    return rows
