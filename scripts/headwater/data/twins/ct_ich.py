"""A twin of CT-ICH: heads as NIfTI, masks beside them, a reading of each slice, and a table with two header lines."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from headwater.data.io.nifti_writing import write_nifti
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import write_table
from headwater.data.twins._patients import Sign
from headwater.data.twins._scans import Scan, scans
from headwater.study.archive import Twin

SIGNS = {
    "Intraventricular": Sign(looks="bleeding into the ventricles", share=0.2),
    "Intraparenchymal": Sign(looks="bleeding in the brain", share=0.3),
    "Subarachnoid": Sign(looks="bleeding into the furrows", share=0.2),
    "Epidural": Sign(looks="bleeding outside the dura", share=0.3),
    "Subdural": Sign(looks="bleeding below the dura", share=0.25),
    "Fracture_Yes_No": Sign(looks="broken skull", share=0.25),
}
"""The archive's labels in its own spelling, each with its appearance and its share of the patients."""

BLEEDINGS = tuple(SIGNS)[:-1]

HEADER = ("PatientNumber", "SliceNumber", *BLEEDINGS, "No_Hemorrhage", "Fracture_Yes_No")

PERSONS = (
    *("Patient Number", "Age\n(years)", " Gender", "Hemorrhage type based on the radiologists diagnosis"),
    *("", "", "", "", "Fracture (yes 1/no 0)", "Note1"),
)
"""The first line of two: the second has the types of haemorrhage."""

FIRST = 48
"""Patient numbers begin at 49."""

STEP, PIXEL = 12.0, 220.0
"""Millimetres from slice to slice, and from the first column to the last."""

FROM_HEAD_EVERY = 3
"""One volume in so many is stored from the head to the feet."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A CT-ICH archive of `cases` synthetic slices at `folder`; each patient has one CT."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="ct_ich", twin=twin) as temporary:
        for part in ("ct_scans", "masks"):
            (temporary / part).mkdir()
        made = list(scans("ct_ich", SIGNS, cases=cases, seed=seed, first=first_patient, part="head", twice=False))
        rows = [row for scan in made for row in _written(scan, temporary, size=size)]
        write_table(HEADER, rows, temporary / "hemorrhage_diagnosis_raw_ct.csv")
        second = ["", "", "", *BLEEDINGS, "", ""]
        write_table(PERSONS, [second, *map(_person, made)], temporary / "patient_demographics.csv")


def _written(scan: Scan, folder: Path, *, size: int) -> Iterator[list[int]]:
    """The volume of a patient and its mask as files; gives the reading of each slice in the order of the file."""
    number, from_head = FIRST + scan.patient, scan.patient % FROM_HEAD_EVERY == 0
    values, spacing = scan.slices(size), (STEP, PIXEL / size, PIXEL / size)
    write_nifti(values, folder / "ct_scans" / f"{number:03d}.nii", spacing=spacing, from_head=from_head)
    write_nifti(np.zeros_like(values), folder / "masks" / f"{number:03d}.nii", spacing=spacing, from_head=from_head)
    places = range(len(values))
    for counted, place in enumerate(reversed(places) if from_head else places, start=1):
        seen = scan.seen(place)
        bleedings = [int(name in seen) for name in BLEEDINGS]
        yield [number, counted, *bleedings, int(not any(bleedings)), int("Fracture_Yes_No" in seen)]


def _person(scan: Scan) -> list:
    """The row of a patient in the table of patients."""
    types = [1 if name in scan.lesions else "" for name in BLEEDINGS]
    age, sex = scan.age, "Female" if scan.female else "Male"
    return [FIRST + scan.patient, age, sex, *types, int("Fracture_Yes_No" in scan.lesions), ""]
