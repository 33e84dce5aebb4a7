"""Methods that compare views against plain arithmetic: their losses, what follows what, and who is normalised how."""

import copy
import math

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from scipy.special import logsumexp
from timm.layers import BatchNormAct2d
from torch import nn

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.models import backbones
from headwater.study.recipe import Training, Views
from headwater.training import methods
from headwater.training.methods import _group_norm, _queues, moco, simclr
from headwater.training.views.draws import keys
from test_methods import learner

pytestmark = pytest.mark.usefixtures("float64")

IMAGES = torch.randint(0, 255, (8, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.zeros(8, 3)


def seen(module, number=0):
    """The views of a step."""
    return module.views(IMAGES, keys(seed=0, epochs=torch.full((8,), number), cases=torch.arange(8)))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def made_by(module, run):
    """What a part of the network gives during the run, call after call."""
    given = []
    handle = module.register_forward_hook(lambda _, __, out: given.append(out.detach().numpy().astype(np.float64)))
    loss = run().item()
    handle.remove()
    return given, loss


def moved(before, after):
    return any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def weights(part):
    return [one.detach().clone() for one in part.parameters()]


def test_simclrs_loss_is_lightlys_to_the_bit():
    chance = torch.Generator().manual_seed(1)
    both = [torch.randn(8, 16, generator=chance, dtype=torch.float32).requires_grad_() for _ in range(2)]
    ours, theirs = simclr.nt_xent(*both, temperature=0.3), NTXentLoss(0.3)(*both)
    assert torch.equal(ours, theirs)
    for one, other in zip(torch.autograd.grad(ours, both), torch.autograd.grad(theirs, both), strict=True):
        assert torch.equal(one, other)


def test_simclrs_loss_is_the_papers_equation_1():
    module = learner("simclr", temperature=0.3)
    (rows,), loss = made_by(module.branch.head, lambda: module(seen(module), TARGETS))
    rows = unit(rows)
    terms = []
    for one in range(16):
        alike = [rows[one] @ rows[other] / 0.3 for other in range(16) if other != one]
        terms.append(logsumexp(alike) - rows[one] @ rows[(one + 8) % 16] / 0.3)
    assert loss == pytest.approx(np.mean(terms), rel=1e-9)


def test_byols_loss_is_the_papers_equation_2_both_ways():
    module = learner("byol")
    predicted, loss = made_by(module.predictor, lambda: module(seen(module), TARGETS))
    awaited, _ = made_by(module.target.head, lambda: module(seen(module), TARGETS))
    distances = [np.square(unit(predicted[one]) - unit(awaited[1 - one])).sum(axis=1).mean() for one in (0, 1)]
    assert loss == pytest.approx(sum(distances), rel=1e-9)


@pytest.mark.parametrize(
    ("method", "option", "followed", "follower"),
    [("byol", "target_momentum", "online", "target"), ("moco_v3", "momentum", "query", "key")],
)
def test_what_follows_does_so_by_a_cosine_to_1_and_gets_no_gradient(method, option, followed, follower):
    module = learner(method, steps=5, **{option: 0.8})
    online, target = getattr(module, followed), getattr(module, follower)
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.add_(1)
    for step in range(5):
        known, before = weights(online), weights(target)
        module(seen(module), TARGETS).backward()
        assert all(parameter.grad is None for parameter in target.parameters())
        module.after_step(step=step, steps=5)
        momentum = 1 - 0.2 * (1 + math.cos(math.pi * step / 4)) / 2
        for one, old, new in zip(known, before, target.parameters(), strict=True):
            torch.testing.assert_close(new, momentum * old + (1 - momentum) * one, **rounding.NEAR)


@pytest.mark.parametrize("method", ["byol", "moco_v3", "vicreg", "barlow_twins"])
def test_every_parameter_of_the_heads_learns(method):
    """A bias before BatchNorm, or a loss of differences, would not: its gradient would be rounding alone."""
    module = learner(method)
    module(seen(module), TARGETS).backward()
    heads = [one for name, one in module.named_parameters() if one.requires_grad and "encoder." not in name]
    assert min(one.grad.abs().max() for one in heads) > 1e-4


def test_mocos_loss_is_lightlys_with_a_memory_bank():
    module = learner("moco", temperature=0.3, queue=24)
    reference = NTXentLoss(temperature=0.3, memory_bank_size=(24, 16))
    reference.double().memory_bank.bank.copy_(module.queue.answers)
    views = seen(module)
    found = copy.deepcopy(module)._keys(views[1])
    queries, loss = made_by(module.query, lambda: module(views, TARGETS))
    expected = reference(torch.from_numpy(queries[0]).float().requires_grad_(), found)
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(module.queue.answers[:8], found)


def test_moco_v3s_loss_is_the_papers_algorithm_1_both_ways():
    module = learner("moco_v3", temperature=0.3)
    queries, loss = made_by(module.predictor, lambda: module(seen(module), TARGETS))
    keys_of, _ = made_by(module.key.head, lambda: module(seen(module), TARGETS))
    terms = []
    for one in (0, 1):
        alike = unit(queries[one]) @ unit(keys_of[1 - one]).T / 0.3
        terms.append(2 * 0.3 * np.mean(logsumexp(alike, axis=1) - np.diag(alike)))
    assert loss == pytest.approx(sum(terms), rel=1e-9)


def test_moco_v3s_heads_have_three_layers_and_two_each_with_a_norm():
    module = learner("moco_v3")
    shapes = [[tuple(one.weight.shape) for one in head.layers if isinstance(one, nn.Linear)] for head in (
        module.query.head, module.predictor
    )]  # fmt: skip
    width = module.encoder.width
    assert shapes == [[(32, width), (32, 32), (16, 32)], [(32, 16), (16, 32)]]
    for head in (module.query.head, module.predictor):
        norms = [one for one in head.layers if isinstance(one, nn.BatchNorm1d)]
        assert [norm.affine for norm in norms] == [True] * (len(norms) - 1) + [False]
        assert len(norms) == sum(isinstance(one, nn.Linear) for one in head.layers)
        assert not any(name.endswith("bias") for name, _ in head.layers[0].named_parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_moco_v3_leaves_a_transformers_patch_projection_as_it_is_if_asked(frozen):
    module = learner("moco_v3", backbone="timm/test_vit", frozen_patches=frozen)
    projection = module.encoder.backbone.patch_embed.proj
    before, others = weights(projection), weights(module.encoder.backbone.blocks)
    groups = module.parameter_groups(Training(steps=1, batch=8, weight_decay=0.1))
    optimiser = torch.optim.AdamW(groups, lr=0.01)
    module(seen(module), TARGETS).backward()
    optimiser.step()
    assert moved(before, weights(projection)) != frozen
    assert moved(others, weights(module.encoder.backbone.blocks))


def test_moco_v3_freezes_the_cubes_of_volumes_too_and_nothing_of_other_networks():
    cubes = backbones.build("vit3d/test_patch8", size=16, mean=(0.0,), std=(1.0,), seed=0)
    made = registry.load("methods", "moco_v3")
    module = made.MocoV3(cubes, options=made.Options(dimension=4, hidden_dimension=8), changes=Views())
    still = [name for name, one in module.encoder.named_parameters() if not one.requires_grad]
    assert still == ["backbone.patch_embed.proj.weight", "backbone.patch_embed.proj.bias"]
    assert all(one.requires_grad for one in learner("moco_v3").encoder.parameters())


def test_frozen_patches_are_refused_where_there_are_none():
    asked = Choice(name="moco_v3", options={"frozen_patches": False})
    methods.check_options(asked, backbone="timm/test_vit")
    methods.check_options(Choice(name="moco_v3", options={"frozen_patches": True}), backbone="timm/resnet50")
    why = (
        r"moco_v3\.frozen_patches has an effect on networks of timm/vision_transformer and vit3d only"
        r" \(got timm/resnet50\); leave frozen_patches out"
    )
    with pytest.raises(UserError, match=why):
        methods.check_options(asked, backbone="timm/resnet50")


def test_vicregs_loss_is_the_published_one():
    """The paper's equation 6, with a mean over the dimensions and of both variances as in its code."""
    module = learner("vicreg", invariance=2, variance=3, covariance=5)
    rows, loss = made_by(module.branch.head, lambda: module(seen(module), TARGETS))
    terms = [2 * np.mean((rows[0] - rows[1]) ** 2)]
    for view in rows:
        covariances = np.cov(view.T)
        # some dimensions vary by more than 1, and some by less
        lack = np.maximum(0, 1 - np.sqrt(np.diag(covariances) + 1e-4))
        terms.append(3 * np.mean(lack) / 2)
        terms.append(5 * (np.sum(covariances**2) - np.sum(np.diag(covariances) ** 2)) / 16)
    assert loss == pytest.approx(sum(terms), rel=1e-9)


def test_barlow_twins_loss_is_the_papers_equation_1():
    module = learner("barlow_twins", redundancy=0.3)
    rows, loss = made_by(module.branch.head, lambda: module(seen(module), TARGETS))
    # 1e-5 keeps torch's standardisation from a division by 0
    first, second = ((view - view.mean(axis=0)) / np.sqrt(view.var(axis=0) + 1e-5) for view in rows)
    correlations = first.T @ second / 8
    own = np.diag(correlations)
    expected = np.sum((1 - own) ** 2) + 0.3 * (np.sum(correlations**2) - np.sum(own**2))
    assert loss == pytest.approx(expected, rel=1e-9)


def test_a_queue_keeps_the_newest_first():
    queue = _queues.Queue(5, 2)
    first = queue.answers.clone()
    torch.testing.assert_close(first.norm(dim=1), torch.ones(5))
    rows = torch.arange(12.0).view(6, 2)
    for start in (0, 2, 4):
        queue.push(rows[start : start + 2])
    assert queue.answers.tolist() == rows[[4, 5, 2, 3, 0]].tolist()
    queue.push(rows[:1])
    assert queue.answers.tolist() == rows[[0, 4, 5, 2, 3]].tolist()
    assert list(queue.state_dict()) == ["answers"]


def test_mocos_keys_come_from_a_network_that_only_follows():
    module = learner("moco", momentum=0.75)
    before = weights(module.key)
    with torch.no_grad():
        for parameter in module.query.parameters():
            parameter.add_(1)
    module(seen(module), TARGETS).backward()
    assert all(parameter.grad is None for parameter in module.key.parameters())
    module.after_step(step=0, steps=10)
    for new, old in zip(module.key.parameters(), before, strict=True):
        torch.testing.assert_close(new, old + 0.25, **rounding.NEAR)


def test_mocos_keys_are_shuffled_by_the_step_and_given_back_in_order():
    """Without BatchNorm the order would make no difference; with it, a key depends on its neighbours."""
    module = learner("moco").double()
    views = [view.double() for view in seen(module)]
    given = []
    module.key.register_forward_pre_hook(lambda _, images: given.append(images[0]))
    for step in (0, 0, 1):
        module.before_step(step=step)
        module._keys(views[1])
    assert torch.equal(given[0], given[1])
    assert not torch.equal(given[0], given[2]) and not torch.equal(given[0], views[1])
    module.mode(False)  # now each key stands for itself
    plain = torch.nn.functional.normalize(module.key(views[1]).float(), dim=1)
    torch.testing.assert_close(module._keys(views[1]), plain)


def test_moco_on_a_network_without_batch_norm_shuffles_nothing():
    module = learner("moco", backbone="timm/test_vit")
    given = []
    module.key.register_forward_pre_hook(lambda _, images: given.append(images[0]))
    views = seen(module)
    module(views, TARGETS)
    assert not module.shuffled and torch.equal(given[0], views[1])


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5, 5)])
def test_grouped_batch_norm_is_torchs_on_each_group(shape):
    """With groups of two, images 0 and 3, 1 and 4, 2 and 5 belong together."""
    kind = {2: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    model, alone = nn.Sequential(kind(4)).double(), [kind(4).double() for _ in range(3)]
    with torch.no_grad():
        model[0].weight.uniform_(0.5, 2)
        model[0].bias.uniform_(-1, 1)
    for norm in alone:
        norm.load_state_dict(model[0].state_dict())
    names = list(model.state_dict())
    assert _group_norm.in_groups(model, group=2)
    assert list(model.state_dict()) == names
    x = torch.randn(shape, dtype=torch.float64) * 3 + 5
    together = model(x)
    for number, norm in enumerate(alone):
        torch.testing.assert_close(together[number::3], norm(x[number::3]))
    for name in ("running_mean", "running_var"):
        expected = torch.stack([getattr(norm, name) for norm in alone]).mean(dim=0)
        torch.testing.assert_close(getattr(model[0], name), expected)
    assert int(model[0].num_batches_tracked) == 1
    plain = kind(4).double()
    plain.load_state_dict(model[0].state_dict())
    torch.testing.assert_close(model.eval()(x), plain.eval()(x))


def test_grouped_batch_norm_keeps_timms_activation():
    model, expected = nn.Sequential(BatchNormAct2d(4)), nn.Sequential(BatchNormAct2d(4))
    x = torch.randn(6, 4, 3, 3)
    assert _group_norm.in_groups(model, group=6)
    torch.testing.assert_close(model(x), expected(x))
    assert not _group_norm.in_groups(nn.Sequential(nn.LayerNorm(4)), group=2)


def test_groups_that_do_not_come_out_are_refused(monkeypatch):
    module, why = (
        learner("moco"),
        r"batch must be a multiple of moco\.group x ranks = 4 x [12] \(got (10|12)\); change batch, moco\.group",
    )
    with pytest.raises(UserError, match=why):
        module.parameter_groups(Training(steps=1, batch=10))
    assert module.parameter_groups(Training(steps=1, batch=12))
    monkeypatch.setattr(moco, "world_size", lambda: 2)
    with pytest.raises(UserError, match=why):
        module.parameter_groups(Training(steps=1, batch=12))


def test_one_group_is_said(capsys):
    learner("moco", group=8).parameter_groups(Training(steps=1, batch=8))
    assert "moco: the batch is one group" in capsys.readouterr().err


def test_a_queue_shorter_than_the_batch_is_refused():
    with pytest.raises(UserError, match=r"queue must be >= batch 16 \(got 8\); make it a few batches long"):
        learner("moco", queue=8).parameter_groups(Training(steps=1, batch=16))


@pytest.mark.parametrize("method", ["byol", "moco", "moco_v3", "simclr", "vicreg", "barlow_twins"])
def test_a_single_image_is_refused(method):
    with pytest.raises(UserError, match=rf"batch must be >= 2 \(got 1\): {method}.*; set batch to 2 or more"):
        learner(method).parameter_groups(Training(steps=1, batch=1))


@pytest.mark.parametrize("method", ["byol", "moco", "moco_v3"])
def test_a_second_moving_average_is_refused(method):
    with pytest.raises(UserError, match=r"is already a moving average of the weights; leave out training\.ema"):
        learner(method).parameter_groups(Training(steps=1, batch=16, ema=0.9))


@pytest.mark.parametrize(
    ("method", "kept"),
    [
        ("byol", "online"),
        ("moco", "query"),
        ("moco_v3", "query"),
        ("simclr", "branch"),
        ("vicreg", "branch"),
        ("barlow_twins", "branch"),
    ],
)
def test_the_encoder_that_learns_is_kept(method, kept):
    module = learner(method)
    assert module.encoder is getattr(module, kept).encoder
    before = weights(module.encoder)
    optimiser = torch.optim.SGD([one for one in module.parameters() if one.requires_grad], lr=0.1)
    module(seen(module), TARGETS).backward()
    optimiser.step()
    assert moved(before, weights(module.encoder))
