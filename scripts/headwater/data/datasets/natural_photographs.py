"""Crops of the two photographs that scikit-learn ships: natural images that need no download.

The task is to tell from which part of which photograph a crop comes: each photograph is divided into 3 x 4 regions, and
a crop belongs to the region of its centre. It serves as a corpus for pre-training. Each region is divided into ninths
that count as patients, so no two splits share a crop's centre; but crops of neighbouring ninths overlap, so scores on
this archive's own validation or test split say little about new photographs.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.tables import TARGET

PHOTOGRAPHS = ("china", "flower")
ROWS, COLUMNS = 3, 4
"""Regions of a photograph, down and across."""
PARTS = 3
"""Each region is divided into PARTS x PARTS parts, which count as patients."""

LABELS = tuple(
    f"{photograph} r{row} c{column}" for photograph in PHOTOGRAPHS for row in range(ROWS) for column in range(COLUMNS)
)

CARD = Card(
    title="Natural photographs (crops of the two that scikit-learn ships)",
    licence="CC BY 2.0: china.jpg by danielbuechele, flower.jpg by vultilion",
    citation="Pedregosa et al., Scikit-learn: Machine Learning in Python, JMLR 12, 2011",
    url="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_sample_images.html",
    modality="photograph",
    task="multiclass",
    labels=LABELS,
    patients=False,
)


class Options(Record):
    """What the user may choose."""

    crop: int = Field(64, ge=16)
    """Width and height of the crops in pixels."""
    stride: int = Field(16, ge=1)
    """Pixels from one crop to the next, across and down."""


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue of all crops, photograph by photograph; `folder` is ignored: scikit-learn has the photographs."""
    rows = [row for name in PHOTOGRAPHS for row in _crops(name, crop=options.crop, stride=options.stride)]
    if absent := set(LABELS) - {row["label"] for row in rows}:
        raise UserError(
            f"natural_photographs: {len(absent)} of {len(LABELS)} regions have no crop's centre",
            remedy="use smaller crops or a smaller stride",
        )
    table = pd.DataFrame(rows).assign(study="", site="", split="", sex="", age=np.nan, view="")
    labels = table.pop("label")
    targets = {TARGET + label: (labels == label).astype("float32") for label in LABELS}
    return pd.concat([table, pd.DataFrame(targets)], axis=1)


def read_pixels(folder: Path, case: Mapping[str, Any]) -> np.ndarray:
    """One crop, uint8 (height, width, 3)."""
    match = re.fullmatch(r"(\w+)-x(\d+)-y(\d+)-(\d+)", case["case"])
    if not match or match[1] not in PHOTOGRAPHS:
        raise UserError(f"{case['case']!r} is not a crop of a photograph", remedy="prepare the archive again")
    x, y, crop = (int(number) for number in match.groups()[1:])
    return _photograph(match[1])[y : y + crop, x : x + crop]


def label_files(folder: Path, options: Options) -> list[Path]:
    """The photographs."""
    return [_file(name) for name in PHOTOGRAPHS]


def _crops(name: str, *, crop: int, stride: int) -> list[dict[str, str]]:
    """Each crop of a photograph with its region and its part, which counts as its patient."""
    height, width = _photograph(name).shape[:2]
    rows = []
    for y in range(0, height - crop + 1, stride):
        for x in range(0, width - crop + 1, stride):
            down = int((y + crop / 2) / height * ROWS * PARTS)
            across = int((x + crop / 2) / width * COLUMNS * PARTS)
            rows.append(
                {
                    "case": f"{name}-x{x:03d}-y{y:03d}-{crop}",
                    "patient": f"{name}-part-{down}-{across}",
                    "file": f"{name}.jpg",
                    "label": f"{name} r{down // PARTS} c{across // PARTS}",
                }
            )
    return rows


@cache
def _photograph(name: str) -> np.ndarray:
    """A whole photograph, uint8 (height, width, 3)."""
    file = _file(name)
    try:
        with Image.open(file) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise UserError(f"cannot be read: {error}", file=file, remedy="install scikit-learn again") from None


def _file(name: str) -> Path:
    """The file of a photograph within scikit-learn, located without importing it, as planning asks for it."""
    library = find_spec("sklearn")
    if library is None or library.origin is None:
        raise UserError("scikit-learn, which has the photographs, is not installed", remedy="install scikit-learn")
    return Path(library.origin).parent / "datasets" / "images" / f"{name}.jpg"
