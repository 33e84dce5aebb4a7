"""COVID-CT of UC San Diego: 746 CT slices out of publications, 349 of them of patients with COVID-19."""

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
from headwater.data.io.raster import pictures_below, read_picture
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
"""How the lists call a split, and how we call it."""

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


class Options(Record):
    """Who decides which images are tested on."""

    splits: Literal["official", "grouped", "drawn"] = "official"
    """The authors' lists as they are; or with all images of a patient where most of them are; or drawn by patient.
    Lists that part a patient are refused, unless the archive's `patients_apart` leaves it to the ledger."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The six lists, and the tables of patients that are there."""
    remedy = "fetch it from the authors' repository, or mend the archive's folder"
    lists = [first_there(folder, names=[name], remedy=remedy) for name in LISTS.values()]
    return [*lists, *(file for _, file in _patient_tables(folder))]


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the tables of patients."""
    return {file: COLUMNS for _, file in _patient_tables(folder)}


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per listed image, list by list; the class is that of the list."""
    label_files(folder, options)
    cases = _listed(folder)
    told = _told(cases, folder=folder)
    bare, figure = cases["case"].map(_bare), cases["case"].map(_figure)
    # images that are cut out of one figure are of one patient, as far as anybody can tell
    patient = cases["label"] + "/" + told["patient"].where(told["patient"] != "", "figure " + figure)
    catalogue = cases.assign(
        patient=patient,
        study=(cases["label"] + "/" + figure).where(figure != bare, ""),
        site="",
        file=_places(folder, cases=cases),
        split=_split(cases["split"], patient, how=options.splits),
        sex=told["sex"].str[:1].str.upper().where(lambda sex: sex.isin(["F", "M"]), ""),
        age=told["age"].map(in_years).astype(float),
        view="",
    )
    targets = {TARGET + label: (cases["label"] == label).astype("float32") for label in CARD.labels}
    return catalogue.drop(columns="label").assign(**targets)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One slice as the publication shows it: uint8 (height, width), or with colours (height, width, 3)."""
    return read_picture(folder / case["file"])


def _bare(name: str) -> str:
    """An image's name without its ending."""
    return re.sub(r"\.(png|jpe?g)$", "", name, flags=re.IGNORECASE)


def _figure(name: str) -> str:
    """The figure that an image was cut out of: what stands before `%`, where the authors number its pieces."""
    return _bare(name).partition("%")[0]


def _listed(folder: Path) -> pd.DataFrame:
    """Every listed image with its class and its official split; each in one list only."""
    first: dict[str, Path] = {}
    rows = []
    for (label, split), name in LISTS.items():
        for case in read_lines(folder / name):
            if case in first:
                also = f"also stands in {first[case].name}"
                remedy = "an image belongs to one of them"
                raise UserError(f"{case} {also}", file=folder / name, remedy=remedy, nameless=f"an image of it {also}")
            first[case] = folder / name
            rows.append({"case": case, "label": label, "split": split})
    return pd.DataFrame(rows, columns=["case", "label", "split"], dtype=str)


def _patient_tables(folder: Path) -> Iterator[tuple[str, Path]]:
    """The tables of patients that are there, by class; a workbook beside which no CSV lies is refused."""
    for label in CARD.labels:
        table = folder / f"{label}-CT-MetaInfo.csv"
        if table.is_file():
            yield label, table
        elif table.with_suffix(".xlsx").is_file():
            what = "tells the patients, and only its CSV is read"
            remedy = f"save its sheet as {table.name} beside it"
            raise UserError(what, file=table.with_suffix(".xlsx"), remedy=remedy, nameless=what)


def _told(cases: pd.DataFrame, *, folder: Path) -> pd.DataFrame:
    """What the tables tell of each listed image: patient, age and sex, "" where nothing; its ending may be absent."""
    known = {label: _table(file) for label, file in _patient_tables(folder)}
    nothing = dict.fromkeys(("patient", "age", "sex"), "")
    named = zip(cases["label"], cases["case"].map(_bare), strict=True)
    told = [known.get(label, {}).get(case, nothing) for label, case in named]
    return pd.DataFrame(told, columns=list(nothing), index=cases.index, dtype=str)


def _table(file: Path) -> dict[str, dict[str, str]]:
    """What a table of patients says of each image; refuses two patients of one image."""
    sheet = read_sheet(file, columns=COLUMNS, optional=["age", "sex"])
    sheet = sheet[sheet["image"] != ""].assign(image=lambda rows: rows["image"].map(_bare))
    patients = sheet.groupby("image")["patient"].nunique()
    if (patients > 1).any():
        many = f"names two patients for one image ({int((patients > 1).sum())} such images)"
        raise UserError(f"{patients.idxmax()}: {many}", file=file, remedy="leave one of them", nameless=many)
    return sheet.drop_duplicates("image").set_index("image")[["patient", "age", "sex"]].to_dict("index")


def _split(official: pd.Series, patient: pd.Series, *, how: str) -> pd.Series:
    """The split of each image: the lists', none at all, or where most of its patient's are, at equal numbers train."""
    if how == "official":
        return official
    if how == "drawn":
        return pd.Series("", index=official.index)
    counts = pd.crosstab(patient, official).reindex(columns=list(SPLITS), fill_value=0)
    return patient.map(counts.idxmax(axis=1))


def _places(folder: Path, *, cases: pd.DataFrame) -> list[str]:
    """Where each image lies below the folder; what is not there keeps a place that reading will refuse."""
    remedy = "unpack CT_COVID.zip and CT_NonCOVID.zip below Images-processed/"
    found = {
        label: pictures_below(folder, pattern=f"Images-processed/CT_{label}/**/*.*", remedy=remedy)
        for label in CARD.labels
    }
    return [
        found[label].get(case, f"Images-processed/CT_{label}/{case}")
        for case, label in zip(cases["case"], cases["label"], strict=True)
    ]
