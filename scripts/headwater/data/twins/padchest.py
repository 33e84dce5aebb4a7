"""A twin of PadChest: sixteen-bit PNG files in numbered folders, and one wide table with lists in Python's syntax.

In a twin of 200 cases or more, one PNG in 200 is truncated; its labels are by the model, so that studies with
physicians' labels only do not include it.
"""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from headwater.data.twin_folder import whole_folder
from headwater.data.twins._files import DAMAGED_EVERY, damage, write_table
from headwater.data.twins._patients import Patient, Sign, Visit, examinations, patients, reported
from headwater.study.archive import Twin

SIGNS = {
    "COPD signs": Sign(looks="emphysema", share=0.12),
    "aortic elongation": Sign(looks="aortic enlargement", share=0.14),
    "atelectasis": Sign(looks="atelectasis", share=0.12),
    "cardiomegaly": Sign(looks="cardiomegaly", share=0.22),
    "consolidation": Sign(looks="consolidation", share=0.08),
    "emphysema": Sign(looks="emphysema", share=0.05),
    "fracture": Sign(looks="broken rib", share=0.06),
    "hiatal hernia": Sign(looks="hernia", share=0.06),
    "hilar congestion": Sign(looks="congestion", share=0.08),
    "infiltrates": Sign(looks="infiltration", share=0.12),
    "kyphosis": Sign(looks="kyphosis", share=0.08),
    "nodule/mass": Sign(looks="nodule or mass", share=0.16),
    "pleural effusion": Sign(looks="effusion", share=0.22),
    "pleural thickening": Sign(looks="pleural thickening", share=0.08),
    "pneumonia": Sign(looks="pneumonia", share=0.10),
    "pneumothorax": Sign(looks="pneumothorax", share=0.12),
    "pulmonary edema": Sign(looks="edema", share=0.06),
    "pulmonary fibrosis": Sign(looks="fibrosis", share=0.06),
    "scoliosis": Sign(looks="scoliosis", share=0.10),
    "tuberculosis": Sign(looks="tuberculosis", share=0.05),
}
"""Labels of the archive's plug-in, each with its appearance and its share of the images."""

TERMS = {
    "aortic elongation": ("aortic elongation", "descendent aortic elongation"),
    "atelectasis": ("atelectasis", "laminar atelectasis", "lobar atelectasis"),
    "fracture": ("rib fracture", "callus rib fracture"),
    "infiltrates": ("infiltrates", "interstitial pattern", "alveolar pattern"),
    "nodule/mass": ("nodule", "multiple nodules", "pulmonary mass"),
    "pleural effusion": ("pleural effusion", "loculated pleural effusion"),
    "pleural thickening": ("apical pleural thickening", "pleural thickening"),
    "tuberculosis": ("tuberculosis sequelae", "tuberculosis"),
}
"""Terms that a list may have for a label; the other labels have one term, their name."""

STRAY = ("", " ", "suture material'", "chronic changes ")
"""Stray entries of lists: nothing, a blank, a surplus quote, a trailing blank."""

COLUMNS = (
    *("", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM"),
    *("ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM"),
    *("PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM"),
    *("SpatialResolution_DICOM", "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM"),
    *("Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime"),
    *("RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations"),
    *("LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS"),
)
"""As published, with a first column that has no name: the rows' numbers."""

MAKERS = ("ImagingDynamicsCompanyLtd", "PhilipsMedicalSystems")
PHYSICIAN, MODEL = "Physician", "RNN_model"
IMAGES_PER_FOLDER = 100
LATERALS = 0.3
READ_BY_PHYSICIANS = 0.27
YEAR = 2014


def make(folder: Path, *, cases: int, seed: int, first_patient: int = 1, size: int = 96) -> None:
    """A PadChest archive of `cases` synthetic images at `folder`."""
    twin = Twin(cases=cases, seed=seed, first_patient=first_patient, size=size)
    with whole_folder(folder, archive="padchest", twin=twin) as temporary:
        most = max(1, min(8, cases // 8))
        people = patients("padchest", SIGNS, cases=cases, seed=seed, first=first_patient, most=most)
        rows: list[dict] = []
        for patient, visit, pictures in examinations(people, cases=cases, laterals=LATERALS):
            examination = _examination(patient, visit, seed=seed)
            for lateral in pictures:
                pixels = patient.picture(visit, SIGNS, size=size, lateral=lateral)
                image = _image(visit, lateral=lateral, number=len(rows), key=examination["StudyID"])
                rows.append({**examination, **image})
                _write_image(pixels, temporary / rows[-1]["ImageDir"] / rows[-1]["ImageID"])
        _lay_traps(rows, temporary)
        table = temporary / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
        write_table(COLUMNS, [[row.get(name, "") for name in COLUMNS] for row in rows], table)


def _examination(patient: Patient, visit: Visit, *, seed: int) -> dict:
    """The entries of one visit in the table."""
    rng, year = visit.rng, YEAR + visit.number
    unknown_sex = rng.random() < 0.01
    return {
        "StudyDate_DICOM": f"{year}{rng.integers(1, 13):02d}15",
        "StudyID": _digits(f"study {seed} {patient.number} {visit.number}"),
        "PatientID": _digits(f"patient {seed} {patient.number}"),
        # years are decimal numbers because the column has gaps
        "PatientBirth": "" if rng.random() < 0.02 else f"{year - visit.age}.0",
        "PatientSex_DICOM": "O" if unknown_sex else "F" if patient.female else "M",
        "Pediatric": "No",
        "Modality_DICOM": "DX",
        "Manufacturer_DICOM": rng.choice(MAKERS).item(),
        "PhotometricInterpretation_DICOM": "MONOCHROME2",
        "BitsStored_DICOM": "16",
        "Report": "sin hallazgos , salvo los que se citan .",
        "MethodLabel": PHYSICIAN if rng.random() < READ_BY_PHYSICIANS else MODEL,
        "Labels": _labels(visit),
    }


def _digits(text: str) -> str:
    """A long number, as the archive names patients, studies and images."""
    return str(int(hashlib.sha256(f"padchest {text}".encode()).hexdigest()[:32], 16))


def _labels(visit: Visit) -> str:
    """The list of findings in Python's syntax."""
    rng = visit.rng
    terms = [
        rng.choice(TERMS.get(name, (name,))).item()
        for name in reported(visit, SIGNS, surest=0.98, missed=0.10, made_up=0.06)
    ]
    if not terms:
        return str([rng.choice(["normal", "unchanged"], p=(0.94, 0.06)).item()])
    stray = [rng.choice(STRAY).item()] if rng.random() < 0.3 else []
    return str([f"{term} " if rng.random() < 0.1 else term for term in terms] + stray)


def _image(visit: Visit, *, lateral: bool, number: int, key: str) -> dict:
    """The row of one image."""
    chance = visit.rng.random()
    lying = "AP" if chance < 0.5 else "AP_horizontal"
    seen = "L" if lateral else "COSTAL" if chance < 0.03 else "EXCLUDE" if chance > 0.98 else ""
    view = seen or (lying if visit.lying else "PA")
    return {
        "": number,
        "ImageID": f"{key}_{_digits(f'{key} {lateral}')}.png",
        "ImageDir": str(number // IMAGES_PER_FOLDER),
        "ViewPosition_DICOM": {"L": "LATERAL"}.get(view, "POSTEROANTERIOR"),
        "Projection": view,
        "MethodProjection": "Manual review of DICOM fields",
    }


def _write_image(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 65535).astype(np.uint16)).save(path, compress_level=1)


def _lay_traps(rows: list[dict], folder: Path) -> None:
    """Make a physician's row, one without labels, one excluded, an unlisted image and, in large twins, damaged ones."""
    rows[0]["MethodLabel"] = PHYSICIAN
    rows[3] |= {"MethodLabel": MODEL, "Labels": ""}
    rows[5]["Labels"] = str(["exclude"])
    extra = folder / rows[0]["ImageDir"] / f"{_digits('unlisted')}.png"
    extra.write_bytes((folder / rows[1]["ImageDir"] / rows[1]["ImageID"]).read_bytes())
    for row in rows[DAMAGED_EVERY - 1 :: DAMAGED_EVERY]:
        row["MethodLabel"] = MODEL
        damage(folder / row["ImageDir"] / row["ImageID"])
