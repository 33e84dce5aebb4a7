"""Noise: cases on which a training is timed before its archive is prepared, in the files that `prepare` writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.data import volume_preparation
from headwater.data.io.volumes import Volume
from headwater.data.shelf import FlatShelf, Shelf
from headwater.data.store import CASES, digest
from headwater.data.tables import NUMBERS, TARGET
from headwater.data.volume_preparation import Work
from headwater.planning.timing_profile import Rehearsal
from headwater.study.ct_windows import Window
from headwater.study.paths import Paths
from headwater.study.target import Target, of_numbers, outlines

VOLUMES = 4
"""Volumes that are made; the last of them is for validation."""

VALIDATED = 2
"""Pictures that are made for validation."""

MILLIMETRE = (1.0, 1.0, 1.0)

HIGHEST = 1000
"""Values lie between this number and its negative."""


def written(rehearsal: Rehearsal, folder: Path, *, count: int) -> tuple[Path, Path]:
    """(cases, images) in a folder: so many pictures, or a few volumes with masks beside them."""
    paths = Paths(str(folder))
    cases, images = Path(paths.cases("noise")), Path(paths.images("noise"))
    cases.parent.mkdir(parents=True)
    asked = _asked(rehearsal)
    structures = tuple(label for target in asked if outlines(target.task) for label in target.labels)
    if isinstance(rehearsal.size, int):
        columns, validated = _pictures(rehearsal, images, count=count + VALIDATED), VALIDATED
    else:
        columns, validated = pd.DataFrame(_volumes(rehearsal, cases.parent, structures=structures)), 1
    table = pd.concat([columns, _targets(asked, many=len(columns))], axis=1)
    names = [f"noise{row}" for row in range(len(table))]
    table = table.assign(row=range(len(table)), case=names, patient=names, split="train", age=np.nan)
    table = table.assign(**dict.fromkeys(("study", "site", "file", "sex", "view"), ""))
    table.loc[len(table) - validated :, "split"] = "validation"
    CASES.write(table, cases, origin={"structures": json.dumps(structures)})
    return cases, images


def _asked(rehearsal: Rehearsal) -> list[Target]:
    """What networks are asked, with names for labels that the config does not name."""
    names = tuple(f"label {number}" for number in range(rehearsal.labels))
    corpus = [Target(labels=names)]
    asked = rehearsal.asked.values() if rehearsal.recipe else corpus
    return [target if target.labels else target.model_copy(update={"labels": names}) for target in asked]


def _targets(asked: list[Target], *, many: int) -> pd.DataFrame:
    """Targets that each task can be taught by: numbers that vary, one grade a case, structures that all cases have."""
    draw, rows, columns = np.random.default_rng(0), np.arange(many), {}
    for target in asked:
        for number, label in enumerate(target.labels):
            if of_numbers(target.task):
                columns[NUMBERS + label] = draw.normal(size=many)
            elif outlines(target.task):
                columns[TARGET + label] = np.ones(many)
            else:
                # one label a case, in turns, which is a grade, a class or a finding
                columns[TARGET + label] = (rows % max(2, len(target.labels)) == number).astype(float)
    return pd.DataFrame(columns)


def _pictures(rehearsal: Rehearsal, images: Path, *, count: int) -> pd.DataFrame:
    """The columns of pictures, or of slices in Hounsfield units."""
    draw, shape = np.random.default_rng(0), (rehearsal.channels, rehearsal.size, rehearsal.size)
    kind, ends = (np.int16, (-HIGHEST, HIGHEST)) if rehearsal.seen else (np.uint8, (0, 256))
    digests = []
    with Shelf(images, space=shape[1:], kind=kind) as shelf:
        for _ in range(count):
            values = draw.integers(*ends, shape, dtype=kind)
            shelf.add(values)
            digests.append(digest(values))
    return pd.DataFrame({"pixels": digests})


def _volumes(rehearsal: Rehearsal, folder: Path, *, structures: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The columns of volumes whose sides are spread over those of the archive, the largest among them."""
    known = sorted(zip(rehearsal.sides, rehearsal.spacings, strict=True), key=lambda each: np.prod(each[0]))
    known = known or [(rehearsal.size, MILLIMETRE)]
    chosen = [known[round(at)] for at in np.linspace(0, len(known) - 1, VOLUMES)]
    hounsfield = isinstance(rehearsal.seen, Window)
    # no file is read, so that it does not matter of which kind and folder they are
    work = Work("", "", structures, hounsfield=hounsfield, spacing=rehearsal.wanted)
    draw, names = np.random.default_rng(0), (("images", np.int16), ("masks", np.uint8), ("references", np.uint8))
    shelves = [FlatShelf(folder / f"{name}.npy", kind=kind) for name, kind in names]
    with shelves[0] as images, shelves[1] as masks, shelves[2] as references:
        for sides, spacing in chosen:
            affine = np.diag([*spacing, 1.0])
            values = draw.integers(-HIGHEST, HIGHEST, sides).astype(np.float32)
            label_map = Volume(_outlined(sides, len(structures)), affine, "")
            made = volume_preparation.prepared(Volume(values, affine, ""), label_map, work=work, case="noise")
            offset, _, begin = images.add(made.stored), masks.add(made.mask), references.add(made.reference)
            yield {**made.columns, "offset": offset, "reference_offset": begin}


def _outlined(sides: tuple[int, ...], structures: int) -> np.ndarray:
    """A label map uint8 (*sides): a box in the middle, of half the sides, shared out from one end to the other."""
    mask, box = np.zeros(sides, np.uint8), tuple(slice(side // 4, max(side // 4 + 1, 3 * side // 4)) for side in sides)
    longest = int(np.argmax(sides))
    many = mask[box].shape[longest]
    numbers = 1 + np.arange(many) * structures // many
    mask[box] = numbers.reshape([-1 if axis == longest else 1 for axis in range(len(sides))]) if structures else 0
    return mask
