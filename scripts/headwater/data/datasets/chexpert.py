"""CheXpert: 223,648 chest radiographs of Stanford Hospital, frontal and lateral, with 14 labels from reports.

`folder` is the folder of train.csv, whatever its name and whatever the paths in the tables begin with. The validation
images were labelled by radiologists, as were those of the test set, which is read if its table, test.csv or
test_labels.csv, is there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card, _mentions
from headwater.data.io.ages import in_years
from headwater.data.io.raster import read_picture
from headwater.data.io.sheets import first_there, line_of, read_sheet, refuse_empty, refuse_twice

CARD = Card(
    title="CheXpert 1.0",
    licence="Stanford University Dataset Research Use Agreement (non-commercial)",
    citation=(
        "Irvin J, Rajpurkar P, Ko M, et al. CheXpert: A large chest radiograph dataset with uncertainty labels and "
        "expert comparison. AAAI 2019."
    ),
    url="https://stanfordmlgroup.github.io/competitions/chexpert/",
    modality="radiograph",
    task="multilabel",
    labels=(
        "No Finding",
        "Enlarged Cardiomediastinum",
        "Cardiomegaly",
        "Lung Opacity",
        "Lung Lesion",
        "Edema",
        "Consolidation",
        "Pneumonia",
        "Atelectasis",
        "Pneumothorax",
        "Pleural Effusion",
        "Pleural Other",
        "Fracture",
        "Support Devices",
    ),
    patients=True,
    expected={"cases": 223_648, "train": 223_414, "validation": 234},
    hosted_logging=False,
)

OFFICIAL = ("validation",)
SPLIT_FILES = {"train": "train.csv", "validation": "valid.csv"}

TEST_FILES = ("test.csv", "test_labels.csv")
"""Names of the test set's table, which is a separate download."""

COLUMNS = {"path": ("Path",), "sex": ("Sex",), "age": ("Age",), "projection": ("AP/PA",)}

OPTIONAL = ("sex", "age", "projection")
"""What the test set's table does not state."""

SEXES = {"Female": "F", "Male": "M"}
"""Other words, such as Unknown, count as unknown."""

PLACE = r"(?:^|/)(?P<file>(?P<split>train|valid|val|test)/(?P<patient>patient\d+)/(?P<study>study\d+)/[^/]+)$"
"""The end of a path in the tables; its beginning differs between downloads."""

LABEL_OPTIONS = ("uncertain", "missing")
"""Options that change labels only, neither images nor splits."""


class Options(Record):
    """The label policy for uncertain and missing mentions in reports; radiologists' labels have neither."""

    uncertain: Literal["negative", "positive", "ignored"] = "negative"
    """A finding that the report calls uncertain (-1.0)."""
    missing: Literal["negative", "ignored"] = "negative"
    """A finding that the report does not mention (an empty cell). If ignored, No Finding is never negative."""


def label_files(folder: Path, options: Options) -> list[Path]:
    """The tables of the training and the validation images, and of the test images if it is there."""
    below = sorted(folder.glob("*/train.csv"))
    remedy = f"did you mean {below[0].parent}?" if below else "fetch it from Stanford, or correct the archive's folder"
    return list(_tables(folder, remedy=remedy).values())


def sheets(folder: Path, options: Options) -> dict[Path, dict[str, tuple[str, ...]]]:
    """The columns of the tables."""
    return dict.fromkeys(label_files(folder, options), COLUMNS | _mentions.columns(CARD.labels))


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per image of the tables, in their order."""
    label_files(folder, options)
    parts = [_cases(file, split=split, options=options) for split, file in _tables(folder).items()]
    return pd.concat(parts, ignore_index=True)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One radiograph: uint8 (height, width)."""
    return read_picture(folder / case["file"])


def _tables(folder: Path, *, remedy: str = "") -> dict[str, Path]:
    """The table of each official split; that of the test set may be absent."""
    tables = {split: first_there(folder, names=[name], remedy=remedy) for split, name in SPLIT_FILES.items()}
    test = next((folder / name for name in TEST_FILES if (folder / name).is_file()), None)
    return tables | ({"test": test} if test else {})


def _cases(table: Path, *, split: str, options: Options) -> pd.DataFrame:
    """The images of one table."""
    optional = OPTIONAL if split == "test" else ()
    sheet = read_sheet(table, columns=COLUMNS | _mentions.columns(CARD.labels), optional=optional)
    refuse_empty(sheet, columns=["path"], file=table)
    place = _places(sheet["path"], table=table)
    refuse_twice(place, columns=["file"], file=table)
    metadata = pd.DataFrame(
        {
            "case": place["file"].str.rpartition(".")[0],
            "patient": place["patient"],
            "study": place["patient"] + "/" + place["study"],
            "site": "",
            "file": place["file"],
            "split": split,
            "sex": sheet["sex"].map(SEXES).fillna(""),
            "age": sheet["age"].map(_age).astype(float),
            "view": sheet["projection"].where(sheet["projection"] != "", place["view"]),
        }
    )
    policy = {"uncertain": options.uncertain, "missing": options.missing}
    return pd.concat([metadata, _mentions.targets(sheet, labels=CARD.labels, file=table, **policy)], axis=1)


def _places(paths: pd.Series, *, table: Path) -> pd.DataFrame:
    """The parts of each path: the file below the archive's folder, the patient, the study, and the projection."""
    place = paths.str.extract(PLACE)
    invalid = place["file"].isna().to_numpy()
    if invalid.any():
        line = line_of(paths, invalid)
        remedy = "paths must end like train/patientNNNNN/studyN/viewN_frontal.jpg"
        nameless = f"line {line} has a path of another form ({int(invalid.sum())} such lines)"
        thing = f"line {line} has the path {paths[invalid].iloc[0]!r}"
        raise UserError(thing, file=table, remedy=remedy, nameless=nameless)
    lateral = place["file"].str.contains("_lateral")
    return place.assign(view=np.where(lateral, "Lateral", "Frontal"))


def _age(text: str) -> float:
    """Age in years; the archive's patients are adults, so 0 means unknown."""
    return in_years(text) or np.nan
