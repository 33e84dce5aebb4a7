"""A twin of an own folder: images with a CSV."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits, write_table
from headwater.data.twins._patients import Patient, Sign, patients
from headwater.study.archive import Twin

SIGNS = {
    "Cardiomegaly": Sign(looks="cardiomegaly", share=0.25),
    "Effusion": Sign(looks="effusion", share=0.28),
    "Nodule": Sign(looks="nodule", share=0.24),
}
"""The findings, each with its appearance and its share of the images."""

HEADER = ("file", "patient", "study", "sex", "age", "view", *SIGNS)

ENDINGS = (".png", ".jpg", ".tif")
"""File formats of the images."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A folder of `cases` synthetic images with its CSV at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="own_folder", twin=twin) as temporary:
        most = max(1, min(8, cases // 4))
        people = patients("own_folder", SIGNS, cases=cases, seed=seed, first=first_patient, most=most)
        rows = [row for patient in people for row in _rows(patient, temporary, size=size)]
        write_table(HEADER, rows, temporary / "cases.csv")


def _rows(patient: Patient, folder: Path, *, size: int) -> Iterator[tuple]:
    """Each image of a patient as a file; gives its line of the CSV."""
    name = f"P{patient.number:05d}"
    for visit in patient.visits:
        file = f"{name}/{name}_{visit.number}{ENDINGS[patient.number % len(ENDINGS)]}"
        (folder / file).parent.mkdir(exist_ok=True)
        Image.fromarray(eight_bits(patient.picture(visit, SIGNS, size=size))).save(folder / file)
        sex, view = "F" if patient.female else "M", "AP" if visit.lying else "PA"
        yield file, name, visit.number, sex, visit.age, view, *(int(sign in visit.findings) for sign in SIGNS)
