"""Reading volumes: training sees patches, and what a network says of a case is put together from windows.

A label of the whole case is told by the mean over windows that cover the volume without more overlap than they must
have; structures are outlined by overlapping windows, weighed by a Gaussian, on the grid of the source.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError, did_you_mean
from headwater.data.sliding import OVERLAP
from headwater.data.volumes import UNKNOWN, Volumes
from headwater.models.task_network import Outputs
from headwater.models.task_set import TaskSet, mapped
from headwater.models.tasks import Task
from headwater.training.reading.ahead import read_ahead, tensor
from headwater.training.views.draws import uniforms
from headwater.training.views.volumes import Patches

FIRST_DRAW = 1_000_000
"""The first of the random numbers that place a patch; views use lower ones."""


@dataclass(frozen=True, kw_only=True)
class Masks:
    """What outlining is learned from: the label maps of some rows, which show the same part as the images do.

    `classes` uint8 (256,): the network's class of each value of the map. `known` (rows,): whether a row has a map.
    `foreground`: the share of patches that are placed on a voxel of a structure.
    """

    classes: np.ndarray
    known: np.ndarray
    foreground: float


def masks_of(volumes: Volumes, task: Task, presence: np.ndarray, *, foreground: float) -> Masks:
    """The label maps that a task learns from, of rows of which `presence` (rows, labels) says what they show."""
    classes = np.zeros(256, np.uint8)
    for number, label in enumerate(task.labels, start=1):
        classes[value_of(volumes, label)] = number
    return Masks(classes=classes, known=np.isfinite(presence).all(axis=1), foreground=foreground)


def value_of(volumes: Volumes, structure: str) -> int:
    """The value of a structure in label maps; refuses a label that is none."""
    if structure not in volumes.structures:
        remedy = did_you_mean(structure, volumes.structures) if volumes.structures else "use the task classification"
        raise UserError(f"{structure!r} has no outline in this archive", remedy=remedy)
    return volumes.structures.index(structure) + 1


def step(
    volumes: Volumes, targets: Any, *, rows: np.ndarray, places: np.ndarray, keys: Tensor, device: torch.device
) -> tuple[Patches, Any]:
    """A patch of each case (batch, 1, *patch), and of label maps the same part; other targets are those of the case."""
    of_masks = next((held for held in _parts(targets) if isinstance(held, Masks)), None)
    draws = torch.stack(uniforms(keys, FIRST_DRAW, 6), dim=1).double().numpy()
    chosen = rows[places]
    corners = [
        _corner(volumes, row, draw, of_masks if of_masks is not None and of_masks.known[place] else None)
        for row, draw, place in zip(chosen.tolist(), draws, places.tolist(), strict=True)
    ]
    cut = list(zip(chosen.tolist(), corners, strict=True))
    spacing = tensor(np.stack([volumes.spacing(row) for row in chosen]).astype(np.float32), device=device)
    images = np.empty((len(cut), 1, *volumes.patch), np.float32)
    for at, patch in zip(cut, images, strict=True):
        volumes.image(*at, volumes.patch, into=patch)

    def read(held: np.ndarray | Masks) -> Tensor | Patches:
        if isinstance(held, Masks):
            seen = np.empty((len(cut), *volumes.patch), np.uint8)
            for at, patch in zip(cut, seen, strict=True):
                patch[...] = held.classes[volumes.mask(*at, volumes.patch)]
            seen[~held.known[places]] = UNKNOWN
            return Patches(tensor(seen, device=device), spacing)
        return tensor(held[places], device=device)

    return Patches(tensor(images, device=device), spacing), mapped(read, targets)


def announce(volumes: Volumes, rows: np.ndarray) -> None:
    """Nothing: a volume is larger than the patch that is read of it."""


def _parts(targets: Any) -> list[Any]:
    """What is learned, target by target."""
    return list(targets.values()) if isinstance(targets, Mapping) else [targets]


def _corner(volumes: Volumes, row: int, draws: np.ndarray, masks: Masks | None) -> np.ndarray:
    """The first voxel of a patch of a case, which lies within the volume or, where that is smaller, around it."""
    patch = np.array(volumes.patch)
    room = volumes.sides(row) - patch
    first, last = np.minimum(room, 0), np.maximum(room, 0)
    if masks is not None and draws[0] < masks.foreground:
        voxels = volumes.anchors(row)
        present = [number for number in np.flatnonzero(voxels[:, 0, 0] >= 0) if masks.classes[number + 1]]
        if present:
            structure = voxels[present[int(draws[1] * len(present))]]
            return np.clip(structure[int(draws[2] * len(structure))] - patch // 2, first, last)
    return first + (draws[3:6] * (last - first + 1)).astype(np.int64)


Keep = Callable[[int, str, np.ndarray], None]
"""What takes predicted label maps: row, name of the target, and uint8 (x, y, z) on the source's grid."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is measured of whole volumes: the tasks, and how outlines are compared with references."""

    tasks: TaskSet
    tolerance: float = 1.0
    """Millimetres within which two borders agree."""
    surfaces: bool = True
    """Whether distances of borders are measured, which takes longer than all else."""
    named: Mapping[str, str] | None = None
    """What the archive calls the structures that are compared; all, by the network's own names, if it is not told."""
    keep: Keep | None = None
    """What gets each predicted label map."""

    def called(self, label: str) -> str | None:
        """What the archive calls a structure of the network; none if it is not compared."""
        return label if self.named is None else self.named.get(label)

    @property
    def outlining(self) -> dict[str, Task]:
        """The tasks that outline structures, by the names of their targets."""
        return {name: task for name, task in self.tasks.tasks.items() if task.outlines}


def said(
    network: nn.Module,
    volumes: Volumes,
    *,
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    asked: Asked | None = None,
) -> Iterator[Outputs]:
    """What the network says of each case: (1, ...) of labels, and of outlines what is measured of them.

    One case after another, so that nothing of a case depends on others; at most `batch` windows at a time.
    """
    for row, values in zip(rows.tolist(), read_ahead(volumes.image, rows.tolist()), strict=True):
        volume = tensor(values, device=device)[None].to(device, torch.get_default_dtype())
        case = Case(network, volumes=volumes, row=row, values=volume, batch=batch)
        yield case.pooled() if asked is None else case.answers(asked)


@dataclass(frozen=True)
class Case:
    """A network in front of a whole volume, float32 (1, 1, x, y, z)."""

    network: nn.Module
    volumes: Volumes = field(kw_only=True)
    row: int = field(kw_only=True)
    values: Tensor = field(kw_only=True)
    batch: int = field(kw_only=True)

    def answers(self, asked: Asked) -> Outputs:
        """Its answers to all tasks."""
        outlining, tasks = asked.outlining, asked.tasks
        answers: dict[str, Tensor] = {}
        if len(outlining) < len(tasks.tasks):
            answers |= tasks.apart(self.pooled(lambda given: _without(tasks, given, outlining)))
        if outlining:
            answers |= {name: self._measured(asked, name, logits) for name, logits in self._outlined(asked).items()}
        return tasks.together({name: answers[name] for name in tasks.tasks})

    def pooled(self, chosen: Callable[[Outputs], Outputs] = lambda given: given) -> Outputs:
        """The mean of the outputs (1, ...) over windows that cover the volume."""
        # imported here because MONAI is slow to import and only volumes need it
        from monai.data.utils import dense_patch_slices

        patch = self.volumes.patch
        padded = _padded(self.values, patch)
        windows = [padded[(0, slice(None), *at)] for at in dense_patch_slices(padded.shape[2:], patch, patch)]
        pieces = [torch.stack(windows[start : start + self.batch]) for start in range(0, len(windows), self.batch)]
        outputs = [mapped(torch.Tensor.float, chosen(self.network(piece))) for piece in pieces]
        return mapped(lambda *parts: torch.cat(parts).mean(dim=0, keepdim=True), *outputs)

    def _outlined(self, asked: Asked) -> dict[str, Tensor]:
        """Logits float32 (classes, x, y, z) of each outlining task, on the CPU."""
        from monai.inferers import sliding_window_inference

        def predicted(windows: Tensor) -> dict[str, Tensor]:
            given = asked.tasks.apart(self.network(windows))
            return {name: given[name].float() for name in asked.outlining}

        logits = sliding_window_inference(
            self.values,
            self.volumes.patch,
            self.batch,
            predicted,
            overlap=OVERLAP,
            mode="gaussian",
            cval=float(self.values.min()),
        )
        return {name: each[0].cpu() for name, each in logits.items()}

    def _measured(self, asked: Asked, name: str, logits: Tensor) -> Tensor:
        """What is measured of a task's outlines, float64 (1, labels, measures)."""
        task = asked.tasks.tasks[name]
        measured, drawn = task.plugin.measured(
            logits,
            volumes=self.volumes,
            row=self.row,
            values=[
                value_of(self.volumes, structure) if (structure := asked.called(label)) else None
                for label in task.labels
            ],
            tolerance=asked.tolerance,
            surfaces=asked.surfaces,
        )
        if asked.keep:
            asked.keep(self.row, name, drawn)
        return measured[None]


def _without(tasks: TaskSet, given: Outputs, outlining: Mapping[str, Task]) -> Outputs:
    """The outputs of the tasks that outline nothing."""
    return {name: each for name, each in given.items() if name not in outlining} if tasks.named else given


def _padded(values: Tensor, patch: tuple[int, ...]) -> Tensor:
    """A volume (1, 1, x, y, z) with its lowest value around it where it is smaller than the patch."""
    lacking = [max(0, side - have) for side, have in zip(patch, values.shape[2:], strict=True)]
    ends = [end for each in reversed(lacking) for end in (each // 2, each - each // 2)]
    return F.pad(values, ends, value=float(values.min())) if any(ends) else values
