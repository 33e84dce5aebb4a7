"""Small archives in the layout of the real ones, made in code for the tests."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from headwater.data.datasets import chexpert, mimic_cxr, uka_cxr, vindr

SAMPLES = Path(__file__).parents[2] / "shared" / "data"

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


def write_dicom(path: Path, pixels: np.ndarray, **tags: Any) -> Path:
    """A grey DICOM file with these stored values; tags overwrite or, by None, remove."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def picture(number: int, *, shape: tuple[int, ...] = (24, 20)) -> np.ndarray:
    """Some pixels that differ from number to number."""
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def make_chestxray14(folder: Path, *, train: int = 12, test: int = 6, images: str = "images_001/images") -> Path:
    """Patients with two images each; even patients have a Mass, every third an Effusion besides."""
    (folder / images).mkdir(parents=True)
    lists: dict[str, list[str]] = {"train_val_list.txt": [], "test_list.txt": []}
    rows = []
    for patient in range(1, train + test + 1):
        findings = ["Mass"] * (patient % 2 == 0) + ["Effusion"] * (patient % 3 == 0)
        for visit in range(2):
            name = f"{patient:08d}_{visit:03d}.png"
            finding = "|".join(findings) or "No Finding"
            rows.append(f"{name},{finding},{visit},{patient},{40 + visit},{'FM'[patient % 2]},PA,24,20,0.1,0.1")
            lists["train_val_list.txt" if patient <= train else "test_list.txt"].append(name)
            Image.fromarray(picture(10 * patient + visit)).save(folder / images / name)
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def make_vindr(folder: Path, *, train: int = 12, test: int = 6) -> Path:
    """Even images show a Pneumothorax: two of three readers see it in training, one where there is none."""
    (folder / "annotations").mkdir(parents=True)
    for part, many in (("train", train), ("test", test)):
        rows = []
        for number in range(many):
            name = f"{part}{number:02d}"
            stored = picture(number).astype(np.uint16) * 16
            write_dicom(folder / part / f"{name}.dicom", stored, PatientSex="FM"[number % 2], PatientAge="045Y")
            for reader in range(1, 4 if part == "train" else 2):
                seen = reader <= 2 - number % 2 if part == "train" else number % 2 == 0
                given = {"Pneumothorax": int(seen), "No finding": int(not seen)}
                rows.append({"image_id": name, "rad_id": f"R{reader}", **dict.fromkeys(vindr.CARD.labels, 0), **given})
        write_labels(folder / "annotations" / f"image_labels_{part}.csv", rows, test=part == "test")
    return folder


def write_labels(path: Path, rows: list[dict], *, test: bool) -> None:
    """A label file as PhysioNet writes it: the test file knows no readers and writes one column in the singular."""
    names = [name for name in rows[0] if not (test and name == "rad_id")]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Other disease" if test and name == "Other diseases" else name for name in names])
        writer.writerows([[row[name] for name in names] for row in rows])


def edit(path: Path, *, old: str, new: str) -> None:
    """Replace the first occurrence of some text in a file, which must hold it."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


CHEXPERT = "Path,Sex,Age,Frontal/Lateral,AP/PA," + ",".join(chexpert.CARD.labels)


def make_chexpert(folder: Path, *, train: int = 8, valid: int = 3, prefix: str = "CheXpert-v1.0/") -> Path:
    """Patients with a frontal and a lateral image each; labels of training patient n: see `chexpert_cells`."""
    for part, many, first in (("train", train, 1), ("valid", valid, 901)):
        rows = []
        for patient in range(first, first + many):
            cells = chexpert_cells(patient) if part == "train" else ["1.0" if patient % 2 else "0.0"] * 14
            for view, rest in (("view1_frontal", "Frontal,AP"), ("view2_lateral", "Lateral,")):
                name = f"{part}/patient{patient:05d}/study1/{view}.jpg"
                rows.append(
                    ",".join([f"{prefix}{name},{['Male', 'Female'][patient % 2]},{60 + patient % 9},{rest}", *cells])
                )
                write_picture(folder / name, picture(patient))
        (folder / f"{part}.csv").write_text("\n".join([CHEXPERT, *rows]) + "\n")
    return folder


def chexpert_cells(patient: int) -> list[str]:
    """One cell per label: 1.0, 0.0, -1.0 and empty in turn, beginning elsewhere for each patient."""
    return [["1.0", "0.0", "-1.0", ""][(label + patient) % 4] for label in range(14)]


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """A PNG or JPEG file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_mimic_cxr(folder: Path, *, subjects: int = 10, release: str = "2.1.0") -> Path:
    """Subjects with one study of two images; the last but one is for validation and the last two for testing."""
    folder.mkdir(parents=True)
    labels = mimic_cxr.CARD.labels
    split, metadata = ["dicom_id,study_id,subject_id,split"], ["dicom_id,subject_id,study_id,ViewPosition,Rows,Columns"]
    said: dict[str, list[str]] = {
        name: [",".join(["subject_id", "study_id", *labels])] for name in ("chexpert", "negbio")
    }
    read = [",".join(["study_id", *reversed(labels)]).replace("Lung Opacity", "Airspace Opacity")]
    for number in range(subjects):
        subject, study = 10_000_000 + 1_000_000 * number, 50_000_000 + number
        part = ["train", "validate", "test", "test"][max(0, number - subjects + 4)]
        for view in ("PA", "LATERAL"):
            name = f"{number:08x}-{view.lower()}"
            split.append(f"{name},{study},{subject},{part}")
            metadata.insert(1, f"{name},{subject},{study},{view},24,20")
            place = folder / "files" / f"p{str(subject)[:2]}" / f"p{subject}" / f"s{study}" / f"{name}.jpg"
            write_picture(place, picture(number))
        said["chexpert"].insert(1, ",".join([str(subject), str(study), *chexpert_cells(number)]))
        said["negbio"].append(",".join([str(subject), str(study), *chexpert_cells(number + 1)]))
        if part == "test":
            read.append(",".join([str(study), *(["1.0", "0.0"] * 7)]))
    tables = {"split": split, "metadata": metadata, **said}
    for name, lines in tables.items():
        write_compressed(folder / f"mimic-cxr-2.0.0-{name}.csv.gz", lines)
    if release == "2.1.0":
        (folder / "mimic-cxr-2.1.0-test-set-labeled.csv").write_text("\n".join(read) + "\n")
    return folder


def write_compressed(path: Path, lines: list[str]) -> None:
    """A compressed text file."""
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


def edit_compressed(path: Path, *, old: str, new: str) -> None:
    """Replace the first occurrence of some text in a compressed file, which must hold it."""
    text = gzip.decompress(path.read_bytes()).decode()
    assert old in text
    path.write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"

PADCHEST_COLUMNS = next(
    csv.reader(
        [
            ",ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,ViewPosition_DICOM,"
            "Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,PhotometricInterpretation_DICOM,"
            "PixelRepresentation_DICOM,PixelAspectRatio_DICOM,SpatialResolution_DICOM,BitsStored_DICOM,"
            "WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,"
            "ExposureInuAs_DICOM,ExposureTime,RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,"
            "Localizations,LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS"
        ]
    )
)


def make_padchest(folder: Path, findings: list[str]) -> Path:
    """One image per list of findings, the first labelled by a physician, the second by the model, and so on."""
    rows = []
    for number, listed in enumerate(findings):
        given = {
            "ImageID": f"image{number}.png",
            "ImageDir": str(number % 2),
            "StudyDate_DICOM": "20140915",
            "StudyID": f"study{number}",
            "PatientID": f"patient{number // 2}",
            "PatientBirth": f"{1940 + number}.0",
            "PatientSex_DICOM": "FMO"[number % 3],
            "Projection": ["PA", "AP_horizontal", "L", "COSTAL", "EXCLUDE"][number % 5],
            "Manufacturer_DICOM": "ImagingDynamicsCompanyLtd",
            "MethodLabel": ["Physician", "RNN_model"][number % 2],
            "Labels": listed,
        }
        rows.append([given.get(name, number if not name else "x") for name in PADCHEST_COLUMNS])
        write_picture(folder / given["ImageDir"] / given["ImageID"], picture(number).astype(np.uint16) * 257)
    with (folder / PADCHEST).open("w", newline="") as file:
        csv.writer(file).writerows([PADCHEST_COLUMNS, *rows])
    return folder


def make_uka_cxr(folder: Path, *, patients: int = 6) -> Path:
    """Patients with two images; the grades of image n are 1, 2, 3, 4, empty in turn, beginning with the n-th."""
    rows = [",".join(["image_id,patient_id,study_id,split,sex,age", *uka_cxr.GRADED, "healthy"])]
    for number in range(2 * patients):
        grades = [["1", "2", "3", "4", ""][(place + number) % 5] for place in range(len(uka_cxr.GRADED))]
        person = f"{number // 2:03d}"
        rows.append(
            ",".join([f"i{number},{person},{person}-1,,{['M', 'F', ''][number % 3]},70", *grades, str(number % 2)])
        )
        write_picture(folder / "images" / f"i{number}.png", picture(number))
    (folder / "uka_cxr.csv").write_text("\n".join(rows) + "\n")
    return folder
