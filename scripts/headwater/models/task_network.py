"""The network of one or several tasks: an encoder, and the heads that answer from its features."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from headwater.models.encoder import Encoder
from headwater.models.task_set import TaskSet
from headwater.study.target import UNNAMED

Outputs = Tensor | dict[str, Tensor]
"""What belongs to a network's only target, or by name to several: outputs, targets, weights."""


class TaskNetwork(nn.Module):
    """An encoder with a head for each task: float images (batch, colours, *space) in [0, 1] to the heads' outputs.

    `seeds`: under which each head is drawn, by the names of the targets.
    """

    def __init__(self, encoder: Encoder, *, tasks: TaskSet, seeds: Mapping[str, int]):
        super().__init__()
        self.encoder = encoder
        self.tasks = tasks
        heads = {
            name: task.plugin.head(encoder, labels=len(task.labels), seed=seeds[name])
            for name, task in tasks.tasks.items()
        }
        self.head = Heads(heads) if tasks.named else heads[UNNAMED]

    def forward(self, images: Tensor) -> Outputs:
        """The head's output, such as logits (batch, labels), or those of several by the names of their targets."""
        return self.head(self.encoder(images))


class Heads(nn.Module):
    """Heads side by side, each of which gets the encoder's output and gives one of any shape."""

    def __init__(self, heads: Mapping[str, nn.Module]):
        super().__init__()
        self.names = tuple(heads)
        for name, head in heads.items():
            # a target may bear the name of a method of a module
            self.add_module(_key(name), head)

    def forward(self, features: Any) -> dict[str, Tensor]:
        """The output of each head, by the names of the targets."""
        return {name: self.get_submodule(_key(name))(features) for name in self.names}


def _key(name: str) -> str:
    return f"target:{name}"
