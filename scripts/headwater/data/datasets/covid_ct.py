"""COVID-CT of UC San Diego: 746 CT slices from figures of publications, 349 of them of patients with COVID-19."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.io.ages import in_years
from headwater.data.io.folders import composed, pictures_below
from headwater.data.io.raster import FORMATS, read_picture
from headwater.data.io.sheets import first_there, read_lines, read_sheet
from headwater.data.tables import SPLITS, TARGET

CARD = Card(
    title="COVID-CT (UCSD-AI4H)",
    licence="not settled: the figures belong to the publications that they come from",
    citation="Yang X, He X, Zhao J, Zhang Y, Zhang S, Xie P. COVID-CT-Dataset: a CT scan dataset about COVID-19. "
    "arXiv 2003.13865.",
    url="https://github.com/UCSD-AI4H/COVID-CT",
    modality="CT",
    task="multiclass",
    labels=("COVID", "NonCOVID"),
    patients=True,
    expected={"cases": 746, "train": 425, "validation": 118, "test": 203},
    note="figures out of publications; patients as the authors' tables tell them, else by figure",
)

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Names of splits in the lists, and ours."""

LISTS = {
    (label, split): f"Data-split/{label}/{part}CT_{label}.txt" for label in CARD.labels for part, split in PARTS.items()
}

SPLIT_FILES = {split: LISTS["COVID", split] for split in PARTS.values()}

COLUMNS = {
    "image": ("File name", "image name", "image"),
    "patient": ("Patient ID", "patient id", "patient"),
    "age": ("Age",),
    "sex": ("Gender",),
}
"""The columns of the tables of patients, which the authors spell differently for the two classes."""

OPTIONAL = ("age", "sex")


class Options(Record):
    """How the images are split."""

    splits: Literal["official", "grouped", "drawn"] = "official"
    """The authors' lists; or the lists with all images of a patient moved to the split of most; or drawn by patient.
    Lists that divide a patient are refused, unless the archive's `patients_apart` leaves it to the ledger."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The six lists, and the tables of patients that are there."""
    remedy = "fetch it from the authors' repository, or correct the archive's folder"
    lists = [first_there(folder, names=[name], remedy=remedy) for name in LISTS.values()]
    return [*lists, *(file for _, file in _patient_tables(folder))]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the tables of patients."""
    return {file: COLUMNS for _, file in _patient_tables(folder)}


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per listed image, list by list; the class is that of the list."""
    label_files(folder, options)
    cases = _listed(folder)
    persons = _persons(cases, folder=folder)
    stem, figure = cases["case"].map(_stem), cases["case"].map(_figure)
    # without a patient in the tables, images cut out of one figure are assumed to be of one patient
    patient = cases["label"] + "/" + persons["patient"].where(persons["patient"] != "", "figure " + figure)
    catalogue = cases.assign(
        patient=patient,
        study=(cases["label"] + "/" + figure).where(figure != stem, ""),
        site="",
        file=_places(folder, cases=cases),
        split=_split(cases["split"], patient, how=options.splits),
        sex=persons["sex"].str[:1].str.upper().where(lambda sex: sex.isin(["F", "M"]), ""),
        age=persons["age"].map(in_years).astype(float),
        view="",
    )
    targets = {TARGET + label: (cases["label"] == label).astype("float32") for label in CARD.labels}
    return catalogue.drop(columns="label").assign(**targets)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice as printed in the publication: uint8 (height, width), or in colour (height, width, 3)."""
    return read_picture(folder / case["file"])


def _stem(name: str) -> str:
    """An image's name without its suffix."""
    return re.sub(r"\.(png|jpe?g)$", "", name, flags=re.IGNORECASE)


def _figure(name: str) -> str:
    """The figure that an image was cut out of: the part before `%`, after which the authors number its pieces."""
    return _stem(name).partition("%")[0]


def _listed(folder: Path) -> pd.DataFrame:
    """Every listed image with its class and its official split; an image in two lists is refused."""
    list_of: dict[str, Path] = {}
    rows = []
    for (label, split), name in LISTS.items():
        for case in read_lines(folder / name):
            if case in list_of:
                also = f"is also in {list_of[case].name}"
                remedy = "keep each image in one of them"
                raise UserError(f"{case} {also}", file=folder / name, remedy=remedy, nameless=f"an image of it {also}")
            list_of[case] = folder / name
            rows.append({"case": case, "label": label, "split": split})
    return pd.DataFrame(rows, columns=["case", "label", "split"], dtype=str)


def _patient_tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """The tables of patients that are there, by class; a workbook without a CSV beside it is refused."""
    for label in CARD.labels:
        table = folder / f"{label}-CT-MetaInfo.csv"
        if table.is_file():
            yield label, table
        elif table.with_suffix(".xlsx").is_file():
            thing = "names the patients, but only a CSV is read"
            remedy = f"save its sheet as {table.name} beside it"
            raise UserError(thing, file=table.with_suffix(".xlsx"), remedy=remedy, nameless=thing)


def _persons(cases: pd.DataFrame, *, folder: Path) -> pd.DataFrame:
    """Patient, age and sex of each listed image, "" if unknown."""
    tables = {label: _table(file) for label, file in _patient_tables(folder)}
    unknown = dict.fromkeys(("patient", "age", "sex"), "")
    # by stem: some tables name images without a suffix
    stems = zip(cases["label"], cases["case"].map(_stem), strict=True)
    persons = [tables.get(label, {}).get(stem, unknown) for label, stem in stems]
    return pd.DataFrame(persons, columns=list(unknown), index=cases.index, dtype=str)


def _table(file: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of patients by image; two patients of one image are refused."""
    sheet = read_sheet(file, columns=COLUMNS, optional=OPTIONAL)
    sheet = sheet[sheet["image"] != ""].assign(image=lambda rows: rows["image"].map(_stem))
    patients = sheet.groupby("image")["patient"].nunique()
    if (patients > 1).any():
        thing = f"names two patients for one image ({int((patients > 1).sum())} such images)"
        raise UserError(f"{patients.idxmax()}: {thing}", file=file, remedy="remove one of them", nameless=thing)
    return sheet.drop_duplicates("image").set_index("image")[["patient", "age", "sex"]].to_dict("index")


def _split(official: pd.Series, patient: pd.Series, *, how: str) -> pd.Series:
    """The split of each image: official, "" to be drawn, or that of most images of its patient."""
    if how == "official":
        return official
    if how == "drawn":
        return pd.Series("", index=official.index)
    counts = pd.crosstab(patient, official).reindex(columns=list(SPLITS), fill_value=0)
    # idxmax takes the first of equal counts, and SPLITS begins with train
    return patient.map(counts.idxmax(axis=1))


def _places(folder: Path, *, cases: pd.DataFrame) -> list[str]:
    """The path of each image below the folder; a missing one gets a path that cannot be read, and becomes a reject."""
    remedy = "unpack CT_COVID.zip and CT_NonCOVID.zip below Images-processed/"
    pictures = {
        label: pictures_below(folder, within=f"Images-processed/CT_{label}", endings=tuple(FORMATS), remedy=remedy)
        for label in CARD.labels
    }
    return [
        pictures[label].get(composed(case), f"Images-processed/CT_{label}/{case}")
        for case, label in zip(cases["case"], cases["label"], strict=True)
    ]
