"""Fitting: a network learns its tasks, with its encoder frozen, held at first, or learning from the start."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater.models.encoder import Encoder
from headwater.models.task_network import Outputs, TaskNetwork
from headwater.models.task_set import mapped
from headwater.models.tasks import Task
from headwater.study.recipe import Loss, Training, Views
from headwater.training import views as kinds
from headwater.training.layers import layer_groups
from headwater.training.loop import Learner
from headwater.training.mixing import PAIR, Mixing
from headwater.training.views.volumes import Patches


class Fitting(Learner):
    """Fits a network to its tasks; with `frozen` only the head learns, and the encoder stays as it was, bit by bit.

    In the first `held` steps the encoder's weights stay as they were while its BatchNorm layers learn; from then on the
    learning rate is `later` times the scheduled one. `label_weights` (labels,) are the task's, by target if several.
    Parameters of the encoder whose names are in `still` never learn, and BatchNorm layers of only such never do.
    Losses that can be chosen are `loss`.
    In training, targets that may be soft are so by the share `smoothing`, and images and targets mixed by `mixing`.
    """

    apart = True

    def __init__(
        self,
        network: TaskNetwork,
        *,
        views: Views,
        label_weights: Outputs,
        frozen: bool = False,
        held: int = 0,
        later: float = 1.0,
        loss: Loss | None = None,
        smoothing: float = 0.0,
        mixing: Mixing | None = None,
        still: frozenset[str] = frozenset(),
    ):
        super().__init__()
        self.network = network
        self.changes = views
        self.frozen, self.held, self.later, self.still = frozen, held, later, still
        self.loss, self.smoothing, self.mixing = loss or Loss(), smoothing, mixing
        self.together = PAIR if mixing else 1
        for name, weights in network.tasks.apart(label_weights).items():
            self.register_buffer(f"label_weights:{name}", weights, persistent=False)
        if frozen:
            self.encoder.requires_grad_(False)

    @property
    def encoder(self) -> Encoder:
        """The network below the head."""
        return self.network.encoder

    @property
    def label_weights(self) -> Outputs:
        """The weights of the labels, by target if several."""
        tasks = self.network.tasks
        return tasks.together({name: self.get_buffer(f"label_weights:{name}") for name in tasks.tasks})

    def views(self, images: Tensor, keys: Tensor) -> list[Tensor]:
        """One changed view per image, mixed with that of its partner."""
        changed = kinds.one(self.encoder, images, keys, self.changes)
        return [self.mixing.images(changed, keys) if self.mixing else changed]

    def aims(self, targets: Any, keys: Tensor) -> Outputs:
        """The targets, of which label maps are placed as the views of their images are, and others softened."""
        tasks = self.network.tasks
        if self.smoothing:
            targets = tasks.together(tasks.each(partial(_softened, share=self.smoothing), targets))
        if self.mixing:
            return mapped(partial(self.mixing.targets, keys=keys, space=self.encoder.space), targets)
        return tasks.together(tasks.each(partial(self._placed, keys=keys), targets))

    def _placed(self, task: Task, held: Tensor | Patches, *, keys: Tensor) -> Tensor:
        if not isinstance(held, Patches):
            return held
        return kinds.of(self.encoder).placed(held, keys, self.changes, labels=1 + len(task.labels))

    def forward(self, views: list[Tensor], targets: Outputs) -> Tensor:
        """The mean over the targets of their mean losses over the cases."""
        return mean(self.losses(self.network(views[0]), targets))

    def losses(self, outputs: Outputs, targets: Outputs) -> dict[str, Tensor]:
        """Each task's loss, by target, of outputs that are on the device of the targets."""
        return self.network.tasks.each(partial(_loss, chosen=self.loss), outputs, targets, self.label_weights)

    def losses_of_cases(self, outputs: Outputs, targets: Outputs) -> dict[str, Tensor]:
        """The same of what whole cases were scored with, which of outlines is measured already."""
        return self.network.tasks.each(partial(_loss_of_cases, chosen=self.loss), outputs, targets, self.label_weights)

    def pace(self, *, step: int) -> float:
        """1 while the encoder is held, then what the recipe says."""
        return 1.0 if step < self.held else self.later

    def before_step(self, *, step: int) -> None:
        """Ask for no gradients of a held encoder, which spares most of the backward pass.

        Optimisers skip a parameter without a gradient, weight decay included, and start its moments with the first one.
        DistributedDataParallel, which settles before the first step who may have gradients, looks for those unused.
        """
        if self.held:
            for parameter in held_parameters(self.encoder, but=self.still):
                parameter.requires_grad_(step >= self.held)

    def mode(self, training: bool) -> None:
        """Training or evaluation; a frozen encoder is never in training, nor are the layers that lie still."""
        self.train(training)
        if self.frozen:
            self.encoder.eval()
        for place, module in self.encoder.named_modules() if self.still else ():
            names = {f"{place}.{name}" for name, _ in module.named_parameters()}
            if names and names <= self.still:
                module.eval()

    def parameter_groups(self, training: Training) -> list[dict]:
        """All parameters, or with layer decay the backbone's by depth and the head's at the full rate."""
        if training.layer_decay is None or self.frozen:
            return super().parameter_groups(training)
        return layer_groups(self.network, training=training)


def mean(losses: Mapping[str, Tensor]) -> Tensor:
    """The mean over the targets of their losses."""
    first, *others = losses.values()
    return sum(others, start=first) / len(losses)


def _softened(task: Task, targets: Tensor, *, share: float) -> Tensor:
    """A task's targets smoothed, unless they cannot be."""
    return task.plugin.softened(targets, share=share, form=task.form) if task.soft else targets


def _loss(task: Task, outputs: Tensor, targets: Tensor, weights: Tensor, *, chosen: Loss) -> Tensor:
    how = {"chosen": chosen} if task.choosing else {}
    return task.plugin.loss(outputs, targets, weights=weights.to(targets.device), form=task.form, **how)


def _loss_of_cases(task: Task, outputs: Tensor, targets: Tensor, weights: Tensor, *, chosen: Loss) -> Tensor:
    if task.outlines:
        return task.plugin.loss_of(outputs, targets)
    return _loss(task, outputs, targets, weights, chosen=chosen)


def held_parameters(encoder: nn.Module, *, but: frozenset[str] = frozenset()) -> Iterator[nn.Parameter]:
    """The parameters of an encoder that are in no BatchNorm layer, `but` those of these names."""
    for place, module in encoder.named_modules():
        if not isinstance(module, _BatchNorm):
            for name, parameter in module.named_parameters(place, recurse=False):
                if name not in but:
                    yield parameter
