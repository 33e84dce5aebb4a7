"""A twin of MIMIC-CXR-JPG 2.1.0: JPEG files by patient and study, and compressed tables that are joined by keys."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import eight_bits, write_table
from headwater.data.twins._patients import Patient, Visit, examinations, patients, set_apart
from headwater.data.twins._reports import NO_FINDING, SIGNS, mentions, readings
from headwater.study.archive import Twin

LABELS = sorted([NO_FINDING, *SIGNS])
"""The order of labels in the programs' tables, which is not that of the radiologists'."""

RADIOLOGISTS = (
    *(NO_FINDING, "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other"),
    *("Fracture", "Support Devices"),
)

METADATA = (
    *("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows", "Columns"),
    *("StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning"),
    "PatientOrientationCodeSequence_CodeMeaning",
)

TEST_SHARE, VALIDATION_SHARE = 0.15, 0.08
LATERALS = 0.25
UNLABELLED = 0.02
"""Share of studies whose report the programs did not label."""
READ = 0.6
"""Share of the test studies that radiologists labelled."""

PRIME = 9_999_991
"""Patient and study numbers are multiples of another prime modulo this one, which are distinct and look random."""


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A MIMIC-CXR-JPG archive of `cases` synthetic images at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="mimic_cxr", twin=twin) as temporary:
        most = max(1, min(8, cases // 8))
        people = patients("mimic_cxr", SIGNS, cases=cases, seed=seed, first=first_patient, most=most)
        visits = list(examinations(people, cases=cases, laterals=LATERALS))
        splits = _splits([patient.number for patient, _, pictures in visits for _ in pictures], seed=seed)
        _write_labels(visits, temporary, splits=splits)
        rows = [row for visit in visits for row in _examination(*visit, folder=temporary, seed=seed, size=size)]
        listed = [(row[0], row[2], row[1], splits[row[1]]) for row in rows]
        header = ("dicom_id", "study_id", "subject_id", "split")
        write_table(header, listed, temporary / "mimic-cxr-2.0.0-split.csv.gz")
        write_table(METADATA, sorted(rows), temporary / "mimic-cxr-2.0.0-metadata.csv.gz")


def _splits(numbers: list[int], *, seed: int) -> dict[int, str]:
    """The official split of each patient, by subject."""
    test = set_apart(numbers, share=TEST_SHARE, seed=seed)
    rest = [number for number in numbers if number not in test]
    validation = set_apart(rest, share=VALIDATION_SHARE, seed=seed)
    splits = dict.fromkeys(numbers, "train") | dict.fromkeys(test, "test") | dict.fromkeys(validation, "validate")
    return {_subject(number): split for number, split in splits.items()}


def _subject(number: int) -> int:
    """The archive's number for a patient."""
    return 10_000_000 + number * 1_000_003 % PRIME


def _study(patient: Patient, visit: Visit) -> int:
    """The archive's number for a visit; a patient has at most 8 visits."""
    return 50_000_000 + (8 * patient.number + visit.number) * 1_000_003 % PRIME


def _write_labels(visits: Iterable[tuple], folder: Path, *, splits: dict[int, str]) -> None:
    """The labels by two programs and, for some of the test studies, by radiologists."""
    tables: dict[str, list] = {"chexpert": [], "negbio": [], "radiologists": []}
    for patient, visit, _ in visits:
        subject, study = _subject(patient.number), _study(patient, visit)
        labelled = visit.rng.random() >= UNLABELLED
        for program in ("chexpert", "negbio") if labelled else ():
            labels = mentions(visit)
            tables[program].append((subject, study, *(labels[label] for label in LABELS)))
        # the first test study always, so that no twin has an empty table
        if splits[subject] == "test" and (not tables["radiologists"] or visit.rng.random() < READ):
            labels = readings(visit)
            tables["radiologists"].append((study, *(labels[label] for label in RADIOLOGISTS)))
    for program in ("chexpert", "negbio"):
        rows = sorted(tables[program])
        write_table(("subject_id", "study_id", *LABELS), rows, folder / f"mimic-cxr-2.0.0-{program}.csv.gz")
    spelt = ["Airspace Opacity" if label == "Lung Opacity" else label for label in RADIOLOGISTS]
    write_table(("study_id", *spelt), tables["radiologists"], folder / "mimic-cxr-2.1.0-test-set-labeled.csv")


def _examination(
    patient: Patient, visit: Visit, pictures: tuple[bool, ...], *, folder: Path, seed: int, size: int
) -> Iterable[tuple]:
    """The images of one visit as files; gives a row of the metadata for each."""
    subject, study = f"p{_subject(patient.number)}", _study(patient, visit)
    place = folder / "files" / subject[:3] / subject / f"s{study}"
    place.mkdir(parents=True, exist_ok=True)
    date = 21_000_101 + 10_000 * (patient.number % 90 + visit.number)
    for number, lateral in enumerate(pictures):
        name = _image_id(f"{seed} {patient.number} {visit.number} {number}")
        view, code = _view(visit, lateral=lateral)
        grey = eight_bits(patient.picture(visit, SIGNS, size=size, lateral=lateral))
        Image.fromarray(grey).save(place / f"{name}.jpg", quality=90)
        step, upright = ("CHEST (PORTABLE AP)", "Recumbent") if visit.lying else ("CHEST (PA AND LAT)", "Erect")
        yield name, _subject(patient.number), study, step, view, size, size, date, "120000.5", step, code, upright


def _image_id(text: str) -> str:
    """Five groups of eight hex digits, as the archive names its images."""
    digits = hashlib.sha256(f"mimic_cxr {text}".encode()).hexdigest()
    return "-".join(digits[start : start + 8] for start in range(0, 40, 8))


def _view(visit: Visit, *, lateral: bool) -> tuple[str, str]:
    """(ViewPosition, meaning of its code); some positions are empty or rare ones."""
    frontal = ("AP", "antero-posterior") if visit.lying else ("PA", "postero-anterior")
    usual, code = ("LATERAL", "lateral") if lateral else frontal
    draw = visit.rng.random()
    rare = visit.rng.choice(["LL", "LPO"] if lateral else ["AP AXIAL", "RAO"]).item()
    return "" if draw < 0.05 else rare if draw < 0.12 else usual, code
