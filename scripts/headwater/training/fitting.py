"""Fitting: a network learns a task's targets, with its encoder frozen, held at first, or learning from the start."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater.models.encoder import Encoder
from headwater.models.task_network import TaskNetwork
from headwater.models.tasks import Task
from headwater.models.timm_library import timm
from headwater.study.recipe import Training, Views
from headwater.training.augment import as_float, augment
from headwater.training.loop import Learner


class Fitting(Learner):
    """Fits a network to a task; with `frozen` only the head learns, and the encoder stays as it was, bit by bit.

    In the first `held` steps the encoder's weights stay as they were while its BatchNorm layers learn; from then on the
    learning rate is `later` times the scheduled one. `label_weights` (labels,) are the task's.
    """

    def __init__(
        self,
        network: TaskNetwork,
        *,
        task: Task,
        views: Views,
        label_weights: Tensor,
        frozen: bool = False,
        held: int = 0,
        later: float = 1.0,
    ):
        super().__init__()
        self.network = network
        self.task = task
        self.changes = views
        self.frozen, self.held, self.later = frozen, held, later
        self.register_buffer("label_weights", label_weights, persistent=False)
        if frozen:
            self.encoder.requires_grad_(False)

    @property
    def encoder(self) -> Encoder:
        """The network below the head."""
        return self.network.encoder

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """One changed view per image."""
        return [augment(as_float(images), keys, self.changes)]

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """Mean loss over the cases."""
        return self.loss(self.network(views[0]), targets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The task's loss of outputs that are on the device of the targets."""
        weights = self.label_weights.to(targets.device)
        return self.task.plugin.loss(outputs, targets, weights=weights, form=self.task.form)

    def pace(self, *, step: int) -> float:
        """1 while the encoder is held, then what the recipe says."""
        return 1.0 if step < self.held else self.later

    def before_update(self, *, step: int) -> None:
        """Drop the gradients of a held encoder.

        Optimisers skip a parameter without a gradient, weight decay included, and start its moments with the first one.
        `requires_grad` stays on, because DistributedDataParallel settles before the first step who has gradients.
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
        return layer_groups(self.network, training=training)


def held_parameters(encoder: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of an encoder that are in no BatchNorm layer."""
    for module in encoder.modules():
        if not isinstance(module, _BatchNorm):
            yield from module.parameters(recurse=False)


def layer_groups(network: TaskNetwork, *, training: Training) -> list[dict]:
    """Parameter groups whose learning rate shrinks by `layer_decay` per layer below the head (arXiv 2106.08254)."""
    backbone = network.encoder.backbone
    below = timm.optim.param_groups_layer_decay(
        backbone,
        weight_decay=training.weight_decay,
        no_weight_decay_list=getattr(backbone, "no_weight_decay", set)(),
        layer_decay=training.layer_decay,
    )
    # as everywhere, biases and the scales of norms are not decayed
    decayed = [parameter for parameter in network.head.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.head.parameters() if parameter.ndim <= 1]
    return [
        *below,
        {"params": decayed, "lr_scale": 1.0, "weight_decay": training.weight_decay},
        {"params": others, "lr_scale": 1.0, "weight_decay": 0.0},
    ]
