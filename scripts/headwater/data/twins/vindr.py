"""A twin of VinDr-CXR: DICOM files for training and testing, labelled by three readers who sometimes disagree."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from headwater.data.io.dicom_writing import write_radiograph
from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import write_table
from headwater.data.twins._patients import Patient, Sign, Visit, patients, reported
from headwater.study.archive import Twin

SIGNS = {
    "Aortic enlargement": Sign(looks="aortic enlargement", share=0.18),
    "Atelectasis": Sign(looks="atelectasis", share=0.08),
    "Calcification": Sign(looks="calcification", share=0.07),
    "Cardiomegaly": Sign(looks="cardiomegaly", share=0.25),
    "Clavicle fracture": Sign(looks="broken clavicle", share=0.03),
    "Consolidation": Sign(looks="consolidation", share=0.07),
    "Edema": Sign(looks="edema", share=0.04),
    "Emphysema": Sign(looks="emphysema", share=0.04),
    "Enlarged PA": Sign(looks="enlarged pulmonary artery", share=0.04),
    "ILD": Sign(looks="interstitial disease", share=0.07),
    "Infiltration": Sign(looks="infiltration", share=0.08),
    "Lung Opacity": Sign(looks="opacity", share=0.10),
    "Lung cavity": Sign(looks="cavity", share=0.03),
    "Lung cyst": Sign(looks="cyst", share=0.03),
    "Mediastinal shift": Sign(looks="mediastinal shift", share=0.04),
    "Nodule/Mass": Sign(looks="nodule or mass", share=0.24),
    "Pleural effusion": Sign(looks="effusion", share=0.26),
    "Pleural thickening": Sign(looks="pleural thickening", share=0.10),
    "Pneumothorax": Sign(looks="pneumothorax", share=0.18),
    "Pulmonary fibrosis": Sign(looks="fibrosis", share=0.10),
    "Rib fracture": Sign(looks="broken rib", share=0.04),
    "Other lesion": Sign(looks="lump of the chest wall", share=0.05),
    "COPD": Sign(looks="emphysema", share=0.03),
    "Lung tumor": Sign(looks="tumour", share=0.04),
    "Pneumonia": Sign(looks="pneumonia", share=0.06),
    "Tuberculosis": Sign(looks="tuberculosis", share=0.06),
    "Other diseases": Sign(looks="device", share=0.08),
}
"""The archive's labels in its own spelling and order, each with its appearance and its share of the images."""

NO_FINDING = "No finding"
READERS = 17
TEST_SHARE = 0.2
BITS = (12, 14, 16)


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A VinDr-CXR archive of `cases` synthetic images at `folder`; one each, as the archive tells no patients."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    test = max(1, round(TEST_SHARE * cases))
    with whole_folder(folder, archive="vindr", twin=twin) as temporary:
        for part in ("train", "test", "annotations"):
            (temporary / part).mkdir()
        people = sorted(
            patients("vindr", SIGNS, cases=cases, seed=seed, first=first_patient, most=1),
            key=lambda patient: _image_id(seed, patient),
        )
        positions = set(np.random.default_rng([seed, first_patient]).permutation(cases)[:test].tolist())
        train_people = [patient for position, patient in enumerate(people) if position not in positions]
        test_people = [patient for position, patient in enumerate(people) if position in positions]
        train_rows = _train_rows(train_people, temporary / "train", seed=seed, size=size)
        write_table(
            ["image_id", "rad_id", *SIGNS, NO_FINDING], train_rows, temporary / "annotations/image_labels_train.csv"
        )
        # the published table of the test split spells this one column differently
        columns = ["Other disease" if name == "Other diseases" else name for name in SIGNS]
        test_rows = _test_rows(test_people, temporary / "test", seed=seed, size=size)
        write_table(["image_id", *columns, NO_FINDING], test_rows, temporary / "annotations/image_labels_test.csv")


def _image_id(seed: int, patient: Patient) -> str:
    """32 hex digits, as the archive names its images."""
    return hashlib.sha256(f"vindr {seed} {patient.number}".encode()).hexdigest()[:32]


def _train_rows(people: Iterable[Patient], folder: Path, *, seed: int, size: int) -> Iterator[list]:
    """Every training image as a file; gives three readers' rows for each."""
    for patient in people:
        visit = patient.visits[0]
        name = _image_id(seed, patient)
        _write_image(patient, visit, folder / f"{name}.dicom", size=size)
        for reader in sorted(visit.rng.choice(READERS, 3, replace=False) + 1):
            yield [name, f"R{reader}", *_read(visit, missed=0.30, made_up=0.10)]


def _test_rows(people: Iterable[Patient], folder: Path, *, seed: int, size: int) -> Iterator[list]:
    """Every test image as a file; gives the row that five readers agreed on."""
    for patient in people:
        visit = patient.visits[0]
        name = _image_id(seed, patient)
        _write_image(patient, visit, folder / f"{name}.dicom", size=size)
        yield [name, *_read(visit, missed=0.20, made_up=0.10)]


def _read(visit: Visit, *, missed: float, made_up: float) -> list[int]:
    """0 or 1 for each label, and for No finding.

    `missed`: how often the faintest sign is missed. `made_up`: false positives, as a share of the true positives.
    """
    positive = set(reported(visit, SIGNS, surest=0.99, missed=missed, made_up=made_up))
    labels = [int(name in positive) for name in SIGNS]
    return [*labels, int(not any(labels))]


def _write_image(patient: Patient, visit: Visit, path: Path, *, size: int) -> None:
    """One image as a DICOM file of a detector: bit depth, grey range, inversion and window vary."""
    rng = visit.rng
    bright = patient.picture(visit, SIGNS, size=size)
    bits = int(rng.choice(BITS, p=(0.5, 0.3, 0.2)))
    low, high = rng.uniform(0.0, 0.1), rng.uniform(0.85, 1.0)
    inverted = bool(rng.random() < 0.2)
    share = low + (high - low) * (1 - bright if inverted else bright)
    full = 2**bits - 1
    window = None
    if rng.random() < 0.6:
        window = (round((low + high) / 2 * full), round((high - low) * full))
    write_radiograph(
        np.rint(share * full).astype(np.uint16),
        path,
        bits_stored=bits,
        inverted=inverted,
        window=window,
        sex=rng.choice(["", "F" if patient.female else "M"], p=(0.4, 0.6)).item(),
        age=visit.age if rng.random() < 0.4 else None,
    )
