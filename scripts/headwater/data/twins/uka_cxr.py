"""A twin of UKA-CXR in the layout described in `datasets/uka_cxr.py`, as the archive is private.

Images are taken at the bedside, and findings are graded from 1 (no) to 4 (severe), on each side if they have one.
"""

import dataclasses
from pathlib import Path

from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits, write_table
from headwater.data.twins._patients import Patient, Sign, Visit, patients
from headwater.study.archive import Twin

SIGNS = {
    "cardiomegaly": Sign(looks="cardiomegaly", share=0.30),
    "congestion": Sign(looks="congestion", share=0.16),
    "pleural_effusion_right": Sign(looks="effusion right", share=0.18),
    "pleural_effusion_left": Sign(looks="effusion left", share=0.18),
    "pneumonic_infiltrates_right": Sign(looks="pneumonia right", share=0.12),
    "pneumonic_infiltrates_left": Sign(looks="pneumonia left", share=0.10),
    "atelectasis_right": Sign(looks="atelectasis right", share=0.12),
    "atelectasis_left": Sign(looks="atelectasis left", share=0.12),
}
"""The graded findings, each with its appearance and its share of the images."""

HEADER = ("image_id", "patient_id", "study_id", "split", "sex", "age", *SIGNS, "healthy")

UNGRADED = 0.01
"""Share of missing grades."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A UKA-CXR archive of `cases` synthetic images at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="uka_cxr", twin=twin) as temporary:
        (temporary / "images").mkdir()
        most = max(1, min(8, cases // 4))
        people = patients("uka_cxr", SIGNS, cases=cases, seed=seed, first=first_patient, most=most)
        rows = [
            _examination(patient, dataclasses.replace(visit, lying=True), temporary / "images", size=size)
            for patient in people
            for visit in patient.visits
        ]
        write_table(HEADER, rows, temporary / "uka_cxr.csv")


def _examination(patient: Patient, visit: Visit, images: Path, *, size: int) -> list:
    """One image as a file; gives its row."""
    person = f"{patient.number:06d}"
    name = f"{person}_{visit.number}"
    Image.fromarray(eight_bits(patient.picture(visit, SIGNS, size=size))).save(images / f"{name}.png", compress_level=1)
    grades = [_grade(visit, finding) for finding in SIGNS]
    healthy = int(all(grade in ("", "1", "2") for grade in grades))
    sex = "F" if patient.female else "M"
    return [name, person, f"{person}/{visit.number}", "", sex, visit.age, *grades, healthy]


def _grade(visit: Visit, finding: str) -> str:
    """The grade of a finding; the faintest are questionable, as are some absent ones."""
    missing, doubted = visit.rng.random(2)
    if missing < UNGRADED:
        return ""
    if finding not in visit.findings:
        return "2" if doubted < 0.08 else "1"
    strength = visit.findings[finding]
    return "2" if strength < 0.12 else "3" if strength < 0.55 else "4"
