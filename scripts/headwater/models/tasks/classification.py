"""Classification: which findings an image shows, label by label or one out of several."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from headwater.data.store import Prepared
from headwater.models.encoder import Encoder
from headwater.models.timm_library import timm
from headwater.study.recipe import Loss

EVIDENCE = ("target", "score")
KINDS = {"score": "finite", "target": "binary"}
SCORE = "auroc"
NEEDS = "has both classes"
LOG_ODDS = True
SOFT = True
LOSSES = ("focal", "asymmetric")

Form = Literal["multilabel", "multiclass"]


def form(targets: np.ndarray, *, labels: Sequence[str] = (), partial: bool = False) -> Form:
    """Whether labels (cases, labels) stand side by side, or each case bears exactly one of several.

    One of several is what holds for every case without an exception; anything else is answered label by label. Some of
    the classes do not exhaust the cases: each is told apart from the rest.
    """
    one_each = targets.shape[1] > 1 and len(targets) > 0 and bool(np.all((targets == 1).sum(axis=1) == 1))
    complete = bool(np.all(np.isfinite(targets))) and not partial
    return "multiclass" if one_each and complete else "multilabel"


def targets(data: Prepared, rows: np.ndarray, *, labels: Sequence[str]) -> np.ndarray:
    """Float32 (rows, labels): 1 present, 0 absent, NaN unknown."""
    return data.targets(rows, list(labels))


def eligible(targets: np.ndarray) -> np.ndarray:
    """For each label, whether it is present in some rows and absent in others."""
    return (targets == 1).any(axis=0) & (targets == 0).any(axis=0)


def head(encoder: Encoder, *, labels: int, seed: int) -> nn.Linear:
    """A linear layer from features (batch, width) to logits (batch, labels), with small weights and a bias of 0."""
    layer = nn.Linear(encoder.width, labels)
    drawn = torch.randn(labels, encoder.width, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        layer.weight.copy_(0.02 * drawn)
        layer.bias.zero_()
    return layer


def label_weights(targets: np.ndarray, *, form: Form, wanted: bool) -> Tensor:
    """One weight per label from the training rows' targets (rows, labels); all 1 unless `wanted`.

    Multilabel: negatives / positives. Multiclass: inverse to the class' frequency, with mean 1 over the rows.
    """
    positives = np.nansum(targets == 1, axis=0).astype(float)
    negatives = np.nansum(targets == 0, axis=0).astype(float)
    if not wanted:
        return torch.ones(targets.shape[1])
    if form == "multilabel":
        weights = np.divide(negatives, positives, out=np.ones_like(positives), where=positives > 0)
    else:
        present = np.count_nonzero(positives)
        weights = np.divide(positives.sum(), present * positives, out=np.ones_like(positives), where=positives > 0)
    return torch.tensor(weights, dtype=torch.float32)


def softened(targets: Tensor, *, share: float, form: Form) -> Tensor:
    """Targets (batch, labels) of which a share is replaced by not knowing; NaN stays.

    Not knowing is one half for each of several findings, and an equal part for each of several classes, as in torch's
    `cross_entropy` (Szegedy 2016, arXiv 1512.00567, section 7).
    """
    return (1 - share) * targets + share / (2 if form == "multilabel" else targets.shape[1])


def loss(outputs: Tensor, targets: Tensor, *, weights: Tensor, form: Form, chosen: Loss | None = None) -> Tensor:
    """Mean over the cases of the batch; labels or cases whose target is unknown (NaN) add nothing.

    The denominator is the number of cases (and labels) whatever is unknown, so that the mean over equal shares of a
    batch is the loss of the batch. Targets may lie between 0 and 1. `weights` (labels,): of positives (multilabel), of
    classes (multiclass). Without a chosen loss it is cross-entropy.
    """
    chosen = chosen or Loss()
    logits = outputs.float()
    known = targets.isfinite()
    # torch computes the multilabel loss in the number format of the targets
    filled = torch.where(known, targets, 0.0).to(logits.dtype)
    if form == "multilabel":
        return torch.where(known, _of_findings(logits, filled, weights=weights, chosen=chosen), 0.0).mean()
    # a case with an unknown label, or with none of the classes, has weight 0
    weighed = filled * weights * known.all(dim=1, keepdim=True)
    chances = F.log_softmax(logits, dim=1)
    if chosen.kind == "focal":
        weighed = weighed * (1 - chances.exp()) ** chosen.gamma
    return -(weighed * chances).sum(dim=1).mean()


def _of_findings(logits: Tensor, targets: Tensor, *, weights: Tensor, chosen: Loss) -> Tensor:
    """The loss of each case and label (batch, labels); weights (labels,) are of positives.

    Focal: Lin 2017, arXiv 1708.02002, equation 4. Asymmetric: Ridnik 2021, arXiv 2009.14119, equations 5 to 7.
    """
    if chosen.kind == "focal":
        each = sigmoid_focal_loss(logits, targets, alpha=-1, gamma=chosen.gamma)
        return torch.where(targets == 1, weights * each, each)
    if chosen.kind == "asymmetric":
        gammas = {"gamma_pos": chosen.gamma_positive, "gamma_neg": chosen.gamma_negative}
        asymmetric = timm.loss.AsymmetricLossMultiLabel(
            **gammas, clip=chosen.clip, pos_weight=weights, reduction="none"
        )
        return asymmetric(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")


def evidence(
    outputs: Tensor, targets: np.ndarray, *, form: Form, columns: Sequence[int] | None = None
) -> dict[str, np.ndarray]:
    """Targets and scores (cases, labels); a score is the logit, or for one of several classes its log-odds."""
    scores = _log_odds(outputs.double(), form=form).numpy()
    return {"target": targets, "score": scores if columns is None else scores[:, list(columns)]}


def _log_odds(logits: Tensor, *, form: Form) -> Tensor:
    """Logits (cases, labels) as log-odds of the sigmoid, or of the softmax over the classes."""
    if form == "multilabel" or logits.shape[1] == 1:
        return logits
    own = torch.eye(logits.shape[1], dtype=torch.bool)
    others = logits[:, None, :].masked_fill(own, -torch.inf)  # (cases, class, the other classes)
    return logits - others.logsumexp(dim=2)


def validation_score(evidence: dict[str, np.ndarray]) -> float | None:
    """Macro AUROC: the mean over the labels with both classes."""
    target, score = evidence["target"], evidence["score"]
    each = [_auroc(target[:, label], score[:, label]) for label in np.flatnonzero(eligible(target))]
    return float(np.mean(each)) if each else None


def _auroc(target: np.ndarray, score: np.ndarray) -> float:
    """How often a case with the finding scores higher than one without, ties half; unknown targets are left out.

    Wins are counted as whole numbers, so that equal rankings give equal numbers, and no rounding picks a step.
    """
    positives, negatives = score[target == 1], np.sort(score[target == 0])
    lower = np.searchsorted(negatives, positives, side="left").sum()
    not_higher = np.searchsorted(negatives, positives, side="right").sum()
    return float((lower + not_higher) / (2 * len(positives) * len(negatives)))
