"""Supervised pre-training: the network learns the corpus' labels, and the head that named them is thrown away."""

import numpy as np

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.models.backbones._encoder import Encoder
from headwater.models.tasks import Kind, classification
from headwater.study.recipe import Views
from headwater.training import fitting
from headwater.training.loop import Learner


class Options(Record):
    """Plain cross-entropy, as ImageNet networks are trained."""

    class_weights: bool = False
    """Weigh positive cases by negatives / positives of the corpus (arXiv 2308.07688 does on MIMIC-CXR)."""


def learner(
    encoder: Encoder,
    *,
    options: Options,
    views: Views,
    size: int,
    labels: int,
    task: Kind,
    targets: np.ndarray,
    steps: int,
) -> Learner:
    """A learner of the corpus' labels."""
    if labels == 0 or not (targets == 1).any():
        raise UserError(
            "supervised pre-training needs labels, and no image of the corpus bears any",
            remedy="use another method or corpus",
        )
    weights = classification.class_weights(targets, kind=task, wanted=options.class_weights)
    classifier = classification.Classifier(encoder, labels=labels, seed=0)
    return fitting.Fitting(classifier, views=views, kind=task, class_weights=weights)
