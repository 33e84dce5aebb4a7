"""Medical Segmentation Decathlon: volumes with outlined structures, in the layout of any of its ten tasks.

The same of nnU-Net's newer raw data sets, whose dataset.json lists no cases, gives each structure its value instead of
each value its structure, and whose volumes have a file per channel: case_0000.nii.gz, with the mask case.nii.gz.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from headwater.core.errors import UserError, did_you_mean, stop_if_disk
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.data.datasets._masks import BACKGROUND, numbered
from headwater.data.io.folders import entries, refuse_special
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

CHANNEL = re.compile(r"_\d{4}(?=\.nii)")
"""The number of a channel at the end of a file's name."""

IGNORED = "ignore"
"""The name by which nnU-Net tells voxels of which nothing is known; here they would become a structure."""


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
    """The folder of the masks; dataset.json says which belongs to which volume, else the one of the same name."""
    unlabelled: Literal["rejected", "kept"] = "rejected"
    """What becomes of a volume without a mask; if it is kept, nothing is known of its structures."""


class Task(NamedTuple):
    """What dataset.json says."""

    structures: dict[int, str]
    """by the value in masks"""
    channels: tuple[str, ...]
    masks: Mapping[str, str]
    """the file name of the mask, by that of the volume"""
    by_channel: bool = False
    """whether each channel has a file of its own"""


NO_TASK = Task({}, (), {})
"""Where there is no dataset.json."""


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
    file = None if options.structures else folder / FILE
    names = options.structures or tuple(_task(folder).structures.values())
    if twice := sorted({name for name in names if names.count(name) > 1}):
        what, remedy = f"gives two structures the name {twice[0]!r}", "give each a name of its own"
        raise UserError(what if file else f"structures: {what}", file=file, remedy=remedy, nameless=what)
    return names


def label_files(folder: Path, options: Options) -> list[Path]:
    """The file that describes the task; none if the options name the structures."""
    return [] if _described(folder, options) is NO_TASK else [folder / FILE]


def read_cases(folder: Path, options: Options) -> pd.DataFrame:
    """The catalogue: one row per volume or mask that is listed or lies there, by name; each counts as a patient."""
    task = _described(folder, options)
    if task is not NO_TASK:
        _refuse_other_modality(task, options=options, file=folder / FILE)
    ending = _ending(folder, task, options)
    images = {name for name in _files(folder / options.images) if _stem(name).endswith(ending)} | set(task.masks)
    claimed = {_mask_of(name, task) for name in images}
    lone = (name for name in _files(folder / options.labels) if name not in claimed)
    names = sorted({*images, *(_stem(name) + ending + name.removeprefix(_stem(name)) for name in lone)})
    if not names:
        remedy = f"unpack the task there, or name its folders ({options.images}, {options.labels}) by options"
        raise UserError("has no volumes", file=folder, remedy=remedy, nameless="has no volumes")
    cases = [_stem(name).removesuffix(ending) for name in names]
    table = pd.DataFrame({"case": cases, "patient": cases, "file": [f"{options.images}/{name}" for name in names]})
    table = table.assign(study="", site="", split="", sex="", age=np.nan, view="")
    unknown = {TARGET + label: np.full(len(table), np.nan, np.float32) for label in structures(folder, options)}
    return pd.concat([table, pd.DataFrame(unknown)], axis=1)


def read_volume(folder: Path, case: Mapping[str, Any], options: Options) -> Volume:
    """One volume, or the chosen channel of one of several."""
    file = folder / case["file"]
    if not file.exists() and _mask(folder, case, options).exists():
        _refuse_lone(case, "has a mask but no image")
    by_channel = _described(folder, options).by_channel
    return read_nifti(file, number=None if by_channel else _channel(folder, options.channel))


def read_mask(folder: Path, case: Mapping[str, Any], options: Options) -> Volume | None:
    """Its mask, in which structures are numbered from 1 in their order; None where it may lack one and does."""
    file = _mask(folder, case, options)
    if not file.exists() and (folder / case["file"]).exists():
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
    return folder / options.labels / _mask_of(Path(case["file"]).name, _described(folder, options))


def _mask_of(image: str, task: Task) -> str:
    """The file name of a volume's mask: as dataset.json pairs them, else the same, without the channel's number."""
    return task.masks.get(image, CHANNEL.sub("", image) if task.by_channel else image)


def _described(folder: Path, options: Options) -> Task:
    """The content of dataset.json, or no task if there is none and the options do without."""
    return _task(folder) if (folder / FILE).exists() or not options.structures else NO_TASK


def _ending(folder: Path, task: Task, options: Options) -> str:
    """What the names of the volumes that are read end in, before .nii: a number where each channel has a file."""
    if not task.by_channel:
        return ""
    if not options.channel and len(task.channels) > 1:
        what = f"says that volumes have {len(task.channels)} channels, each in a file of its own"
        remedy = f"name one by the option `channel`: {', '.join(task.channels)}"
        raise UserError(what, file=folder / FILE, remedy=remedy, nameless=what)
    return f"_{_channel(folder, options.channel) or 0:04d}"


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
    refuse_special(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=partial(_once, file=file))
        by_channel = "channel_names" in content
        if by_channel and "dataset" in content:
            what = "lists its files by `dataset`, which is not read"
            remedy = "name them case_0000.nii.gz and case.nii.gz, and remove that entry"
            raise UserError(what, file=file, remedy=remedy, nameless=what)
        values = _values(content["labels"], file=file)
        channels = content["channel_names" if by_channel else "modality"]
        channels = tuple(str(channels[str(number)]) for number in range(len(channels)))
        listed = content.get("training", []) if by_channel else content["training"]
        pairs = [(Path(entry["image"]).name, Path(entry.get("label") or entry["image"]).name) for entry in listed]
    except FileNotFoundError:
        remedy = "correct the archive's folder, or name the structures by the option `structures`"
        raise UserError("is not there", file=file, remedy=remedy, nameless="is not there") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        stop_if_disk(error, file=file)
        what = "does not describe a task (labels, modality, training)"
        raise UserError(f"{what}: {error!r}", file=file, remedy="fetch it again", nameless=what) from None
    _refuse_twice((image for image, _ in pairs), what="lists a volume more than once", file=file)
    _refuse_twice((mask for _, mask in pairs), what="gives several volumes one mask", file=file)
    outlined = {value: values[value] for value in sorted(values) if value != BACKGROUND}
    return Task(outlined, channels, dict(pairs), by_channel)


def _once(pairs: list[tuple[str, Any]], *, file: Path) -> dict[str, Any]:
    """An object of JSON, in which no name stands twice."""
    _refuse_twice((name for name, _ in pairs), what="has a name twice in one object", file=file)
    return dict(pairs)


def _values(labels: Mapping[str, Any], *, file: Path) -> dict[int, str]:
    """The structures by their values in masks, from either form: by value, or nnU-Net's by name."""
    by_name = not all(key.strip().isdecimal() for key in labels)
    if by_name and (IGNORED in labels or any(isinstance(value, list) for value in labels.values())):
        what = "has regions of several values, or voxels to be ignored, which are not read"
        remedy = "give each structure one value of its own, in the masks and here"
        raise UserError(what, file=file, remedy=remedy, nameless=what)
    pairs = labels.items() if not by_name else ((value, name) for name, value in labels.items())
    pairs = [(int(str(value)), str(name)) for value, name in pairs]
    _refuse_twice((str(value) for value, _ in pairs), what="gives two structures one value", file=file)
    return dict(pairs)


def _refuse_twice(words: Iterable[str], *, what: str, file: Path) -> None:
    """Refuse a dataset.json in which one of these stands twice."""
    count = Counter(words)
    if twice := [word for word in count if count[word] > 1]:
        raise UserError(f"{what}: {twice[0]!r}", file=file, remedy="correct it there", nameless=what)


def _refuse_other_modality(task: Task, *, options: Options, file: Path) -> None:
    """Refuse CT that is taken for something else, whose values would be shown in another way, and the reverse."""
    is_ct = any("CT" in channel.upper().split() for channel in task.channels)
    if is_ct != options.hounsfield:
        what = f"says that the modality is {', '.join(task.channels)}"
        raise UserError(what, file=file, remedy=f"set kind: {{name: msd, hounsfield: {str(is_ct).lower()}}}")
