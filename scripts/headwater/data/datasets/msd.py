"""Medical Segmentation Decathlon: volumes with outlined structures, in the layout of any of its ten tasks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError, did_you_mean, stop_if_disk
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.datasets._masks import BACKGROUND, numbered
from headwater.data.io.folders import entries
from headwater.data.io.nifti import read_nifti
from headwater.data.io.volumes import Volume
from headwater.data.tables import TARGET

CARD = Card(
    title="Medical Segmentation Decathlon",
    licence="CC BY-SA 4.0",
    citation=(
        "Antonelli M, Reinke A, Bakas S, et al. The Medical Segmentation Decathlon. "
        "Nature Communications 2022; 13: 4128."
    ),
    url="https://medicaldecathlon.com",
    modality="MRI",
    task="multilabel",
    labels=(),
    patients=False,
    ndim=3,
)

FILE = "dataset.json"

ENDINGS = (".nii.gz", ".nii")

BESIDE = ("labels*/*", "imagesTs/*")
"""Masks, and the volumes of the challenge's test set, whose masks are not published."""


class Options(Record):
    """Which task, and where its volumes lie."""

    title: str = "Medical Segmentation Decathlon"
    """The task's name in tables."""
    hounsfield: bool = Field(False, json_schema_extra={"means": "hounsfield"})
    """Whether it is a task of CT, whose values are Hounsfield units."""
    channel: str = ""
    """The channel of volumes that have several, such as T2 or FLAIR: as `modality` of dataset.json spells it, or its
    number, counted from 0."""
    structures: tuple[str, ...] = ()
    """Names of the mask's values from 1 on; by default those of dataset.json, which must be there then."""
    images: str = "imagesTr"
    """The folder of the volumes."""
    labels: str = "labelsTr"
    """The folder of the masks, whose files have the same names."""
    unlabelled: Literal["rejected", "kept"] = "rejected"
    """What becomes of a volume without a mask; if it is kept, nothing is known of its structures."""


class Task(NamedTuple):
    """What dataset.json says."""

    structures: dict[int, str]
    """by the value in masks"""
    channels: tuple[str, ...]
    names: tuple[str, ...]
    """file names of the volumes with masks"""


def card(options: Options) -> Card:
    """The card by the options."""
    modality = "CT" if options.hounsfield else "MRI"
    described = {"title": options.title, "modality": modality, "structures": options.structures}
    return CARD.model_copy(update={**described, "labels": options.structures})


def labels(folder: Path, options: Options) -> tuple[str, ...]:
    """The structures, each of which is a label: whether a volume's mask has it."""
    return structures(folder, options)


def structures(folder: Path, options: Options) -> tuple[str, ...]:
    """The structures in the order of their values."""
    return options.structures or tuple(_task(folder).structures.values())


def label_files(folder: Path, options: Options) -> list[Path]:
    """The file that describes the task; none if the options name the structures."""
    if (folder / FILE).is_file() or not options.structures:
        _task(folder)
        return [folder / FILE]
    return []


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per volume or mask that is listed or lies there, by name; each counts as a patient."""
    task = _task(folder) if label_files(folder, options) else None
    if task:
        _refuse_other_modality(task, options=options, file=folder / FILE)
    lying = [name for part in (options.images, options.labels) for name in _files(folder / part)]
    names = sorted({*lying, *(task.names if task else ())})
    if not names:
        remedy = f"unpack the task there, or name its folders ({options.images}, {options.labels}) by options"
        raise UserError("has no volumes", file=folder, remedy=remedy, nameless="has no volumes")
    cases = [_stem(name) for name in names]
    table = pd.DataFrame({"case": cases, "patient": cases, "file": [f"{options.images}/{name}" for name in names]})
    table = table.assign(study="", site="", split="", sex="", age=np.nan, view="")
    unknown = {TARGET + label: np.full(len(table), np.nan, np.float32) for label in structures(folder, options)}
    return pd.concat([table, pd.DataFrame(unknown)], axis=1)


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One volume, or the chosen channel of one of several."""
    file = folder / case["file"]
    if not file.is_file() and _mask(folder, case, options).is_file():
        _refuse_lone(case, "has a mask but no image")
    return read_nifti(file, number=_channel(folder, options.channel))


def read_mask(folder: Path, case: Mapping[str, Any], options: Options) -> Volume | None:
    """Its mask, in which structures are numbered from 1 in their order; None where it may lack one and does."""
    file = _mask(folder, case, options)
    if not file.is_file() and (folder / case["file"]).is_file():
        if options.unlabelled == "kept":
            return None
        _refuse_lone(case, "has an image but no mask")
    mask = read_nifti(file)
    values = range(1, len(options.structures) + 1) if options.structures else list(_task(folder).structures)
    return mask._replace(voxels=numbered(mask.voxels, tuple(values), file=file))


def _refuse_lone(case: Mapping[str, Any], what: str) -> None:
    """Refuse a volume without a mask, or a mask without a volume."""
    raise UserError(f"{case['case']} {what}", remedy="fetch it, or take the other one away", nameless=what)


def _mask(folder: Path, case: Mapping[str, Any], options: Options) -> Path:
    """The file of a case's mask."""
    return folder / options.labels / Path(case["file"]).name


def _files(folder: Path) -> list[str]:
    """The names of the volumes in a folder; macOS leaves files beside them whose names begin with a dot."""
    here = entries(folder) if folder.is_dir() else []
    return [entry.name for entry in here if entry.name.endswith(ENDINGS) and not entry.name.startswith(".")]


def _stem(name: str) -> str:
    """A file's name without its ending."""
    return next((name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending)), name)


def _channel(folder: Path, channel: str) -> int | None:
    """The number of the chosen channel; None for the only one."""
    if not channel or channel.isdecimal():
        return int(channel) if channel else None
    names = _task(folder).channels
    if channel not in names:
        raise UserError(f"has no channel {channel!r}", file=folder / FILE, remedy=did_you_mean(channel, names))
    return names.index(channel)


def _task(folder: Path) -> Task:
    """The content of dataset.json, checked."""
    file = folder / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        values = {int(value): str(name) for value, name in content["labels"].items()}
        channels = tuple(str(content["modality"][str(number)]) for number in range(len(content["modality"])))
        names = tuple(Path(entry["image"]).name for entry in content["training"])
    except FileNotFoundError:
        remedy = "correct the archive's folder, or name the structures by the option `structures`"
        raise UserError("is not there", file=file, remedy=remedy, nameless="is not there") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        stop_if_disk(error, file=file)
        what = "does not describe a task (labels, modality, training)"
        raise UserError(f"{what}: {error!r}", file=file, remedy="fetch it again", nameless=what) from None
    outlined = {value: values[value] for value in sorted(values) if value != BACKGROUND}
    return Task(outlined, channels, names)


def _refuse_other_modality(task: Task, *, options: Options, file: Path) -> None:
    """Refuse CT that is taken for something else, whose values would be shown in another way, and the reverse."""
    is_ct = any("CT" in channel.upper().split() for channel in task.channels)
    if is_ct != options.hounsfield:
        what = f"says that the modality is {', '.join(task.channels)}"
        raise UserError(what, file=file, remedy=f"set kind: {{name: msd, hounsfield: {str(is_ct).lower()}}}")
