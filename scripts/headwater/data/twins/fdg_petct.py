"""A twin of FDG-PET-CT-Lesions: folders of NIfTI volumes by patient and examination, and a table of their series."""

import hashlib
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
    "LYMPHOMA": Sign(looks="swollen nodes", share=0.17),
    "MELANOMA": Sign(looks="scattered nodules", share=0.18),
    "LUNG_CANCER": Sign(looks="lung mass", share=0.17),
}
"""The diagnoses except NEGATIVE, each with its appearance and its share of the patients."""

HEADER = (
    *("Series UID", "Collection", "Subject ID", "Study UID", "Study Description", "Study Date"),
    *("Series Description", "Modality", "Number of Images", "File Location", "diagnosis", "age", "sex"),
)

STEP, PIXEL = 24.0, 400.0
"""Millimetres from slice to slice, and from the first column to the last."""

SERIES = {"PT": "PET", "CT": "CT", "SEG": "Segmentation"}


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """An FDG-PET-CT-Lesions archive of `cases` synthetic slices at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="fdg_petct", twin=twin) as temporary:
        made = scans("fdg_petct", SIGNS, cases=cases, seed=seed, first=first_patient, part="trunk", one_each=True)
        rows = [row for scan in made for row in _examination(scan, temporary, seed=seed, size=size)]
        write_table(HEADER, rows, temporary / "fdg_metadata.csv")


def _examination(scan: Scan, folder: Path, *, seed: int, size: int) -> Iterator[tuple]:
    """The volumes of one examination as files; gives a row of the table for each of its series."""
    patient = f"PETCT_{_digits(f'{seed} {scan.patient}', 10)}"
    date = f"{1 + scan.patient % 12:02d}-{1 + scan.patient % 28:02d}-{2003 + scan.number}"
    # two blanks in a row, as in the archive
    words = "PET-CT Ganzkoerper  primaer mit KM" if scan.number == 0 else "PET-CT Teilkoerper  Verlauf"
    number = int(_digits(f"{seed} {scan.patient} {scan.number}", 5), 16) % 100_000
    study = f"{date}-NA-{words}-{number:05d}"
    place = folder / "FDG-PET-CT-Lesions" / patient / study
    place.mkdir(parents=True)
    _write_volumes(scan, place, size=size)
    (diagnosis,) = scan.lesions or ("NEGATIVE",)
    for modality, title in SERIES.items():
        uid = f"2.25.{int(_digits(f'{seed} {scan.patient} {scan.number} {modality}', 30), 16)}"
        location = f"./FDG-PET-CT-Lesions/{patient}/{study}/{number}.000000-{title}-{number % 1000}"
        row = (uid, "FDG-PET-CT-Lesions", patient, uid[:-1], words, date, title, modality, len(scan.heights), location)
        yield *row, diagnosis, f"{scan.age:03d}Y", "F" if scan.female else "M"


def _write_volumes(scan: Scan, place: Path, *, size: int) -> None:
    """The five volumes of one examination; some CT are stored from the head to the feet."""
    values, from_head = scan.slices(size), scan.patient % 3 == 0
    spacing = (STEP, PIXEL / size, PIXEL / size)
    coarse = (STEP, 2 * spacing[1], 2 * spacing[2])
    halved = np.rint(values.reshape(len(values), size // 2, 2, size // 2, 2).mean((2, 4))).astype(np.int16)
    write_nifti(values, place / "CT.nii.gz", spacing=spacing, from_head=from_head)
    write_nifti(halved, place / "CTres.nii.gz", spacing=coarse)
    for name in ("PET", "SUV", "SEG"):
        write_nifti(np.zeros_like(halved), place / f"{name}.nii.gz", spacing=coarse)


def _digits(text: str, count: int) -> str:
    """So many hex digits of a hash of a text."""
    return hashlib.sha256(f"fdg_petct {text}".encode()).hexdigest()[:count]
