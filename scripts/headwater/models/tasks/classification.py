"""Classification: which findings an image shows, label by label or one out of several."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.backbones._encoder import Encoder
from headwater.models.tasks import Kind


class Classifier(nn.Module):
    """An encoder and a linear head: float images (batch, 3, h, w) in [0, 1] to logits (batch, labels).

    The head is drawn under `seed` alone, so that it is the same for every source.
    """

    def __init__(self, encoder: Encoder, *, labels: int, seed: int):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, labels)
        drawn = torch.randn(labels, encoder.width, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            self.head.weight.copy_(0.02 * drawn)
            self.head.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, labels)."""
        return self.head(self.encoder(images))


def loss(logits: Tensor, targets: Tensor, weights: Tensor, kind: Kind) -> Tensor:
    """Mean over the cases of the batch; labels or cases whose target is unknown (NaN) add nothing.

    The denominator is the number of cases (and labels) whatever is unknown, so that the mean over equal shares of a
    batch is the loss of the batch. `weights` (labels,): of positives (multilabel), of classes (multiclass).
    """
    logits = logits.float()
    known = targets.isfinite()
    filled = torch.where(known, targets, 0.0).to(logits.dtype)
    if kind == "multilabel":
        each = F.binary_cross_entropy_with_logits(logits, filled, pos_weight=weights, reduction="none")
        return torch.where(known, each, 0.0).mean()
    # a case with an unknown label, or with none of the classes, has weight 0
    weighed = filled * weights * known.all(dim=1, keepdim=True)
    return -(weighed * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def class_weights(targets: np.ndarray, *, kind: Kind, wanted: bool) -> Tensor:
    """One weight per label from the training rows' targets (rows, labels); all 1 unless `wanted`.

    Multilabel: negatives / positives. Multiclass: inverse to the class' frequency, with mean 1 over the rows.
    """
    positives = np.nansum(targets == 1, axis=0).astype(float)
    negatives = np.nansum(targets == 0, axis=0).astype(float)
    if not wanted:
        return torch.ones(targets.shape[1])
    if kind == "multilabel":
        weights = np.divide(negatives, positives, out=np.ones_like(positives), where=positives > 0)
    else:
        present = np.count_nonzero(positives)
        weights = np.divide(positives.sum(), present * positives, out=np.ones_like(positives), where=positives > 0)
    return torch.tensor(weights, dtype=torch.float32)


def evidence(logits: Tensor, kind: Kind) -> np.ndarray:
    """Scores (cases, labels) as float64: the logit, or for one of several classes the log-odds of its softmax."""
    logits = logits.double()
    if kind == "multilabel" or logits.shape[1] == 1:
        return logits.numpy()
    own = torch.eye(logits.shape[1], dtype=torch.bool)
    others = logits[:, None, :].masked_fill(own, -torch.inf)  # (cases, class, the other classes)
    return (logits - others.logsumexp(dim=2)).numpy()
