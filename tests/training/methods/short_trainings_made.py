"""Short pre-trainings on pictures made in code, whole or broken on purpose, and what their features tell afterwards.

The pictures are gratings, and the class is their direction: two crops of a grating share it, and hardly anything else
once brightness and contrast change at random; and it is needed to fill in what is hidden of one.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import prepared_made
from headwater.core import registry
from headwater.data import tables
from headwater.data.store import CASES
from headwater.models.encoder import Encoder
from headwater.study.source import Source
from headwater.training import pretraining
from headwater.training.loop import Learner
from ramps_made import parts_of_others
from test_methods import Corpus
from test_methods import trained as pretrained

CLASSES, NEIGHBOURS = 8, 10
CASES_MADE, KNOWN, ASKED = 1070, 640, 800
"""Cases of a corpus, of which three in five are trained on; pictures whose class is known, and new ones."""


def gratings(count: int, *, side: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Grey pictures uint8 (count, 1, side, side), and the class of each, its direction."""
    draw, classes = np.random.default_rng(seed), np.arange(count) % CLASSES
    down, across = np.mgrid[:side, :side]
    pictures = np.empty((count, 1, side, side), np.uint8)
    for number, kind in enumerate(classes):
        angle, pace = np.pi * kind / CLASSES + draw.normal(0, 0.05), draw.uniform(0.5, 1.2)
        place = pace * (across * np.cos(angle) + down * np.sin(angle)) + draw.uniform(0, 2 * np.pi)
        waves = draw.uniform(100, 156) + draw.uniform(20, 100) * np.sin(place)
        pictures[number] = (waves + draw.normal(0, 30, (side, side))).clip(0, 255)
    return torch.from_numpy(pictures), classes


@dataclass(frozen=True)
class Recipe:
    """How a method pre-trains a small network, on pictures of `side` pixels."""

    options: dict
    steps: int
    training: dict = field(default_factory=dict)
    backbone: str = "timm/test_resnet"
    side: int = 32
    views: dict = field(default_factory=lambda: {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8})
    further: dict = field(default_factory=dict)
    """Further keys of the source."""

    def source(self, method: str, *, seed: int) -> Source:
        """The source that trains so."""
        usual = {"batch": 64, "lr": 2e-3, "weight_decay": 1e-4, "warmup_steps": 10, "validations": 1}
        return Source(
            name="made",
            backbone=self.backbone,
            method={"name": method, **self.options},
            corpus="made",
            seed=seed,
            training=usual | self.training | {"steps": self.steps},
            views=self.views,
            **self.further,
        )


def untrained(method: str, recipe: Recipe, *, seed: int) -> Encoder:
    """The network as it starts."""
    return pretraining.first_weights(recipe.source(method, seed=seed), size=recipe.side, start=None).eval()


def trained(folder: Path, method: str, recipe: Recipe, *, seed: int, broken: str = "") -> Encoder:
    """The network that a pre-training leaves.

    `broken` makes it of no use: the `views` of an image are of different ones, or its `labels` or what is `hidden` of
    it are another's.
    """
    pictures, kinds = gratings(CASES_MADE, side=recipe.side, seed=2 * seed)
    made = prepared_made.archive(folder, cases=CASES_MADE, size=recipe.side)
    prepared_made.replace_images(made, pictures.numpy())
    table = CASES.read(made.cases).drop(columns=[tables.TARGET + label for label in prepared_made.LABELS])
    targets = {f"{tables.TARGET}class {kind}": (kinds == kind).astype(float) for kind in range(CLASSES)}
    CASES.write(table.assign(**targets), made.cases)
    with _broken(method, broken):
        return pretrained(folder, recipe.source(method, seed=seed), Corpus(**vars(made), size=recipe.side))[0]


def _broken(method: str, way: str) -> contextlib.AbstractContextManager:
    """While it lasts, the method is broken in this way, if any."""
    if not way:
        return contextlib.nullcontext()
    if way == "hidden":
        return parts_of_others()
    plugin = registry.load("methods", method)
    whole = plugin.learner
    return mock.patch.object(plugin, "learner", lambda *given, **named: WAYS[way](whole(*given, **named)))


def _views_of_others(learner: Learner) -> Learner:
    views = learner.views
    learner.views = lambda *given: [view.roll(number, dims=0) for number, view in enumerate(views(*given))]
    return learner


def _labels_of_others(learner: Learner) -> Learner:
    forward = learner.forward
    learner.forward = lambda views, targets: forward(views, targets.roll(1, dims=0))
    return learner


WAYS = {"views": _views_of_others, "labels": _labels_of_others}


@torch.no_grad()
def share(encoder: Encoder, recipe: Recipe, *, seed: int) -> float:
    """The share of ASKED new pictures whose class most of their nearest neighbours, by their features, have."""
    (seen, classes), (new, true) = (
        gratings(count, side=recipe.side, seed=2 * seed + number) for number, count in enumerate((KNOWN, ASKED))
    )
    known, asked = (F.normalize(encoder(each.float().expand(-1, 3, -1, -1) / 255), dim=1) for each in (seen, new))
    near = classes[(asked @ known.T).topk(NEIGHBOURS).indices.numpy()]
    votes = np.stack([(near == kind).sum(axis=1) for kind in range(CLASSES)], axis=1)
    return float((votes.argmax(axis=1) == true).mean())
