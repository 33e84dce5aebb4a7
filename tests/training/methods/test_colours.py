"""Methods that compare views learn what pictures show, although their colours alone tell each picture from the others.

The pictures are gratings in four directions, the classes, each in two colours of its own.
"""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly import transforms

from headwater.core import registry
from headwater.models import backbones
from headwater.models.encoder import Encoder
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.study.source import Source
from headwater.study.usual_views import KINDS
from headwater.training import pretraining
from headwater.training.views import draws

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "views.md"

COMPARING = ("simclr", "moco", "moco_v3", "byol", "swav", "dino", "ibot", "vicreg", "barlow_twins")
"""Methods that compare views of an image."""

SIDE, CLASSES, BATCH, NEIGHBOURS = 32, 4, 64, 10

EXPOSED = {"brightness": 0.8, "contrast": 0.8}
COLOURED = EXPOSED | {"jitter": 0.8, "saturation": 0.8, "hue": 0.5, "grey": 0.2}

SMALL = {"dimension": 64, "hidden_dimension": 128, "crop": 0.3}
OPTIONS = {
    "simclr": {**SMALL, "temperature": 0.2},
    "moco": {**SMALL, "temperature": 0.2, "queue": 64, "momentum": 0.9, "group": 16},
    "moco_v3": {**SMALL, "temperature": 0.2, "momentum": 0.9},
    "byol": {**SMALL, "target_momentum": 0.9},
    "vicreg": SMALL,
    "barlow_twins": SMALL,
}


def gratings(count: int, *, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Pictures uint8 (count, 3, SIDE, SIDE), and the class of each."""
    draw, classes = np.random.default_rng(seed), np.arange(count) % CLASSES
    down, across = np.mgrid[:SIDE, :SIDE]
    pictures = np.empty((count, 3, SIDE, SIDE), np.uint8)
    for number, kind in enumerate(classes):
        angle = np.pi * kind / CLASSES + draw.normal(0, 0.1)
        place = draw.uniform(0.7, 1.2) * (across * np.cos(angle) + down * np.sin(angle)) + draw.uniform(0, 2 * np.pi)
        share, (one, other) = 0.5 + 0.5 * np.sin(place), draw.uniform(0, 255, (2, 3, 1, 1))
        noise = draw.normal(0, 12, (3, SIDE, SIDE))
        pictures[number] = (one * share + other * (1 - share) + noise).clip(0, 255)
    return torch.from_numpy(pictures), classes


LEARNED, TESTED = gratings(640, seed=1), gratings(400, seed=2)


@torch.no_grad()
def told(encoder: Encoder) -> float:
    """The share of pictures whose class most of their nearest neighbours have."""
    known, asked = (F.normalize(encoder.eval()(pictures.float() / 255), dim=1) for pictures, _ in (LEARNED, TESTED))
    near = LEARNED[1][(asked @ known.T).topk(NEIGHBOURS).indices.numpy()]
    votes = np.stack([(near == kind).sum(axis=1) for kind in range(CLASSES)], axis=1)
    return float((votes.argmax(axis=1) == TESTED[1]).mean())


def trained(method: str, views: Views, *, steps: int, broken: str = "") -> tuple[float, float]:
    """What features tell of the class before a pre-training, and after it; `broken`: its views, or its loss."""
    encoder = backbones.build("timm/test_resnet", size=SIDE, mean=(0.5,), std=(0.25,), seed=0)
    before, pictures = told(encoder), LEARNED[0]
    learner = registry.load("methods", method).learner(
        encoder,
        options=registry.options("methods", method)(**OPTIONS[method]),
        views=views,
        size=SIDE,
        labels=CLASSES,
        task=Task(name="classification", labels=tuple("abcd"), form="multiclass"),
        targets=np.eye(CLASSES, dtype=np.float32)[LEARNED[1]],
        steps=steps,
    )
    groups = learner.parameter_groups(Training(steps=steps, batch=BATCH))
    optimiser = torch.optim.AdamW(groups, lr=2e-3, weight_decay=1e-4)
    for step in range(steps):
        chosen = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(step))[:BATCH]
        keys = draws.keys(seed=0, epochs=torch.full((BATCH,), step), cases=chosen)
        learner.train()
        learner.before_step(step=step)
        with torch.no_grad():
            seen = learner.views(pictures[chosen], keys)
        if broken == "views":
            # each view is of another picture
            seen = [view.roll(number, dims=0) for number, view in enumerate(seen)]
        loss = learner(seen, torch.zeros(BATCH, CLASSES))
        if broken == "loss":
            loss = -loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.after_step(step=step, steps=steps)
    return before, told(learner.encoder)


@pytest.mark.slow
def test_simclr_learns_what_pictures_show_only_if_their_colours_change():
    before, after = trained("simclr", Views(**COLOURED), steps=100)
    _, without = trained("simclr", Views(**EXPOSED), steps=100)
    assert after > before + 0.2 and after > without + 0.2, (before, after, without)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["views", "loss"])
def test_that_simclr_learns_would_be_missed_if_it_were_broken(broken):
    before, after = trained("simclr", Views(**COLOURED), steps=100, broken=broken)
    assert after < before + 0.2, (before, after)


@pytest.mark.soak
@pytest.mark.parametrize("method", [method for method in OPTIONS if method != "simclr"])
def test_others_learn_it_too(method):
    before, after = trained(method, Views(**COLOURED), steps=200)
    assert after > before + 0.05, (before, after)


class TestWhatIsSaid:
    @staticmethod
    def said(capsys, *, method: str, channels: int, **views: float) -> str:
        training = {"steps": 2, "batch": 2}
        source = Source(name="x", backbone="timm/test_resnet", method={"name": method}, corpus="c", training=training)
        pretraining._say_that_colours_stay(source.model_copy(update={"views": Views(**views)}), channels=channels)
        return capsys.readouterr().err

    @pytest.mark.parametrize("method", COMPARING)
    def test_a_comparison_of_views_that_keep_their_hue_is_told(self, capsys, method):
        assert "set views.hue and views.saturation" in self.said(capsys, method=method, channels=3, brightness=0.4)
        assert not self.said(capsys, method=method, channels=3, hue=0.1)
        assert not self.said(capsys, method=method, channels=1)

    @pytest.mark.parametrize("method", ["ijepa", "mae", "simmim", "spark", "supervised"])
    def test_others_need_no_colours(self, capsys, method):
        assert not self.said(capsys, method=method, channels=3)


BICUBIC = ("simclr", "byol", "vicreg", "barlow_twins", "dino", "ibot", "mae", "spark")
"""Methods whose crops are bicubic in their own code, of BYOL in appendix B; those of moco, moco_v3 and swav are
bilinear, as torchvision's are unless another kind is named."""


def published(method: str) -> dict[str, object]:
    """The views of a method as lightly has them, by our keys."""
    words = {
        "flip": "hf_prob", "jitter": "cj_prob", "brightness": "cj_bright", "contrast": "cj_contrast",
        "saturation": "cj_sat", "hue": "cj_hue", "grey": "random_gray_scale", "blur": "gaussian_blur",
    }  # fmt: skip
    forms = {
        "simclr": transforms.SimCLRTransform, "moco": transforms.MoCoV2Transform, "byol": transforms.BYOLView1Transform,
        # of which lightly has no transforms; the published codes have those of BYOL and of DINO
        "moco_v3": transforms.BYOLView1Transform, "barlow_twins": transforms.BYOLView1Transform,
        "ibot": transforms.DINOTransform,
        "swav": transforms.SwaVTransform, "dino": transforms.DINOTransform, "vicreg": transforms.VICRegTransform,
    }  # fmt: skip
    given = {name: each.default for name, each in inspect.signature(forms[method]).parameters.items()}
    views = {key: given[word] for key, word in words.items()}
    for key in ("brightness", "contrast", "saturation", "hue"):
        views[key] = pytest.approx(views[key] * given["cj_strength"])
    if method in ("byol", "moco_v3", "barlow_twins"):
        second = inspect.signature(transforms.BYOLView2Transform).parameters
        lists = {"blur": "gaussian_blur", "solarise": "solarization_prob"}
        views |= {key: [given[word], second[word].default] for key, word in lists.items()}
    if method in BICUBIC:
        # lightly's crops are bilinear
        views["resampling"] = "bicubic"
    if method == "vicreg":
        views["solarise"] = given["solarize_prob"]
    if method in ("dino", "ibot"):
        # of its views the second large one is solarised
        views |= {"blur": list(given["gaussian_blur"]), "solarise": [0.0, given["solarization_prob"], 0.0]}
    return views


@pytest.mark.parametrize("method", COMPARING)
def test_usual_views_of_photographs_are_the_published_ones(method):
    assert {"solarise": 0.0, **usual(method, "photographs")} == {"solarise": 0.0, **published(method)}


def usual(method: str, kind: str) -> dict[str, object]:
    """The views that a source of this method and kind of image has, as its record holds them."""
    training = {"steps": 2, "batch": 2}
    given = {"name": "x", "backbone": "timm/test_resnet", "method": method, "corpus": "c", "training": training}
    return json.loads(Source.model_validate({**given, "views": {"like": kind}}).as_json())["views"]


def test_the_page_has_the_values():
    def values(line: str) -> list[object]:
        words = [cell.strip() for cell in line.split("|")[2:-1] if cell.strip()]
        cells = [[value] if value.isalpha() else [float(each) for each in value.split(",")] for value in words]
        return [cell if len(cell) > 1 else cell[0] for cell in cells]

    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    heads = [[word.strip() for word in line.split("|")[2:-1]] for line in rows if "| flip" in line]
    told = {name: (heads[name in KINDS], line) for line in rows for name in [line.split()[1]]}
    for name in (*COMPARING, *KINDS):
        head, line = told[name]
        views = usual("simclr", name) if name in KINDS else usual(name, "photographs")
        assert values(line) == [views[key] for key in head if key in views] and set(views) <= set(head), name
    for method in ("mae", "simmim", "spark", "supervised"):
        assert set(usual(method, "photographs")) == {"crop", "flip", *(("resampling",) if method in BICUBIC else ())}
    assert usual("ijepa", "photographs") == {"crop": 0.3}


def test_what_stands_beside_a_kind_goes_before_it_and_lists_have_no_more_than_the_views():
    given = {"name": "x", "backbone": "timm/test_vit", "corpus": "c", "training": {"steps": 2}}
    views = {"like": "photographs", "hue": 0.05, "flip": 0}
    source = Source.model_validate({**given, "method": {"name": "dino", "local_views": 0}, "views": views})
    assert source.views.hue == 0.05 and not source.views.flip and source.views.like is None
    assert source.views.blur == (1.0, 0.1) and source.views.solarise == (0.0, 0.2)
