"""The network of one or several tasks: an encoder, and the heads that answer from its features."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial

from torch import Tensor, nn

from headwater.models.encoder import Encoder
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.target import UNNAMED

Outputs = Tensor | dict[str, Tensor]
"""What belongs to a network's only target, or by name to several: outputs, targets, weights."""


class Seen:
    """What an encoder makes of images, in the forms in which heads take it; each form is computed once."""

    def __init__(self, encoder: Encoder, images: Tensor):
        self.encoder, self.images = encoder, images

    @cached_property
    def features(self) -> Tensor:
        """(batch, width)."""
        return self.encoder(self.images)

    @cached_property
    def levels(self) -> list[Tensor]:
        """Maps of features, the finest first."""
        return self.encoder.levels(self.images)

    @cached_property
    def decoded(self) -> list[Tensor]:
        """What the levels of the backbone's own decoder make of the encoder's; the first has the image's resolution."""
        return self.encoder.decoded(self.levels)

    def answered(self, head: nn.Module) -> Tensor:
        """The output of a head, which names in TAKES the form that it takes."""
        return head(getattr(self, getattr(head, "TAKES", "features")))


class TaskNetwork(nn.Module):
    """An encoder with a head for each task: float images (batch, colours, *space) to the heads' outputs.

    `seeds`: under which each head is drawn, by the names of the targets. `probe`: the encoder will not learn, and
    heads that outline structures get a new decoder even where the backbone has one. `deep`: while they learn, they
    outline at lower resolutions as well (deep supervision).
    """

    def __init__(
        self, encoder: Encoder, *, tasks: TaskSet, seeds: Mapping[str, int], probe: bool = False, deep: bool = False
    ):
        super().__init__()
        self.encoder = encoder
        self.tasks = tasks
        heads = {
            name: _head(task, probe=probe, deep=deep)(encoder, labels=len(task.labels), seed=seeds[name])
            for name, task in tasks.tasks.items()
        }
        self.head = Heads(heads) if tasks.named else heads[UNNAMED]

    def forward(self, images: Tensor) -> Outputs:
        """The head's output, such as logits (batch, labels), or those of several by the names of their targets."""
        seen = Seen(self.encoder, images)
        return self.head(seen) if self.tasks.named else seen.answered(self.head)


def _head(task: Task, *, probe: bool, deep: bool) -> Callable[..., nn.Module]:
    """What makes the head of a task."""
    if not task.outlines:
        return task.plugin.head
    return partial(task.plugin.probe if probe else task.plugin.head, deep=deep)


class Heads(nn.Module):
    """Heads side by side, each of which gets what it takes of the encoder's and gives an output of any shape."""

    def __init__(self, heads: Mapping[str, nn.Module]):
        super().__init__()
        self.names = tuple(heads)
        for name, head in heads.items():
            # a target may bear the name of a method of a module
            self.add_module(_key(name), head)

    def forward(self, seen: Seen) -> dict[str, Tensor]:
        """The output of each head, by the names of the targets."""
        return {name: seen.answered(self.get_submodule(_key(name))) for name in self.names}


def _key(name: str) -> str:
    return f"target:{name}"
