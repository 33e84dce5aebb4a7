"""Classification: which findings an image shows, label by label or one out of several."""

from collections.abc import Iterator

import numpy as np
import timm.optim
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater import grid
from headwater.backbones._encoder import Encoder
from headwater.engine.loop import Learner
from headwater.engine.views import as_float, augment
from headwater.tasks import Kind


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


class Fitting(Learner):
    """Fits a classifier to targets; with `frozen` only the head, and the encoder stays as it came, bit by bit.

    In the first `held` steps the encoder's weights stay as they came while its BatchNorm layers learn; from then on the
    learning rate is `later` times the scheduled one.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        views: grid.Views,
        kind: Kind,
        class_weights: Tensor,
        frozen: bool = False,
        held: int = 0,
        later: float = 1.0,
    ):
        super().__init__()
        self.classifier = classifier
        self.changes = views
        self.kind = kind
        self.frozen, self.held, self.later = frozen, held, later
        self.register_buffer("class_weights", class_weights, persistent=False)
        if frozen:
            self.encoder.requires_grad_(False)

    @property
    def encoder(self) -> Encoder:
        """The network below the head."""
        return self.classifier.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """One changed view per image."""
        return [augment(as_float(images), keys, self.changes)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean loss over the cases."""
        return loss(self.classifier(views[0]), targets, self.class_weights, self.kind)

    def pace(self, *, step: int) -> float:
        """1 while the encoder is held, then what the recipe says."""
        return 1.0 if step < self.held else self.later

    def before_update(self, *, step: int) -> None:
        """While the encoder is held, drop its gradients.

        A parameter without a gradient is passed over by every optimiser, weight decay included, and its moments begin
        with its first one. It goes on asking for gradients, because ranks agree on who does before the first step.
        """
        if step < self.held:
            for parameter in held_parameters(self.encoder):
                parameter.grad = None

    def mode(self, training: bool) -> None:
        """Training or evaluation; a frozen encoder is never in training."""
        self.train(training)
        if self.frozen:
            self.encoder.eval()

    def parameter_groups(self, training: grid.Training) -> list[dict]:
        """All parameters, or with layer decay the backbone's by depth and the head's at the full rate."""
        if training.layer_decay is None or self.frozen:
            return super().parameter_groups(training)
        return layer_groups(self.classifier, training=training)


def held_parameters(encoder: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of an encoder that are in no BatchNorm layer."""
    for module in encoder.modules():
        if not isinstance(module, _BatchNorm):
            yield from module.parameters(recurse=False)


def layer_groups(classifier: Classifier, *, training: grid.Training) -> list[dict]:
    """Parameter groups whose learning rate shrinks by `layer_decay` per layer below the head (arXiv 2106.08254)."""
    backbone = classifier.encoder.backbone
    unshrunk = getattr(backbone, "no_weight_decay", set)()
    below = timm.optim.param_groups_layer_decay(
        backbone,
        weight_decay=training.weight_decay,
        no_weight_decay_list=unshrunk,
        layer_decay=training.layer_decay,
    )
    head = classifier.head
    return [
        *below,
        {"params": [head.weight], "lr_scale": 1.0, "weight_decay": training.weight_decay},
        {"params": [head.bias], "lr_scale": 1.0, "weight_decay": 0.0},
    ]


def loss(logits: Tensor, targets: Tensor, weights: Tensor, kind: Kind) -> Tensor:
    """Mean over the cases of the batch; labels or cases whose target is unknown (NaN) add nothing.

    The denominator is the number of cases (and labels) whatever is unknown, so that the mean over equal shares of a
    batch is the loss of the batch. `weights` (labels,): of positives (multilabel), of classes (multiclass).
    """
    logits = logits.float()
    known = targets.isfinite()
    filled = torch.where(known, targets, 0.0)
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
