"""Batches whose images are compared have the losses and gradients of the whole batch in parts, by grad-cache."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.layers import DropPath

import rounding
import training_made
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.study.recipe import Training
from headwater.training import grad_cache, optimiser_step
from headwater.training.batches import Batch, seen, training_batches
from headwater.training.loop import Learner
from headwater.training.state import State
from test_every_option import BATCH, images, learner
from test_methods import METHODS
from test_recomputed import trained

COMPARED = [method for method in METHODS if registry.constant("methods", method, "COMPARED", default=False)]
ALONE = [method for method in COMPARED if registry.constant("methods", method, "APART", default=False)]
"""Those in which no image of a batch is compared with another one of it."""

OPTIONS = {"dino": {"batch_norm": True}, "ibot": {"koleo": 0.1, "untied_heads": True, "masked_views": 0.8}}
"""Heads with BatchNorm, whose statistics are those of a whole batch, and all losses of ibot."""


def of(method: str, *, backbone: str = "timm/test_vit") -> Learner:
    return learner(method, backbone=backbone, **OPTIONS.get(method, {}))


def batch(method: str) -> Batch:
    held = {"images": images(method).numpy(), "rows": np.arange(BATCH), "targets": np.zeros((BATCH, 3), np.float32)}
    batches = training_batches(range(1), **held, batch=BATCH, seed=0, world=training_made.ALONE)
    return next(iter(batches)).to(torch.device("cpu"))


def passed(module: Learner, method: str, *, parts: int, **changes) -> tuple[float, list[torch.Tensor]]:
    """(loss, gradients) of a step without the optimiser's part."""
    training = Training(steps=4, batch=BATCH, accumulate=parts, **changes)
    state = State(module, training=training, steps=4, world=training_made.ALONE)
    module.mode(True)
    module.before_step(step=0)
    loss = optimiser_step._in_parts(state, batch(method), seed=0)
    return float(loss), [parameter.grad for parameter in state.trained if parameter.grad is not None]


@pytest.mark.parametrize("method", COMPARED)
def test_in_any_parts_a_training_is_that_of_whole_batches(method: str, tmp_path, float64):
    whole, left = trained(tmp_path / "whole", of(method), method)
    assert len(set(whole)) == len(whole)
    for parts in (2, 4):
        losses, also_left = trained(tmp_path / str(parts), of(method), method, accumulate=parts)
        np.testing.assert_allclose(losses, whole, rtol=1e-6)
        # queues, centres, and running statistics of heads, of online and of momentum networks
        for name, tensor in left.items():
            torch.testing.assert_close(also_left[name], tensor, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("method", COMPARED)
def test_measured_for_the_parts_that_fit_a_training_stays_as_it_is(method: str, tmp_path):
    # measuring takes steps of a copy, and moves no queue, centre or draw of the learner
    one, other = (trained(tmp_path / str(parts), of(method), method, accumulate=parts) for parts in (1, "auto"))
    assert one[0].tolist() == other[0].tolist()
    assert all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def test_blocks_that_are_computed_twice_change_nothing(tmp_path, float64):
    whole, _ = trained(tmp_path / "whole", of("simclr"), "simclr")
    losses, _ = trained(tmp_path / "twice", of("simclr"), "simclr", accumulate=4, checkpointing=True)
    np.testing.assert_allclose(losses, whole, rtol=1e-6)


def key(gradient: torch.Tensor) -> tuple:
    """A place among the gradients of a network, whose order depends on the groups of its optimiser."""
    return gradient.shape, float(gradient.abs().sum())


def dropping() -> Learner:
    """A learner whose encoders drop units and branches at random."""
    module = of("byol")
    for network in (module.online, module.target):
        for block in network.encoder.backbone.blocks:
            block.mlp.drop1.p = 0.5
            block.drop_path1, block.drop_path2 = DropPath(0.3), DropPath(0.3)
    return module


@pytest.mark.parametrize("checkpointing", [False, True])
def test_dropout_and_stochastic_depth_are_the_same_both_times(checkpointing: bool, float64):
    module, reference, found = dropping(), dropping(), []
    features = module.features
    module.features = lambda views: found.append(features(views)) or found[-1]
    _, gradients = passed(module, "byol", parts=2, checkpointing=checkpointing)
    first, second = found[:2], found[2:]
    for before, after in zip(first, second, strict=True):
        for each, other in zip(before, after, strict=True):
            assert torch.equal(each, other)
    # each part has draws of its own
    assert not torch.allclose(first[0][0].std(dim=0), first[1][0].std(dim=0))

    # and the gradients are those of one graph, through the features of both parts and the loss of all
    made, momentum, state = [], [], SimpleNamespace(step=0, world=training_made.ALONE)
    for number, (part, _) in enumerate(batch("byol").parts(2)):
        views, _ = seen(reference, part, seed=0)
        for kept, network, name in (
            (momentum, reference.momentum_features, "momentum"),
            (made, reference.features, "features"),
        ):
            grad_cache._draw_alike(state, number, seed=0, of=name)
            kept.append(network(views))
    reference.loss(*([torch.cat(each) for each in zip(*kept, strict=True)] for kept in (made, momentum))).backward()
    expected = [parameter.grad for parameter in reference.parameters() if parameter.grad is not None]
    assert len(gradients) == len(expected)
    for each, other in zip(sorted(gradients, key=key), sorted(expected, key=key), strict=True):
        torch.testing.assert_close(each, other, **rounding.NEAR)


def test_each_part_of_each_rank_has_draws_of_its_own_for_each_network():
    places, drawn = list(product((0, 1), (0, 1), (0, 1), ("momentum", "features"))), []
    for step, rank, number, network in places * 2:
        state = SimpleNamespace(step=step, world=SimpleNamespace(rank=rank))
        grad_cache._draw_alike(state, number, seed=3, of=network)
        drawn.append(float(torch.rand(1)))
    assert drawn[: len(places)] == drawn[len(places) :] and len(set(drawn)) == len(places)


def test_running_statistics_of_an_encoder_move_once_for_each_part(float64):
    module, plain = (of("byol", backbone="timm/test_resnet") for _ in range(2))
    passed(module, "byol", parts=2)
    plain.mode(True)
    with torch.no_grad():
        for part, _ in batch("byol").parts(2):
            views, _ = seen(plain, part, seed=0)
            plain.momentum_features(views)
            plain.features(views)
    for network in ("online", "target"):
        one, other = (getattr(each, network).encoder.state_dict() for each in (module, plain))
        for name, tensor in other.items():
            torch.testing.assert_close(one[name], tensor, **rounding.NEAR, msg=name)
    assert {int(tensor) for name, tensor in one.items() if name.endswith("tracked")} == {4}


def test_in_half_precision_the_loss_is_near(float64):
    loss, gradients = passed(of("simclr").float(), "simclr", parts=4, precision="bf16")
    whole, others = passed(of("simclr").float(), "simclr", parts=1, precision="bf16")
    # eight bits of a fraction, in features of length one at a temperature of one half
    assert loss == pytest.approx(whole, rel=2**-6)
    one, other = (torch.cat([each.flatten() for each in both]) for both in (gradients, others))
    assert torch.cosine_similarity(one, other, dim=0) > 0.98


def test_stopped_it_ends_in_the_same_bytes(tmp_path):
    class Stopped(training_made.Doomed, training_made.Paired):
        pass

    def stop():
        raise KeyboardInterrupt

    training = training_made.recipe(accumulate=4, steps=8, validations=2)
    training_made.train(tmp_path / "alone", training_made.paired(dropout=0.2), training=training)
    doomed = Stopped(at=3, deed=stop, norm="layer", dropout=0.2)
    doomed.encoder = doomed.network
    with pytest.raises(KeyboardInterrupt):
        training_made.train(tmp_path / "often", doomed, training=training)
    training_made.train(tmp_path / "often", training_made.paired(dropout=0.2), training=training)
    assert training_made.products(tmp_path / "often") == training_made.products(tmp_path / "alone")


@pytest.mark.parametrize(
    "method", [method for method in COMPARED if not registry.constant("methods", method, "BACKBONES", default=())]
)
def test_where_batch_norm_would_show_the_parts_they_are_refused(method: str, tmp_path):
    module = of(method, backbone="timm/test_resnet")
    assert module.normalises_parts and of(method).in_parts
    if method in ALONE:
        assert trained(tmp_path / "parts", module, method, accumulate=2)[0].size
        return
    with pytest.raises(UserError, match=r"by BatchNorm this network could tell their parts apart.*remove accumulate"):
        trained(tmp_path / "parts", module, method, accumulate=2)


NETWORKS = {
    "timm": {
        "test_resnet", "resnet18", "resnet50_gn", "test_efficientnet", "test_efficientnet_ln", "test_vit",
        "mobilenetv3_small_050", "regnetx_002", "densenet121", "test_convnext",
    },
    "monai": {"resnet_small", "segresnet_small", "segresnet_ds_small", "unet_small", "dynunet_small"},
    "genesis": {"unet"}, "nnunet": {"resenc_test"}, "stu_net": {"test"}, "vit3d": {"tiny_patch16"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(f"{library}/{model}" for library, own in NETWORKS.items() for model in own))
def test_networks_that_are_said_to_have_batch_norm_have_it(name: str):
    encoder = backbones.build(name, size=64, mean=(0.5,), std=(0.25,), seed=0)
    built = Learner()
    built.encoder = encoder
    assert built.normalises_parts == backbones.has_batch_norm(name)
