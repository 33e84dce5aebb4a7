"""The network of a task: an encoder, and the head that answers from its features."""

from torch import Tensor, nn

from headwater.models.encoder import Encoder
from headwater.models.tasks import Task


class TaskNetwork(nn.Module):
    """An encoder with a task's head: float images (batch, colours, *space) in [0, 1] to the head's output."""

    def __init__(self, encoder: Encoder, *, task: Task, seed: int):
        super().__init__()
        self.encoder = encoder
        self.head = task.plugin.head(encoder, labels=len(task.labels), seed=seed)

    def forward(self, images: Tensor) -> Tensor:
        """The head's output, such as logits (batch, labels)."""
        return self.head(self.encoder(images))
