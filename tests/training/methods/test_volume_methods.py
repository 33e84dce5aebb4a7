"""Methods learn from volumes as they do from pictures, or are refused by name before anything begins."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import headwater
import rounding
import tiny_networks_made
import volume_ranks_made
import warm
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import loop, methods
from headwater.training.methods import simclr, spark
from headwater.training.views import draws
from headwater.training.views.volumes import Patches

SIZE = (8, 8, 6)
NETWORKS = {
    "ibot": "vit3d/test_patch8",
    "ijepa": "vit3d/test_patch8",
    "mae": "vit3d/test_patch8",
    "simmim": "vit3d/test_patch8",
    "spark": "monai/segresnet_small",
}
"""Of methods that do not train every network."""
SMALL = {
    "barlow_twins": {"dimension": 8, "hidden_dimension": 16},
    "byol": {"dimension": 8, "hidden_dimension": 16},
    "dino": {"output_dimension": 16, "hidden_dimension": 16, "bottleneck_dimension": 8, "local_views": 2},
    "ibot": {
        "output_dimension": 16,
        "hidden_dimension": 16,
        "bottleneck_dimension": 8,
        "local_views": 2,
        "mask": (0.4, 0.8),
    },
    "ijepa": {"predictor_dimension": 24, "predictor_depth": 1, "predictor_heads": 2},
    "mae": {"decoder_dimension": 24, "decoder_depth": 1, "decoder_heads": 2},
    "moco": {"dimension": 8, "hidden_dimension": 16, "queue": 16, "group": 2},
    "moco_v3": {"dimension": 8, "hidden_dimension": 16},
    "simclr": {"dimension": 8, "hidden_dimension": 16},
    "simmim": {"mask_side": 8},
    "spark": {"decoder_dimension": 64},
    "supervised": {},
    "swav": {"dimension": 8, "hidden_dimension": 16, "prototypes": 6, "small_views": 2},
    "vicreg": {"dimension": 8, "hidden_dimension": 16},
}


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    with tiny_networks_made.there(tmp_path_factory.mktemp("tiny")):
        yield


def size(method):
    """The sides that a method's network sees: at least two cubes along an axis of those that are hidden."""
    return {
        "ibot": (16, 16, 8),
        "ijepa": (16, 16, 8),
        "mae": (16, 16, 8),
        "simmim": (16, 16, 8),
        "spark": (8, 8, 8),
    }.get(method, SIZE)


def learner(method):
    views = Views(flip=0.5, rotation=20, scaling=0.2, brightness=0.2, noise=0.05)
    return registry.load("methods", method).learner(
        backbones.build(NETWORKS.get(method, "tiny/net"), size=size(method), mean=(0.0,), std=(1.0,), seed=0),
        options=registry.options("methods", method)(**SMALL[method]),
        views=views,
        size=size(method),
        labels=2,
        task=Task(name="classification", labels=("a", "b"), form="multilabel"),
        targets=np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 1, 0, 0, 1]],
        steps=10,
    )


def patches(*, cases=8, sides=SIZE):
    values = torch.randn(cases, 1, *sides, generator=torch.Generator().manual_seed(0))
    return Patches(values, torch.tensor([1.0, 1.0, 1.5]).expand(cases, 3))


def chance(epoch, *, cases=8):
    return draws.keys(seed=0, epochs=torch.full((cases,), epoch), cases=torch.arange(cases))


@pytest.mark.parametrize("method", SMALL)
def test_a_method_learns_from_volumes_and_all_of_it_is_in_its_state(method):
    targets = torch.from_numpy(np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 1, 0, 0, 1]])

    def step(module, number):
        torch.manual_seed(number)
        module.mode(True)
        module.before_step(step=number)
        views = module.views(patches(sides=size(method)), chance(number))
        assert views[0].shape == (8, 1, *size(method))
        value = module(views, module.aims(targets, chance(number)))
        optimiser = torch.optim.SGD(module.parameters(), lr=0.01)
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        module.after_step(step=number, steps=10)
        return value.item()

    first, second = learner(method), learner(method)
    before = {key: tensor.clone() for key, tensor in first.encoder.tensors().items()}
    for number in range(3):
        assert np.isfinite(step(first, number))
    assert any(not torch.equal(tensor, before[key]) for key, tensor in first.encoder.tensors().items())
    second.load_state_dict(first.state_dict())
    assert step(first, 3) == step(second, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("method", "backbone", "sides"),
    [
        ("dino", "timm/test_resnet", (1, 16, 12)),
        ("dino", "timm/test_vit", (32, 1, 48)),
        ("mae", "timm/test_vit", (32, 48, 1)),
        ("ibot", "timm/test_vit", (32, 48, 1)),
        ("ijepa", "timm/test_vit", (32, 48, 1)),
        ("simmim", "timm/test_vit", (32, 48, 1)),
        ("spark", "timm/resnet18", (96, 64, 1)),
        ("simclr", "timm/test_resnet", (16, 12, 1)),
    ],
)
def test_a_method_learns_from_slices_of_volumes(method, backbone, sides):
    methods.check(method, backbone=backbone, size=sides)
    chosen = registry.options("methods", method)(**SMALL.get(method, {"decoder_dimension": 32}))
    module = registry.load("methods", method).learner(
        backbones.build(backbone, size=sides, mean=(0.0,), std=(1.0,), seed=0),
        options=chosen,
        views=Views(flip=0.5, rotation=20, scaling=0.2, noise=0.05),
        size=sides,
        labels=2,
        task=Task(name="classification", labels=("a", "b"), form="multilabel"),
        targets=np.eye(2, dtype=np.float32)[[0, 1, 0, 1]],
        steps=10,
    )
    before = {key: tensor.clone() for key, tensor in module.encoder.tensors().items()}
    module.mode(True)
    views = module.views(patches(cases=4, sides=sides), chance(0, cases=4))
    assert views[0].shape == (4, 1, *sides)
    # small views are of one slice, too
    assert all(view.shape[2 + sides.index(1)] == 1 for view in views if view.ndim == 5)
    value = module(views, None)
    assert value.isfinite()
    value.backward()
    torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1).step()
    module.after_step(step=0, steps=10)
    assert any(not torch.equal(tensor, before[key]) for key, tensor in module.encoder.tensors().items())


@pytest.mark.parametrize("method", ["dino", "swav"])
def test_small_views_of_volumes_are_small_along_each_axis(method):
    shapes = {tuple(view.shape[2:]) for view in learner(method).views(patches(), chance(0))}
    assert shapes == {SIZE, (4, 4, 4)}


def test_a_view_of_a_case_does_not_know_its_batch():
    module, given, keys = learner("simclr"), patches(), chance(0)
    whole = module.views(given, keys)
    part = module.views(Patches(given.values[3:5], given.spacing[3:5]), keys[3:5])
    assert all(torch.equal(view[3:5], piece) for view, piece in zip(whole, part, strict=True))


def test_every_method_takes_networks_for_volumes_and_those_that_it_does_not_are_refused(monkeypatch):
    assert set(SMALL) == set(registry.names("methods"))
    for method in SMALL:
        methods.check(method, backbone=NETWORKS.get(method, "tiny/net"), size=size(method))
    with pytest.raises(UserError, match=r"mae trains networks of vit3d only \(got tiny/net\); choose another backbone"):
        methods.check("mae", backbone="tiny/net", size=SIZE)
    monkeypatch.setattr(methods, "dimensions", lambda method: (2,) if method == "dino" else (2, 3))
    with pytest.raises(
        UserError, match=r"dino does not train networks for volumes, .*; choose one of barlow_twins, byol, ibot, "
    ):
        methods.check("dino", backbone="tiny/net", size=SIZE)


def test_a_masked_autoencoder_is_measured_on_hidden_cubes_alone():
    module = learner("mae").eval()
    images, shuffled = module.views(patches(sides=size("mae")), chance(0))
    assert (module.patches, module.seen) == (4, 1)
    kept, hidden = module._places(shuffled)
    other = images.clone()
    for case, places in enumerate((hidden - 1).tolist()):
        for place in places:
            x, y = divmod(place, 2)
            other[case, :, 8 * x : 8 * x + 8, 8 * y : 8 * y + 8] = torch.rand(1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(module.encode(other, kept), module.encode(images, kept))
        assert module([other, shuffled], None) != module([images, shuffled], None)
        # with every cube kept the encoder is the network itself
        everything = torch.arange(5).expand(8, -1)
        torch.testing.assert_close(
            module.encode(images, everything),
            module.encoder.backbone.forward_features(module.encoder.normalised(images)),
        )


def ramps(*, cases, seed):
    """Volumes that become brighter along a direction each."""
    directions = torch.nn.functional.normalize(torch.randn(cases, 3, generator=torch.Generator().manual_seed(seed)))
    axes = torch.meshgrid(*[torch.linspace(-1, 1, 8)] * 3, indexing="ij")
    return Patches(torch.einsum("ca,axyz->cxyz", directions, torch.stack(axes))[:, None], torch.ones(cases, 3))


def test_spark_draws_hidden_cubes_of_unseen_volumes_better_than_one_who_sees_nothing():
    encoder = backbones.build("monai/segresnet_small", size=8, mean=(0.0,), std=(1.0,), seed=0)
    chosen = spark.Options(decoder_dimension=64, normalise=False)
    module = spark.Spark(encoder, options=chosen, changes=Views())
    optimiser = torch.optim.AdamW(module.parameters(), lr=0.01)
    for step in range(60):
        loss = module(module.views(ramps(cases=4, seed=1 + step), chance(step, cases=4)), None)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    views = module.eval().views(ramps(cases=32, seed=0), chance(0, cases=32))
    with torch.no_grad():
        drawn = module(views, None)
        module.decoder.draw.weight.zero_()
        module.decoder.draw.bias.zero_()
        # opposite directions are as likely, so who knows nothing of a volume does best with 0 everywhere, and gains by
        # chance no more than the mean of 32 volumes explains of them: a share of 1/32
        assert drawn < 0.8 * module(views, None)


def test_a_pretraining_killed_between_two_saves_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    made = volume_ranks_made.archive(tmp_path / "made")
    volume_ranks_made.pretraining(tmp_path / "whole", made)
    with monkeypatch.context() as patch:
        patch.setattr(simclr.Simclr, "after_step", lambda self, *, step, steps: 1 / (step - 3))
        with pytest.raises(ZeroDivisionError):
            volume_ranks_made.pretraining(tmp_path / "killed", made)
    volume_ranks_made.pretraining(tmp_path / "killed", made)
    for name in ("e.safetensors", "metrics.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", volume_ranks_made.TRAININGS)
def test_one_and_two_ranks_learn_alike_from_volumes(tmp_path, name):
    made = volume_ranks_made.archive(tmp_path / "made")
    library = os.pathsep.join(str(Path(path).parent) for path in (Path(headwater.__file__).parent, rounding.__file__))
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    words = [rounding.__file__, volume_ranks_made.__file__, str(tmp_path / "two"), str(made.cases.parent), name]
    environment = {**os.environ, "PYTHONPATH": library, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *words], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    with rounding.in_float64():
        volume_ranks_made.TRAININGS[name](tmp_path / name, made)
    one, two = volume_ranks_made.losses(tmp_path / name), volume_ranks_made.losses(tmp_path / "two" / name)
    assert len(one) == 6
    np.testing.assert_allclose(two, one, **rounding.NEAR)


def test_features_of_views_of_volumes_are_measured(tmp_path):
    volume_ranks_made.pretraining(tmp_path, volume_ranks_made.archive(tmp_path / "made"))
    record = json.loads((tmp_path / "features.json").read_text())
    measured = record["features"]
    assert measured.keys() == {"spread", "rank", "uniformity", "alignment", "lidar"} and record["views"] == 10
    # views of a patch differ, and less than volumes do
    assert 0 < measured["alignment"] < 2 and 1 <= measured["lidar"] <= record["images"] - 1
