"""A fine-tuning whose encoder is frozen at first; run as a script it is one rank of such a training."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.training import ddp, fitting
from training_made import VIEWS, recipe, train

HELD, STEPS = 5, 12


class Thawing(fitting.Fitting):
    """A small network, frozen for the first steps; at a step it may do something: what kills a training."""

    def __init__(self, *, at: int = 0, deed=None, held: int = HELD, later: float = 1.0, name: str = "timm/test_resnet"):
        encoder = backbones.build(name, size=32, mean=(0.5,), std=(0.5,), seed=0)
        weights = torch.ones(2)
        task = Task(name="classification", labels=("square", "stripes"), form="multilabel")
        chosen = {"views": VIEWS, "label_weights": weights, "held": held, "later": later}
        super().__init__(TaskNetwork(encoder, tasks=TaskSet.of(task), seeds={"": 0}), **chosen)
        self.at, self.deed, self.seen = at, deed, []

    def after_step(self, *, step, steps):
        self.seen.append({name: tensor.detach().clone() for name, tensor in self.encoder.named_parameters()})
        if step + 1 == self.at:
            self.deed()


def training(**changes):
    """A short training with everything that has a state."""
    return recipe(**{"steps": STEPS, "warmup_steps": 2, "validations": 3, "weight_decay": 0.3, **changes})


SHARED = training(optimiser="sgd", lr=0.05)
"""A training whose steps are in proportion to gradients: the first ones of others blow up what is rounded."""


if __name__ == "__main__":
    with ddp.world(threads=1) as here:
        train(Path(sys.argv[1]), Thawing(), world=here, training=SHARED)
