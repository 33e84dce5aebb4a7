"""A twin of the RSNA 2019 challenge: DICOM files of slices in one folder, and a long table with repeated rows."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from headwater.data.io.dicom_writing import write_slice
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import DAMAGED_EVERY, damage, write_table
from headwater.data.twins._patients import Sign
from headwater.data.twins._scans import Scan, scans
from headwater.study.archive import Twin

SIGNS = {
    "epidural": Sign(looks="bleeding outside the dura", share=0.25),
    "intraparenchymal": Sign(looks="bleeding in the brain", share=0.3),
    "intraventricular": Sign(looks="bleeding into the ventricles", share=0.25),
    "subarachnoid": Sign(looks="bleeding into the furrows", share=0.25),
    "subdural": Sign(looks="bleeding below the dura", share=0.3),
}
"""The archive's labels in its own spelling, each with its appearance and its share of the patients."""

STEP, PIXEL = 12.0, 220.0
"""Millimetres from slice to slice, and from the first column to the last."""

TWICE_EVERY = 7
"""The rows of one image in so many are repeated."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """An RSNA 2019 archive of `cases` synthetic slices at `folder`; of many one is cut off."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="rsna_ich", twin=twin) as temporary:
        images = temporary / "stage_2_train"
        images.mkdir()
        made = scans("rsna_ich", SIGNS, cases=cases, seed=seed, first=first_patient, part="head")
        findings = dict(pair for scan in made for pair in _written(scan, images, seed=seed, size=size))
        write_table(("ID", "Label"), _rows(dict(sorted(findings.items()))), temporary / "stage_2_train.csv")
        for name in sorted(findings)[DAMAGED_EVERY - 1 :: DAMAGED_EVERY]:
            damage(images / f"{name}.dcm")


def _written(scan: Scan, folder: Path, *, seed: int, size: int) -> Iterator[tuple[str, set[str]]]:
    """One scan as files with hashed names; gives (name, findings) of each slice."""
    key = f"{seed} {scan.patient}"
    header = {
        "patient": _name(f"patient {key}"),
        "study": _name(f"study {key} {scan.number}"),
        "series": _name(f"series {key} {scan.number}"),
        "spacing": (PIXEL / size, PIXEL / size),
    }
    for number, values in enumerate(scan.slices(size)):
        name = _name(f"image {key} {scan.number} {number}")
        position = (-PIXEL / 2, -PIXEL / 2, 5.0 + number * STEP)
        write_slice(values, folder / f"{name}.dcm", position=position, number=number + 1, **header)
        yield name, scan.seen(number)


def _rows(findings: dict[str, set[str]]) -> Iterator[tuple[str, int]]:
    """Six rows for each image, and for some images the same rows again."""
    for number, (name, shown) in enumerate(findings.items()):
        rows = [(f"{name}_{label}", int(label in shown)) for label in SIGNS] + [(f"{name}_any", int(bool(shown)))]
        yield from rows * (2 if number % TWICE_EVERY == 0 else 1)


def _name(text: str) -> str:
    """A name in the archive's form, which it also uses where DICOM requires a numeric identifier."""
    return f"ID_{hashlib.sha256(f'rsna_ich {text}'.encode()).hexdigest()[:9]}"
