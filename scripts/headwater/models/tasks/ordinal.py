"""Ordinal: which of several grades in order an image shows, such as those of Kellgren and Lawrence.

One number is read off the image, and thresholds on it part the grades (proportional odds; McCullagh, J R Stat Soc B
1980, section 2.2). A grade next to the right one is less wrong than one further away, which classes do not know.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.core.errors import UserError
from headwater.data.store import Prepared
from headwater.models.encoder import Encoder
from headwater.models.tasks import classification

EVIDENCE = ("target", "score")
KINDS = {"score": "finite", "target": "binary"}
SCORE = "auroc"
NEEDS = "has both classes"
LOG_ODDS = True
FEWEST = 3

SMALLEST = 1e-4
"""Smallest distance between two thresholds."""


def form(targets: np.ndarray, *, labels: Sequence[str] = (), partial: bool = False) -> str:
    """Ordered grades, one for each case (cases, labels) of which all is known; in the order of the labels.

    Refuses fewer than three grades, some of an archive's, and cases without a grade or with several.
    """
    if targets.shape[1] < FEWEST:
        raise UserError(f"{targets.shape[1]} grades have no order to learn", remedy="use the task classification")
    if partial:
        raise UserError("only some of the grades are asked for", remedy="list all grades as labels")
    known = targets[np.isfinite(targets).all(axis=1)]
    wrong = np.flatnonzero((known == 1).sum(axis=1) != 1)
    if len(wrong):
        remedy = "list all grades as labels, from the lowest to the highest, or use the task classification"
        raise UserError(f"{len(wrong)} cases have no grade or several", remedy=remedy)
    return "ordered"


def targets(data: Prepared, rows: np.ndarray, *, labels: Sequence[str]) -> np.ndarray:
    """Float32 (rows, grades): 1 for the grade of a case, 0 for the others, NaN unknown."""
    return classification.targets(data, rows, labels=labels)


def eligible(targets: np.ndarray) -> np.ndarray:
    """For each grade, whether it is present in some rows and absent in others."""
    return classification.eligible(targets)


class _Graded(nn.Module):
    """One number of the features, and the thresholds between grades on it."""

    def __init__(self, width: int, *, grades: int, seed: int):
        super().__init__()
        self.number = nn.Linear(width, 1, bias=False)
        shares = torch.arange(1, grades) / grades
        # at first all grades are as likely where the number is 0
        edges = torch.logit(shares)
        self.first = nn.Parameter(edges[:1].clone())
        self.steps = nn.Parameter(torch.log(torch.expm1(edges.diff() - SMALLEST)))
        with torch.no_grad():
            drawn = torch.randn(1, width, generator=torch.Generator().manual_seed(seed))
            self.number.weight.copy_(0.02 * drawn)

    @property
    def thresholds(self) -> Tensor:
        """In ascending order (grades - 1,)."""
        return torch.cat([self.first, self.first + (F.softplus(self.steps) + SMALLEST).cumsum(dim=0)])

    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities (batch, grades)."""
        above = self.number(features) - self.thresholds
        lowest, highest = F.logsigmoid(-above[:, :1]), F.logsigmoid(above[:, -1:])
        # log(sigmoid(a) - sigmoid(b)) for a > b, without the difference of two numbers that are nearly alike
        upper, lower = above[:, :-1], above[:, 1:]
        between = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
        return torch.cat([lowest, between, highest], dim=1)


def head(encoder: Encoder, *, labels: int, seed: int) -> nn.Module:
    """A linear layer from features (batch, width) to one number, and thresholds on it."""
    return _Graded(encoder.width, grades=labels, seed=seed)


def label_weights(targets: np.ndarray, *, form: str, wanted: bool) -> Tensor:
    """One weight per grade: inverse to its frequency, with mean 1 over the rows; all 1 unless `wanted`."""
    return classification.label_weights(targets, form="multiclass", wanted=wanted)


def loss(outputs: Tensor, targets: Tensor, *, weights: Tensor, form: str) -> Tensor:
    """The mean over the cases of the negative log-probability of their grade; a case that is unknown adds nothing."""
    known = targets.isfinite()
    filled = torch.where(known, targets, 0.0).to(outputs.dtype)
    weighed = filled * weights * known.all(dim=1, keepdim=True)
    return -(weighed * outputs.float()).sum(dim=1).mean()


def evidence(
    outputs: Tensor, targets: np.ndarray, *, form: str, columns: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Targets, and as scores the log-odds of each grade (cases, grades)."""
    logs = outputs.double()
    # an outcome that is all but sure has finite log-odds, too
    scores = (logs - torch.log(-torch.expm1(logs.clamp(max=-1e-12)))).numpy()
    return {"target": targets, "score": scores if columns is None else scores[:, list(columns)]}


def validation_score(evidence: dict[str, np.ndarray]) -> float | None:
    """Macro AUROC: the mean over the grades, each against all others."""
    return classification.validation_score(evidence)
