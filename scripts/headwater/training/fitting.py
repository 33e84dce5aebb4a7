"""Fitting: a classifier learns the targets of a dataset, with its encoder frozen, held at first, or learning."""

from collections.abc import Iterator

import timm.optim
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater.models.backbones._encoder import Encoder
from headwater.models.tasks import Kind
from headwater.models.tasks.classification import Classifier, loss
from headwater.study.recipe import Training, Views
from headwater.training.augment import as_float, augment
from headwater.training.loop import Learner


class Fitting(Learner):
    """Fits a classifier to targets; with `frozen` only the head, and the encoder stays as it came, bit by bit.

    In the first `held` steps the encoder's weights stay as they came while its BatchNorm layers learn; from then on the
    learning rate is `later` times the scheduled one.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        views: Views,
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

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters, or with layer decay the backbone's by depth and the head's at the full rate."""
        if training.layer_decay is None or self.frozen:
            return super().parameter_groups(training)
        return layer_groups(self.classifier, training=training)


def held_parameters(encoder: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of an encoder that are in no BatchNorm layer."""
    for module in encoder.modules():
        if not isinstance(module, _BatchNorm):
            yield from module.parameters(recurse=False)


def layer_groups(classifier: Classifier, *, training: Training) -> list[dict]:
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
