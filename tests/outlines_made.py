"""A task whose answers are masks, as a plug-in that is there for a test only: evidence is counted, not scored."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import headwater.models.tasks
from headwater.core import registry

PLUGIN = '''"""Outlines: which pixels of a coarse image show the finding; where it is, it fills the right half."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EVIDENCE = ("target", "true_positive", "false_positive", "false_negative")
KINDS = {"target": "binary"}
CLASSES = ("positive",)
SCORE = "overlap"
NEEDS = "is outlined"
SIDE = 4


def form(targets, *, labels=(), partial=False):
    """One form only."""
    return "outline"


def targets(data, rows, *, labels):
    """Masks (rows, labels, side, side): the right half where the finding is present, NaN where that is unknown."""
    there = data.targets(rows, list(labels))[:, :, None, None]
    half = np.zeros((SIDE, SIDE), np.float32)
    half[:, SIDE // 2 :] = 1
    return (there * half).astype(np.float32)


def eligible(targets):
    """Whether any pixel of any case is inside."""
    return (targets == 1).any(axis=(0, 2, 3))


class Head(nn.Module):
    def __init__(self, width, labels, seed):
        super().__init__()
        self.layer = nn.Linear(width, labels * SIDE * SIDE)
        self.labels = labels
        drawn = torch.randn(self.layer.weight.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            self.layer.weight.copy_(0.02 * drawn)
            self.layer.bias.zero_()

    def forward(self, features):
        return self.layer(features).unflatten(1, (self.labels, SIDE, SIDE))


def head(encoder, *, labels, seed):
    """A linear layer to logits (batch, labels, side, side)."""
    return Head(encoder.width, labels, seed)


def label_weights(targets, *, form, wanted):
    """All 1."""
    return torch.ones(targets.shape[1])


def loss(outputs: Tensor, targets: Tensor, *, weights: Tensor, form: str) -> Tensor:
    """The mean over the pixels of all cases; unknown ones add nothing."""
    known = targets.isfinite()
    filled = torch.where(known, targets, 0.0).to(outputs.dtype)
    each = F.binary_cross_entropy_with_logits(outputs, filled, reduction="none")
    return torch.where(known, each, 0.0).mean()


def evidence(outputs, targets, *, form, columns=None):
    """Counts of pixels (cases, labels), NaN where the outline is unknown."""
    inside = (outputs > 0).numpy()
    inside = inside if columns is None else inside[:, list(columns)]
    unknown = np.isnan(targets).any(axis=(2, 3))

    def counted(pixels):
        return np.where(unknown, np.nan, pixels.sum(axis=(2, 3)))

    return {
        "target": np.where(unknown, np.nan, (targets == 1).any(axis=(2, 3))),
        "true_positive": counted(inside & (targets == 1)),
        "false_positive": counted(inside & (targets == 0)),
        "false_negative": counted(~inside & (targets == 1)),
    }


def validation_score(evidence):
    """Overlap of all pixels."""
    true, false, missed = (np.nansum(evidence[name]) for name in EVIDENCE[1:])
    return float(2 * true / (2 * true + false + missed)) if true + false + missed else None
'''


@contextmanager
def there(folder: Path) -> Iterator[None]:
    """While the block runs, the tasks are the real ones and `outlines`."""
    tasks = folder / "tasks"
    real = registry.folder
    shutil.copytree(real("tasks"), tasks)
    (tasks / "outlines.py").write_text(PLUGIN)
    with (
        patch.object(registry, "folder", lambda family: tasks if family == "tasks" else real(family)),
        patch.object(headwater.models.tasks, "__path__", [*headwater.models.tasks.__path__, str(tasks)]),
    ):
        yield
