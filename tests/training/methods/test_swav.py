"""SwAV against plain arithmetic: how answers are sorted into groups, what is told of them, and what rests when."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from lightly.loss.swav_loss import sinkhorn
from scipy.special import log_softmax

import rounding
from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training import schedule
from headwater.training.methods import swav
from headwater.training.views.draws import keys
from test_methods import learner

pytestmark = pytest.mark.usefixtures("float64")

IMAGES = torch.randint(0, 255, (8, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TARGETS = torch.zeros(8, 3)


def step(module, optimiser, number):
    """One step of a training, as the loop takes it."""
    module.mode(True)
    module.before_step(step=number)
    drawn = keys(seed=0, epochs=torch.full((8,), number), cases=torch.arange(8))
    module(module.views(IMAGES, drawn), TARGETS).backward()
    optimiser.step()
    optimiser.zero_grad()
    module.after_step(step=number, steps=module.steps)


def sorted_into_groups(scores, *, epsilon, iterations):
    """Sinkhorn's algorithm word by word (Cuturi 2013): rows, then columns of the transport plan get their sums."""
    plan = np.exp(scores.astype(np.float64) / epsilon)
    plan /= plan.sum()
    cases, groups = plan.shape
    for _ in range(iterations):
        plan /= plan.sum(axis=0, keepdims=True) * groups
        plan /= plan.sum(axis=1, keepdims=True) * cases
    return plan * cases


@pytest.mark.parametrize("iterations", [1, 3, 300])
def test_sinkhorn_is_the_plain_algorithm(iterations):
    scores = np.random.default_rng(0).uniform(-1, 1, (24, 6))
    ours = sinkhorn(torch.from_numpy(scores), iterations=iterations, epsilon=0.1).numpy()
    np.testing.assert_allclose(ours, sorted_into_groups(scores, epsilon=0.1, iterations=iterations), **rounding.NEAR)
    np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-9)
    if iterations == 300:
        np.testing.assert_allclose(ours.sum(axis=0), 4, rtol=1e-3)  # all groups are equally large


def test_the_sharpest_sorting_that_is_allowed_stays_finite():
    scores = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    assert sinkhorn(scores, epsilon=0.02).isfinite().all()
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        learner("swav", epsilon=0.01)


@pytest.mark.parametrize("small_views", [0, 2])
def test_the_loss_is_the_papers_swapped_prediction(small_views):
    """Equation 2 and section 3.2, from the scores of the views as they stand."""
    module = learner("swav", small_views=small_views, queue=0)
    scored = []
    module.prototypes.register_forward_hook(lambda _, __, scores: scored.append(scores.detach()))
    drawn = keys(seed=0, epochs=torch.zeros(8, dtype=torch.int64), cases=torch.arange(8))
    loss = module(module.views(IMAGES, drawn), TARGETS).item()
    views = [scores.numpy() for scores in scored[0].chunk(2 + small_views)]
    terms = []
    for told in (0, 1):
        groups = sorted_into_groups(views[told], epsilon=0.05, iterations=3)
        for telling in range(2 + small_views):
            if telling != told:
                terms.append(-(groups * log_softmax(views[telling] / 0.1, axis=1)).sum(axis=1).mean())
    assert loss == pytest.approx(np.mean(terms), rel=1e-9)


def test_scores_are_cosines():
    module = learner("swav", queue=0)
    scored = []
    module.prototypes.register_forward_hook(lambda _, given, scores: scored.append((given[0], scores)))
    drawn = keys(seed=0, epochs=torch.zeros(8, dtype=torch.int64), cases=torch.arange(8))
    module(module.views(IMAGES, drawn), TARGETS)
    ((answers, scores),) = scored
    expected = torch.cosine_similarity(answers[:, None], module.prototypes.weight[None], dim=2)
    torch.testing.assert_close(scores, expected, **rounding.NEAR)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars", "lamb"])
def test_prototypes_rest_to_the_bit_and_then_move_on_the_sphere(name):
    """Whatever optimiser: neither weight decay nor momentum stirs what is frozen."""
    module = learner("swav", steps=10, frozen_prototypes=0.3, queue=0)
    training = Training(steps=10, batch=8, lr=0.1, optimiser=name, weight_decay=0.1)
    optimiser = schedule.optimiser(module.parameter_groups(training), training)
    trace = [module.prototypes.weight.detach().clone()]
    for number in range(5):
        step(module, optimiser, number)
        trace.append(module.prototypes.weight.detach().clone())
    rested = [torch.equal(before, after) for before, after in pairwise(trace)]
    assert rested == [True, True, True, False, False]
    for prototypes in trace:
        torch.testing.assert_close(prototypes.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_the_first_update_of_prototypes_is_no_larger_than_the_learning_rate(name):
    """Moments that had counted gradients of zero would make it three times as large."""
    module = learner("swav", steps=60, frozen_prototypes=0.9, queue=0)
    training = Training(steps=60, batch=8, lr=0.001, optimiser=name)
    optimiser, moved = schedule.optimiser(module.parameter_groups(training), training), []
    with torch.no_grad():
        for number in range(53):
            module.before_step(step=number)
            for parameter in module.branch.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimiser.step()
    for number in range(53, 58):
        module.before_step(step=number)
        drawn = keys(seed=0, epochs=torch.full((8,), number), cases=torch.arange(8))
        module(module.views(IMAGES, drawn), TARGETS).backward()
        before = module.prototypes.weight.detach().clone()
        optimiser.step()
        optimiser.zero_grad()
        moved.append((module.prototypes.weight.detach() - before).abs().max().item())
    assert moved[0] == 0 and 0 < max(moved) <= 1.05 * 0.001


def test_every_parameter_is_optimised_once_and_lars_adapts_the_rate_of_the_prototypes():
    module = learner("swav")
    training = Training(steps=10, batch=8, lr=0.5, optimiser="lars", weight_decay=1e-6)
    groups = module.parameter_groups(training)
    optimised = [id(one) for group in groups for one in group["params"]]
    assert sorted(optimised) == sorted(id(one) for one in module.parameters())
    optimiser = schedule.optimiser(groups, training)
    before = module.prototypes.weight.detach().clone()
    gradient = torch.randn_like(before)
    module.prototypes.weight.grad = gradient
    optimiser.step()
    moved = 0.5 * 0.001 * before.norm() / gradient.norm() * gradient  # You et al. 2017, equation 6
    torch.testing.assert_close(module.prototypes.weight, before - moved, **rounding.NEAR)


def test_the_queue_takes_part_once_it_is_full_and_its_time_has_come():
    """Batches of 8 and a queue of 20: three steps fill it; a fifth of 10 steps has passed then."""
    module = learner("swav", steps=10, queue=20, queue_starts=0.2)
    asked = []
    criterion = module.criterion.forward
    module.criterion.forward = lambda large, small, queued: (asked.append(queued), criterion(large, small, queued))[1]
    optimiser = torch.optim.SGD(module.parameters(), lr=0.01)
    for number in range(4):
        step(module, optimiser, number)
    assert [queued is not None for queued in asked] == [False, False, False, True]
    assert [tuple(scores.shape) for scores in asked[3]] == [(20, 12)] * 2


def test_sorting_with_a_queue_is_the_sorting_of_both_together():
    module = learner("swav", steps=4, queue=8, queue_starts=0.0, small_views=0, frozen_prototypes=0.9)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.0)
    step(module, optimiser, 0)
    scored = []
    module.prototypes.register_forward_hook(lambda _, __, scores: scored.append(scores.detach().numpy()))
    drawn = keys(seed=0, epochs=torch.ones(8, dtype=torch.int64), cases=torch.arange(8))
    module.before_step(step=1)
    loss = module(module.views(IMAGES, drawn), TARGETS).item()
    *queued, both = scored
    terms = []
    for told, telling in ((0, 1), (1, 0)):
        view = both[8 * told : 8 * told + 8]
        groups = sorted_into_groups(np.concatenate([view, queued[told]]), epsilon=0.05, iterations=3)[:8]
        terms.append(-(groups * log_softmax(both[8 * telling : 8 * telling + 8] / 0.1, axis=1)).sum(axis=1).mean())
    assert loss == pytest.approx(np.mean(terms), rel=1e-9)


def test_views_are_large_then_small():
    module = learner("swav", backbone="timm/test_vit", large_views=3)
    drawn = keys(seed=0, epochs=torch.zeros(8, dtype=torch.int64), cases=torch.arange(8))
    shapes = [tuple(view.shape) for view in module.views(IMAGES, drawn)]
    assert shapes == [(8, 3, 32, 32)] * 3 + [(8, 3, 16, 16)] * 2


def test_what_cannot_work_is_refused(monkeypatch):
    with pytest.raises(UserError, match=r"batch must be >= 2 \(got 1\): swav .*; set batch to 2 or more"):
        learner("swav").parameter_groups(Training(steps=1, batch=1))
    with pytest.raises(UserError, match=r"queue must be >= batch 64 \(got 32\); make it a few batches long"):
        learner("swav").parameter_groups(Training(steps=1, batch=64))
    with pytest.raises(UserError, match=r"swav\.small_crop must be a range of .* \(got 0\.4 to 0\.1\)"):
        learner("swav", small_crop=(0.4, 0.1))
    monkeypatch.setattr(swav, "world_size", lambda: 3)
    with pytest.raises(
        UserError, match=r"swav\.queue must be a multiple of the 3 ranks \(got 32\); change swav\.queue"
    ):
        learner("swav")
