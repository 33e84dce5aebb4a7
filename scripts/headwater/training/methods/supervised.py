"""Supervised pre-training: the network learns the corpus's labels; its head is then discarded."""

import numpy as np

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.encoder import Encoder
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.study.target import UNNAMED
from headwater.training import fitting
from headwater.training.loop import Learner

DIMENSIONS = (2, 3)
APART = True
PHOTOGRAPHS = {"crop": 0.08, "flip": 0.5}
"""Those with which ImageNet is usually learned (arXiv 1409.4842)."""


class Options(Record):
    """Plain cross-entropy, as ImageNet networks are trained."""

    class_weights: bool = False
    """Weight positive cases by negatives / positives of the corpus (as arXiv 2308.07688 does on MIMIC-CXR)."""


def learner(
    encoder: Encoder,
    *,
    options: Options,
    views: Views,
    size: int,
    labels: int,
    task: Task,
    targets: np.ndarray,
    steps: int,
) -> Learner:
    """A learner of the corpus's labels."""
    if labels == 0 or not (targets == 1).any():
        raise UserError(
            "supervised pre-training needs labels, but no image of the corpus has a positive one",
            remedy="use another method or corpus",
        )
    weights = task.plugin.label_weights(targets, form=task.form, wanted=options.class_weights)
    network = TaskNetwork(encoder, tasks=TaskSet.of(task), seeds={UNNAMED: 0})
    return fitting.Fitting(network, views=views, label_weights=weights)
