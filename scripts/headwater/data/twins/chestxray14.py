"""A twin of ChestX-ray14: PNG files in numbered folders, a table of findings, and two lists that split the patients."""

import csv
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits
from headwater.data.twins._patients import Patient, Sign, Visit, patients, reported, set_apart
from headwater.study.archive import Twin

SIGNS = {
    "Atelectasis": Sign(looks="atelectasis", share=0.18),
    "Cardiomegaly": Sign(looks="cardiomegaly", share=0.25),
    "Consolidation": Sign(looks="consolidation", share=0.10),
    "Edema": Sign(looks="edema", share=0.08),
    "Effusion": Sign(looks="effusion", share=0.28),
    "Emphysema": Sign(looks="emphysema", share=0.08),
    "Fibrosis": Sign(looks="fibrosis", share=0.07),
    "Hernia": Sign(looks="hernia", share=0.03),
    "Infiltration": Sign(looks="infiltration", share=0.18),
    "Mass": Sign(looks="mass", share=0.08),
    "Nodule": Sign(looks="nodule", share=0.24),
    "Pleural_Thickening": Sign(looks="pleural thickening", share=0.08),
    "Pneumonia": Sign(looks="pneumonia", share=0.06),
    "Pneumothorax": Sign(looks="pneumothorax", share=0.20),
}
"""The archive's findings in its own spelling, each with its appearance and its share of the images."""

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
"""As published: with the commas within brackets it has eleven columns."""

DETECTORS = ((2500, 2048, 0.171), (2992, 2991, 0.143), (2048, 2500, 0.168), (3056, 2544, 0.139))
"""Width, height and pixel spacing (mm) of original images."""

IMAGES_PER_FOLDER = 400
TEST_SHARE = 0.25


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A ChestX-ray14 archive of `cases` synthetic images at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="chestxray14", twin=twin) as temporary:
        people = patients(
            "chestxray14", SIGNS, cases=cases, seed=seed, first=first_patient, most=max(1, min(8, cases // 4))
        )
        rows = list(_write_images(people, temporary, size=size))
        with (temporary / "Data_Entry_2017_v2020.csv").open("w", newline="") as table:
            table.write(HEADER + "\n")
            csv.writer(table, lineterminator="\n").writerows(rows)
        _write_lists(rows, temporary, seed=seed)


def _write_images(people: Iterable[Patient], folder: Path, *, size: int) -> Iterable[tuple]:
    """Every image as a PNG; gives its row of the table."""
    count = 0
    for patient in people:
        for visit in patient.visits:
            name = f"{patient.number:08d}_{visit.number:03d}.png"
            place = folder / f"images_{count // IMAGES_PER_FOLDER + 1:03d}" / "images" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            grey = eight_bits(patient.picture(visit, SIGNS, size=size))
            # a few files of the archive are RGBA
            Image.fromarray(grey).convert("RGBA" if visit.rng.random() < 0.01 else "L").save(place, compress_level=1)
            yield _row(name, patient, visit)
            count += 1


def _row(name: str, patient: Patient, visit: Visit) -> tuple:
    """An image's line in the table."""
    width, height, spacing = DETECTORS[visit.rng.integers(len(DETECTORS))]
    # faint findings are missed more often, and there are a few false positives
    findings = "|".join(reported(visit, SIGNS, surest=0.98, missed=0.10, made_up=0.06)) or "No Finding"
    sex, view = "F" if patient.female else "M", "AP" if visit.lying else "PA"
    return name, findings, visit.number, patient.number, visit.age, sex, view, width, height, spacing, spacing


def _write_lists(rows: list[tuple], folder: Path, *, seed: int) -> None:
    """The official lists: about a quarter of the images are for testing, and no patient is in both lists."""
    test = set_apart([row[3] for row in rows], share=TEST_SHARE, seed=seed)
    for name, is_test in (("train_val_list.txt", False), ("test_list.txt", True)):
        (folder / name).write_text("".join(f"{row[0]}\n" for row in rows if (row[3] in test) is is_test))
