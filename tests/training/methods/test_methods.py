import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import prepared_made
import rounding
import warm
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data import store
from headwater.models import backbones, weight_files
from headwater.models.encoder import restore
from headwater.models.tasks import Task
from headwater.stages.pretrain import pretrain
from headwater.study.recipe import Training, Views
from headwater.study.source import Source
from headwater.training import methods, schedule
from headwater.training.views.draws import keys

METHODS = registry.names("methods")
SMALL = {
    "barlow_twins": {"dimension": 16, "hidden_dimension": 32, "crop": 0.6},
    "byol": {"dimension": 16, "hidden_dimension": 32, "target_momentum": 0.9, "crop": 0.6},
    "dino": {
        "output_dimension": 64,
        "hidden_dimension": 32,
        "bottleneck_dimension": 16,
        "local_views": 2,
        "global_crop": 0.6,
        "teacher_momentum": 0.9,
    },
    "ibot": {
        "output_dimension": 64,
        "hidden_dimension": 32,
        "bottleneck_dimension": 16,
        "local_views": 2,
        "global_crop": 0.6,
        "teacher_momentum": 0.9,
        "masked_views": 0.9,
        "mask": (0.3, 0.6),
    },
    "ijepa": {"predictor_dimension": 24, "predictor_depth": 1, "predictor_heads": 2, "target_momentum": 0.9},
    "mae": {"decoder_dimension": 32, "decoder_depth": 1, "decoder_heads": 2},
    "moco": {"dimension": 16, "hidden_dimension": 32, "queue": 40, "momentum": 0.9, "group": 4, "crop": 0.6},
    "moco_v3": {"dimension": 16, "hidden_dimension": 32, "momentum": 0.9, "crop": 0.6},
    "simclr": {"dimension": 16, "hidden_dimension": 32, "temperature": 0.5, "crop": 0.6},
    "simmim": {"mask_side": 16},
    "spark": {"decoder_dimension": 64},
    "supervised": {},
    "swav": {
        "prototypes": 12,
        "dimension": 16,
        "hidden_dimension": 32,
        "frozen_prototypes": 0.1,
        "queue": 32,
        "queue_starts": 0.2,
        "small_views": 2,
        "small_size": 0.5,
    },
    "vicreg": {"dimension": 16, "hidden_dimension": 32, "crop": 0.6},
}
# a teacher that stands still makes a loss a plain one, that can only fall
STILL = {
    "byol": {"target_momentum": 1.0},
    "dino": {"teacher_momentum": 1.0, "centre_momentum": 0.0},
    "ibot": {"teacher_momentum": 1.0, "centre_momentum": 0.0},
    "ijepa": {"target_momentum": 1.0},
    "moco": {"momentum": 1.0, "queue": 16, "group": 16, "crop": 1.0},
    "moco_v3": {"momentum": 1.0},
}
# a sharp temperature, or a norm over few places, carries a rounding far: under Adam traces part that begin alike
QUIET = {"swav": {"lr": 1e-5}, "spark": {"optimiser": "sgd", "lr": 2e-3}}
# thirty steps are too few to predict what a random network with open residual branches says of an image
SIMPLER = {("moco", "timm/test_resnet")}
# a decoder begins with small weights, as published, and predicts nothing for a while
LONGER = {"spark": {"steps": 60, "lr": 5e-3}}
# what is hidden in part must have several parts
SIDE = {"ibot": 64, "ijepa": 64, "mae": 64, "simmim": 64, "spark": 64}
BACKBONES = ("timm/test_resnet", "timm/test_vit")


def takes(method, backbone):
    """Whether a method trains networks of this kind."""
    try:
        methods.check(method, backbone=backbone, size=SIDE.get(method, 32))
    except UserError:
        return False
    return True


TAKEN = [(method, backbone) for method in METHODS for backbone in BACKBONES if takes(method, backbone)]
FIRST = dict(reversed(TAKEN))
"""A network that a method trains."""
DOOR = Path(__file__).parents[3] / "scripts" / "pretrain.py"


def source(method, *, backbone=None, steps=30, options=None, **training):
    chosen = {"steps": steps, "batch": 16, "lr": 2e-3, "validations": 2, **training}
    return Source(
        name="made",
        backbone=backbone or FIRST[method],
        method={"name": method, **SMALL[method], **(options or {})},
        corpus="made",
        training=chosen,
        views={"flip": 0.5, "brightness": 0.2},
    )


def trained(folder, wanted, made):
    """(encoder, loss of every step) of a pre-training."""
    pretrain(
        source=wanted,
        size=made.size,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        encoder=folder / "e.safetensors",
        history=folder / "history",
        progress=folder / "progress.pt",
    )
    tensors, metadata = weight_files.load_weights(folder / "e.safetensors")
    encoder, _ = restore(tensors, metadata, name=wanted.backbone, size=made.size, file="e")
    return encoder.eval(), losses(folder)


def losses(folder):
    metrics = pd.read_csv(folder / "history" / "metrics.csv")
    return metrics.loc[metrics["name"] == "training/loss"].set_index("step")["value"].astype(float)


def learner(method, *, backbone=None, steps=10, **options):
    backbone, side = backbone or FIRST[method], SIDE.get(method, 32)
    targets = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    form = registry.options("methods", method)
    return registry.load("methods", method).learner(
        backbones.build(backbone, size=side, mean=(0.5,), std=(0.25,), seed=0),
        options=form(**{**SMALL[method], **options}),
        views=Views(),
        size=side,
        labels=3,
        task=Task(name="classification", labels=("a", "b", "c"), form="multiclass"),
        targets=targets,
        steps=steps,
    )


@dataclass(frozen=True)
class Corpus(prepared_made.Made):
    """A made archive, and the side of its images."""

    size: int


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    return {
        size: Corpus(**vars(prepared_made.archive(tmp_path_factory.mktemp("made"), size=size)), size=size)
        for size in {32, *SIDE.values()}
    }


@pytest.fixture
def made(corpora, method):
    return corpora[SIDE.get(method, 32)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """(encoder, loss of every step, its folder) of a pre-training, which several tests look at."""
    known = {}

    def of(wanted, made):
        if wanted.digest not in known:
            folder = tmp_path_factory.mktemp("fitted")
            known[wanted.digest] = *trained(folder, wanted, made), folder
        return known[wanted.digest]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone"), TAKEN)
def test_every_method_learns(fitted, made, method, backbone):
    wanted = source(method, backbone=backbone, options=STILL.get(method), **LONGER.get(method, {}))
    if (method, backbone) in SIMPLER:
        wanted = wanted.model_copy(update={"initialisation": "zero_residual"})
    _, loss, _ = fitted(wanted, made)
    assert loss.index.tolist() == list(range(1, wanted.training.steps + 1))
    assert loss.tail(8).mean() < 0.95 * loss[1:9].mean()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "backbone"), TAKEN)
def test_every_methods_encoder_changes_and_still_tells_images_apart(fitted, made, method, backbone):
    encoder, _, folder = fitted(source(method, backbone=backbone), made)
    untouched = learner(method, backbone=backbone).encoder.tensors()
    assert any(not torch.equal(tensor, untouched[key]) for key, tensor in encoder.tensors().items())
    images = torch.from_numpy(store.read(made.cases, images=made.images).images[:16].copy())
    with torch.no_grad():
        features = encoder(images.float().expand(-1, 3, -1, -1) / 255)
    assert features.isfinite().all()
    assert features.std(dim=0).mean() > 1e-3
    assert (folder / "progress.pt").exists()


@pytest.mark.parametrize("method", METHODS)
def test_all_that_a_method_learns_is_in_its_state(method):
    side = SIDE.get(method, 32)
    images = torch.randint(0, 255, (8, 1, side, side), dtype=torch.uint8)
    targets = torch.from_numpy(np.eye(3, dtype=np.float32)[np.arange(8) % 3])

    def step(module, number):
        torch.manual_seed(number)
        module.mode(True)
        module.before_step(step=number)
        drawn = keys(seed=0, epochs=torch.full((8,), number), cases=torch.arange(8))
        value = module(module.views(images, drawn), targets)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.01)
        value.backward()
        optimiser.step()
        optimiser.zero_grad()
        module.after_step(step=number, steps=10)
        return value.item()

    first, second = learner(method), learner(method)
    for number in range(4):
        step(first, number)
    second.load_state_dict(first.state_dict())
    assert step(first, 4) == step(second, 4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_dino_shows_the_student_small_views_and_the_teacher_large_ones():
    module = learner("dino", backbone="timm/test_vit")
    drawn = keys(seed=0, epochs=torch.zeros(4, dtype=torch.int64), cases=torch.arange(4))
    views = module.views(torch.randint(0, 255, (4, 1, 32, 32), dtype=torch.uint8), drawn)
    assert [tuple(view.shape) for view in views] == [(4, 3, 32, 32)] * 2 + [(4, 3, 16, 16)] * 2
    assert not torch.equal(views[0], views[1]) and not torch.equal(views[2], views[3])
    seen = []
    module.teacher.encoder.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    module(views, torch.zeros(4, 3))
    assert seen == [(8, 3, 32, 32)]


@rounding.in_float64()
def test_dinos_teacher_follows_and_ends_where_it_is():
    module = learner("dino", steps=10)
    with torch.no_grad():
        for parameter in module.student.parameters():
            parameter.add_(1)
    before = [parameter.clone() for parameter in module.teacher.parameters()]
    module.after_step(step=0, steps=10)
    for parameter, old in zip(module.teacher.parameters(), before, strict=True):
        torch.testing.assert_close(parameter, old + 0.1, **rounding.NEAR)  # momentum 0.9 at the start
    before = [parameter.clone() for parameter in module.teacher.parameters()]
    module.after_step(step=9, steps=10)  # and 1 at the end
    assert all(torch.equal(a, b) for a, b in zip(module.teacher.parameters(), before, strict=True))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars", "lamb"])
def test_dinos_last_layer_rests_to_the_bit_and_its_first_updates_are_of_usual_size(name):
    """Whatever optimiser: neither weight decay nor momentum stirs what is frozen, and no moment has counted zeros."""
    module = learner("dino", steps=100, frozen_last_layer=0.4)
    images = torch.randint(0, 255, (8, 1, 32, 32), dtype=torch.uint8)
    training = Training(steps=100, batch=8, lr=0.001, optimiser=name, weight_decay=0.1)
    optimiser, moved = schedule.optimiser(module.parameter_groups(training), training), []
    layer = module.student.head.last_layer.weight_v
    others = [one for one in module.student.parameters() if one is not layer]
    for number in range(44):
        module.before_step(step=number)
        # but for the last steps nothing is looked at, and the others rest
        if number < 38:
            for parameter in others:
                parameter.grad = torch.zeros_like(parameter)
        else:
            drawn = keys(seed=0, epochs=torch.full((8,), number), cases=torch.arange(8))
            module(module.views(images, drawn), torch.zeros(8, 3)).backward()
        before = layer.detach().clone()
        optimiser.step()
        optimiser.zero_grad()
        moved.append((layer.detach() - before).abs().max().item())
    assert not any(moved[:40]) and all(moved[40:])
    if name in ("adamw", "adam"):
        # and the decay of weights, a ten-thousandth of each
        assert max(moved[40:]) <= 1.05 * 0.001


def test_dinos_teacher_warms_up_in_steps():
    module = learner("dino", steps=10, first_teacher_temperature=0.02, teacher_temperature=0.06, warmup=0.4)
    told = []
    for number in range(6):
        module.before_step(step=number)
        told.append(module._temperature())
    assert told == pytest.approx([0.02, 0.03, 0.04, 0.05, 0.06, 0.06])


def test_dino_has_one_moving_average_and_no_second():
    with pytest.raises(UserError, match=r"leave out training\.ema"):
        learner("dino").parameter_groups(Training(steps=1, ema=0.9))


def test_supervised_needs_labels(tmp_path):
    with pytest.raises(UserError, match="needs labels"):
        registry.load("methods", "supervised").learner(
            learner("dino").encoder,
            options=None,
            views=Views(),
            size=32,
            labels=0,
            task=Task(name="classification", labels=(), form="multilabel"),
            targets=np.empty((4, 0), dtype=np.float32),
            steps=1,
        )


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_one_and_two_ranks_learn_alike(tmp_path, made, method):
    wanted = source(method, steps=6, **QUIET.get(method, {"lr": 1e-4}))
    (tmp_path / "one").mkdir()
    with rounding.in_float64():
        _, one = trained(tmp_path / "one", wanted, made)
    words = ["--source", wanted.as_json(), "--size", made.size, "--cases", made.cases, "--images", made.images]
    words += ["--rows", made.rows, "--encoder", tmp_path / "e.safetensors", "--history", tmp_path / "history"]
    words += ["--progress", tmp_path / "progress.pt"]
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    done = subprocess.run([*launch, rounding.__file__, DOOR, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(one) == 6
    np.testing.assert_allclose(one, losses(tmp_path), **rounding.NEAR)
