"""Batches in parts and gradient checkpointing: the numbers of a training stay, and it keeps less memory."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import rounding
import training_made
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.study.tracking import Tracking
from headwater.training import fitting, loop
from headwater.training.loop import Learner
from headwater.training.methods import moco
from headwater.training.tracking import Trackers
from test_every_option import BATCH, images, learner, seen
from test_methods import METHODS

STEPS = 6
SMALL = {
    "timm/convnext": "test_convnext",
    "timm/densenet": "densenet121",
    "timm/efficientnet": "test_efficientnet",
    "timm/eva": "vit_small_patch16_dinov3",
    "timm/mobilenetv3": "mobilenetv3_small_050",
    "timm/regnet": "regnetx_002",
    "timm/resnet": "resnet18",
    "timm/swin_transformer": "swin_tiny_patch4_window7_224",
    "timm/vision_transformer": "vit_tiny_patch16_224",
    "vit3d": "tiny_patch16",
}
"""A small network of each family whose blocks can be computed twice."""


def trained(
    folder, module: Learner, method: str, *, world=training_made.ALONE, **changes
) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """(the losses of a short training, all that it leaves)."""
    folder.mkdir(exist_ok=True)
    training = Training(steps=STEPS, batch=BATCH, clip=1.0, **changes)
    named = {"group": "g", "name": "n", "job": "t", "tracking": Tracking(), "world": world}
    targets = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2, 0, 0]]
    with Trackers(folder, record=training, **named) as tracker:
        loop.fit(
            module,
            images=images(method).numpy(),
            rows=np.arange(BATCH),
            targets=targets,
            training=training,
            seed=0,
            world=world,
            progress=folder / "progress.pt",
            identity="x",
            tracker=tracker,
        )
    # of several ranks the first one writes
    return training_made.losses(folder) if world.first else np.array([]), module.state_dict()


@pytest.mark.parametrize("method", ["ijepa", "mae", "simmim"])
def test_masked_images_have_the_same_losses_in_parts_and_with_blocks_computed_twice(method, tmp_path, float64):
    traces = {
        (parts, twice): trained(
            tmp_path / f"{parts}{twice}", learner(method), method, accumulate=parts, checkpointing=twice
        )[0]
        for parts in (1, 2, 4)
        for twice in (False, True)
    }
    whole = traces[1, False]
    assert len(set(whole)) == STEPS
    for trace in traces.values():
        np.testing.assert_allclose(trace, whole, rtol=1e-6)


@pytest.mark.parametrize(
    "method", [method for method in METHODS if registry.constant("methods", method, "BY_BLOCKS", default=True)]
)
def test_computed_twice_everything_stays_to_the_bit(method, tmp_path):
    # running statistics, which a second forward pass would move twice, are among what it leaves
    once, twice = (
        trained(tmp_path / str(checkpointing), learner(method), method, checkpointing=checkpointing)
        for checkpointing in (False, True)
    )
    assert once[0].tolist() == twice[0].tolist()
    assert len(once[1]) == len(twice[1])
    for name, tensor in once[1].items():
        assert torch.equal(tensor, twice[1][name]), name


def test_norms_of_groups_count_a_step_once(tmp_path):
    # as MoCo trains ResNets
    encoder = backbones.build("timm/test_resnet", size=32, mean=(0.5,), std=(0.25,), seed=0)
    options = moco.Options(dimension=8, hidden_dimension=16, queue=8, group=4)
    module = moco.learner(
        encoder, options=options, views=Views(), size=32, labels=0, task=None, targets=np.zeros((8, 0)), steps=STEPS
    )
    _, left = trained(tmp_path / "moco", module, "moco", checkpointing=True)
    counted = {int(tensor) for name, tensor in left.items() if name.endswith("num_batches_tracked")}
    assert counted == {STEPS}


def kept(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, list[torch.Tensor]]:
    """(bytes that a forward pass keeps for the backward pass besides weights, the gradients)."""
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = network(torch.rand(shape, generator=torch.Generator().manual_seed(1))).square().sum()
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    return sum(size for place, size in found.items() if place not in own), gradients


def kept_of_a_step(module: Learner, method: str) -> int:
    """Bytes that the loss of a step keeps for the backward pass."""
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module(seen(module, method), None)
    return sum(sizes)


@pytest.mark.parametrize(("method", "part"), [("ijepa", "predictor"), ("mae", "decoder")])
def test_what_follows_an_encoder_keeps_less_too(method, part):
    modules = [learner(method, **{f"{part}_depth": 4}) for _ in range(2)]
    for module in modules:
        module.compute_twice()
    getattr(modules[0], part).grad_checkpointing = False
    much, little = (kept_of_a_step(module, method) for module in modules)
    assert little < 0.8 * much


@pytest.mark.parametrize("family", SMALL)
def test_each_family_that_is_said_to_keep_less_does(family, float64):
    library = family.partition("/")[0]
    name, volume = f"{library}/{SMALL[family]}", library == "vit3d"
    assert volume or backbones.family(name) == family
    side = 224 if "swin" in family else 32
    shape = (2, 1, 32, 32, 32) if volume else (2, 3, side, side)
    measured = []
    for twice in (False, True):
        encoder = backbones.build(name, size=side, mean=(0.5,), std=(0.25,), seed=0)
        if twice:
            encoder.compute_twice()
        measured.append(kept(encoder, shape))
    (much, gradients), (little, again) = measured
    assert little < 0.9 * much
    assert len(gradients) == len(again)
    for first, second in zip(gradients, again, strict=True):
        torch.testing.assert_close(second, first, **rounding.NEAR)


def test_all_families_that_are_said_to_keep_less_are_looked_at_here():
    said = {
        kind
        for library in ("timm", "vit3d")
        for kind in registry.constant("backbones", library, "CHECKPOINTED", default=())
    }
    assert said == set(SMALL)


def test_networks_of_which_it_is_not_known_are_refused():
    encoder = backbones.build("timm/test_byobnet", size=32, mean=(0.5,), std=(0.25,), seed=0)
    network = TaskNetwork(
        encoder, tasks=TaskSet.of(Task(name="classification", labels=("a",), form="multilabel")), seeds={"": 0}
    )
    module = fitting.Fitting(network, views=Views(), label_weights=torch.ones(1))
    with pytest.raises(
        UserError, match=re.escape("gradient checkpointing of timm/test_byobnet is not known to keep less")
    ):
        module.compute_twice()
