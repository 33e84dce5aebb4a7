"""Regression: a number of each case, such as an age or a score, or several side by side."""

import json
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.data.store import Prepared
from headwater.models.encoder import Encoder
from headwater.models.placing import sent
from headwater.models.tasks import classification

EVIDENCE = ("target", "value", "predicted")
KINDS = {"target": "binary", "predicted": "finite"}
SCORE = "r_squared"
NEEDS = "varies"
CLASSES = ("positive",)
OF_NUMBERS = True
WEIGHTED = False


def form(targets: np.ndarray, *, labels: Sequence[str] = (), partial: bool = False) -> str:
    """Mean and standard deviation of each number over the cases to learn from (JSON): networks learn what is left.

    A number that is the same in all cases, or known of none, is refused.
    """
    known = np.isfinite(targets)
    _refuse(~known.any(axis=0), "is known of no case to learn from", labels=labels)
    mean, spread = np.nanmean(targets, axis=0, dtype=float), np.nanstd(targets, axis=0, dtype=float)
    _refuse(spread == 0, "is the same in all cases to learn from", labels=labels)
    return json.dumps({"mean": mean.tolist(), "sd": spread.tolist()})


def _refuse(which: np.ndarray, what: str, *, labels: Sequence[str]) -> None:
    """Refuse the first of the numbers of which something holds (numbers,)."""
    if which.any():
        name = f"number {labels[which.argmax()]!r}" if labels else "a number"
        raise UserError(f"{name} {what}", remedy="choose other numbers")


def _scale(form: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float64 (numbers,)."""
    read = json.loads(form)
    return np.array(read["mean"]), np.array(read["sd"])


def targets(data: Prepared, rows: np.ndarray, *, labels: Sequence[str]) -> np.ndarray:
    """Float32 (rows, numbers) in their own units, NaN unknown."""
    return data.values(rows, list(labels))


def eligible(targets: np.ndarray) -> np.ndarray:
    """For each number, whether two cases differ in it."""
    known = np.isfinite(targets)
    lowest = np.where(known, targets, np.inf).min(axis=0, initial=np.inf)
    return lowest < np.where(known, targets, -np.inf).max(axis=0, initial=-np.inf)


def head(encoder: Encoder, *, labels: int, seed: int) -> nn.Linear:
    """A linear layer from features (batch, width) to numbers (batch, labels) in standard deviations from the mean."""
    return classification.head(encoder, labels=labels, seed=seed)


def label_weights(targets: np.ndarray, *, form: str, wanted: bool) -> Tensor:
    """All 1: standard deviations make numbers alike."""
    return torch.ones(targets.shape[1])


def loss(outputs: Tensor, targets: Tensor, *, weights: Tensor, form: str) -> Tensor:
    """The mean over cases and numbers of Huber's loss in standard deviations; what is unknown adds nothing.

    Squares up to one standard deviation and lines beyond it, so that a few wrong entries do not lead the training.
    """
    mean, spread = (sent(torch.from_numpy(each).to(targets.dtype), targets.device) for each in _scale(form))
    known = targets.isfinite()
    wanted = torch.where(known, (targets - mean) / spread, 0.0)
    each = F.huber_loss(outputs.to(wanted.dtype), wanted, reduction="none")
    return torch.where(known, each, 0.0).mean()


def evidence(
    outputs: Tensor, targets: np.ndarray, *, form: str, columns: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Whether a number is known, its value and what the network says (cases, numbers), in the number's own units."""
    mean, spread = _scale(form)
    predicted = outputs.double().numpy() * spread + mean
    known = np.isfinite(targets)
    return {
        "target": np.where(known, 1.0, np.nan),
        "value": targets.astype(float),
        "predicted": predicted if columns is None else predicted[:, list(columns)],
    }


def validation_score(evidence: dict[str, np.ndarray]) -> float | None:
    """The mean R2 of the numbers in which two cases differ."""
    each = []
    for number in np.flatnonzero(eligible(evidence["value"])):
        known = evidence["target"][:, number] == 1
        value, predicted = evidence["value"][known, number], evidence["predicted"][known, number]
        each.append(1 - ((predicted - value) ** 2).sum() / ((value - value.mean()) ** 2).sum())
    return float(np.mean(each)) if each else None
