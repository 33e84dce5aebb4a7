"""Learners whose loss compares features of the images of a batch, so that a batch in parts needs grad-cache."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.training.loop import Learner


class Compared(Learner):
    """A learner whose loss is one of features, each of one image; see `training.grad_cache`.

    What is the same for each image alone, the encoder at least, belongs to the features, and BatchNorm in heads to the
    loss, so that its statistics are those of the whole batch.
    """

    compared = True

    def momentum_features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Tensors (batch, ...) of the views by networks that learn as moving averages; none unless overridden."""
        return []

    def features(self, views: list[Tensor]) -> Sequence[Tensor]:
        """Tensors (batch, ...) of the views by the network that learns by gradients."""
        # each method has networks of its own
        raise NotImplementedError

    def loss(self, features: Sequence[Tensor], momentum: Sequence[Tensor]) -> Tensor:
        """The mean loss over the cases of the batch, of all their features."""
        # each method has a loss of its own
        raise NotImplementedError

    def forward(self, views: list[Tensor], targets: Tensor) -> Tensor:
        """The loss of the views of a whole batch."""
        with torch.no_grad():
            momentum = self.momentum_features(views)
        return self.loss(self.features(views), momentum)
