"""A twin of CheXpert: JPEG files by patient and study, and two tables with uncertain and missing mentions.

The test set is a separate download, and not part of the twin.
"""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits, write_table
from headwater.data.twins._patients import Patient, Visit, examinations, patients, set_apart
from headwater.data.twins._reports import NO_FINDING, SIGNS, mentions, readings
from headwater.study.archive import Twin

HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", NO_FINDING, *SIGNS)

PREFIX = "CheXpert-v1.0-small"
"""The beginning of the paths in the tables, wherever the archive is."""

VALIDATION_SHARE = 0.1
LATERALS = 0.25
LYING_ON_THE_SIDE = 0.03
"""Share of frontal images for which the patient lies on one side: LL or RL."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A CheXpert archive of `cases` synthetic images at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="chexpert", twin=twin) as temporary:
        most = max(1, min(8, cases // 8))
        people = patients("chexpert", SIGNS, cases=cases, seed=seed, first=first_patient, most=most)
        visits = list(examinations(people, cases=cases, laterals=LATERALS))
        numbers = [patient.number for patient, _, pictures in visits for _ in pictures]
        validation = set_apart(numbers, share=VALIDATION_SHARE, seed=seed)
        for part, is_validation in (("train", False), ("valid", True)):
            chosen = [visit for visit in visits if (visit[0].number in validation) is is_validation]
            rows = [row for visit in chosen for row in _examination(*visit, part=part, folder=temporary, size=size)]
            if part == "train":
                # one patient of the archive has neither a known sex nor an age
                rows[0][1:3] = ["Unknown", 0]
            write_table(HEADER, rows, temporary / f"{part}.csv")


def _examination(
    patient: Patient, visit: Visit, pictures: tuple[bool, ...], *, part: str, folder: Path, size: int
) -> Iterator[list]:
    """The images of one visit as files; gives a row for each, with the labels of the one report."""
    labels = readings(visit) if part == "valid" else mentions(visit)
    for number, lateral in enumerate(pictures, start=1):
        kind = "lateral" if lateral else "frontal"
        name = f"{part}/patient{patient.number:05d}/study{visit.number + 1}/view{number}_{kind}.jpg"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        projection = "" if lateral else _projection(visit)
        grey = eight_bits(patient.picture(visit, SIGNS, size=size, lateral=lateral))
        Image.fromarray(grey).save(folder / name, quality=90)
        sex = "Female" if patient.female else "Male"
        yield [f"{PREFIX}/{name}", sex, visit.age, kind.capitalize(), projection, *labels.values()]


def _projection(visit: Visit) -> str:
    """The projection of a frontal image."""
    if visit.rng.random() < LYING_ON_THE_SIDE:
        return visit.rng.choice(["LL", "RL"]).item()
    return "AP" if visit.lying else "PA"
