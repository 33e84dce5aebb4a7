"""What a step takes of memory is what autograd keeps, for batches of any size."""

import numpy as np
import pytest
import torch

import training_made
from headwater.core import registry
from headwater.models import backbones
from headwater.study.recipe import Training, Views
from headwater.study.step_memory import StepMemory
from headwater.training import grad_cache, memory
from headwater.training.batches import Batch, seen, training_batches
from headwater.training.state import State

STEPS, SIZE = 4, 32
METHODS = {"ijepa": "timm/test_vit", "mae": "timm/test_vit", "simclr": "timm/test_resnet", "byol": "timm/test_resnet"}


NARROW = {"dimension": 256, "hidden_dimension": 256}
SMALL_HEADS = {"output_dimension": 64, "hidden_dimension": 32, "bottleneck_dimension": 16}


def learner(method: str, **options) -> torch.nn.Module:
    encoder = backbones.build(METHODS.get(method, "timm/test_vit"), size=SIZE, mean=(0.5,), std=(0.25,), seed=0)
    plugin = registry.load("methods", method)
    how = {"size": SIZE, "labels": 1, "task": None, "targets": np.zeros((16, 1)), "steps": STEPS}
    return plugin.learner(encoder, options=plugin.Options(**options), views=Views(crop=0.5, flip=0.5), **how)


def batch(count: int) -> Batch:
    images = np.random.default_rng(0).integers(0, 255, (16, 1, SIZE, SIZE), dtype=np.uint8)
    held = {"images": images, "rows": np.arange(16), "targets": np.zeros((16, 1), np.float32)}
    batches = training_batches(range(1), **held, batch=count, seed=0, world=training_made.ALONE)
    return next(iter(batches)).to(torch.device("cpu"))


def measured(method: str, *, format: torch.dtype | None = None, options: dict | None = None, **changes) -> StepMemory:
    training = Training(steps=STEPS, batch=8, **changes)
    return memory.measured(
        learner(method, **options or {}), (batch(2), batch(4)), training=training, steps=STEPS, format=format
    )


def kept(method: str, images: Batch, *, format: torch.dtype | None) -> tuple[int, int]:
    """(bytes that autograd keeps for the backward pass, those of the largest tensor), by its own hooks."""
    one, storages, largest = learner(method), {}, 0
    inputs, aims = seen(one, images, seed=0)
    before = {tensor.untyped_storage().data_ptr() for tensor in (*one.parameters(), *one.buffers(), images.images)}
    before |= {tensor.untyped_storage().data_ptr() for tensor in inputs}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in before:
            storages[storage.data_ptr()] = storage.nbytes()
            largest = max(largest, storage.nbytes())
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=format, enabled=format is not None):
        loss = one(inputs, aims)
    assert loss.grad_fn is not None
    return sum(storages.values()), largest


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("format", [None, torch.bfloat16])
def test_activations_are_what_autograd_keeps_and_little_more(method: str, format: torch.dtype | None):
    step, images = measured(method, format=format), batch(16)
    found, largest = kept(method, images, format=format)
    views = sum(tensor.nbytes for tensor in seen(learner(method), images, seed=0)[0])
    foretold = step.passing(16)
    assert foretold >= found
    # besides what is kept there are the views, their making, and at any time the gradients that an operation takes and
    # gives, of activations and of the largest weight, each in float32 too where it is converted
    weight = max(parameter.nbytes for parameter in learner(method).parameters())
    # byol takes each weight twice, and autograd holds the gradients of the one until those of the other come
    twice = step.gradients if method == "byol" else 0
    assert foretold <= found + 3 * views + 4 * largest + 2 * weight + twice


@pytest.mark.parametrize("method", ["ijepa", "mae", "simclr"])
def test_larger_batches_follow_from_small_ones(method: str):
    step, one = measured(method), learner(method)
    for parameter in one.parameters():
        parameter.grad = torch.zeros_like(parameter)
    found = memory._passing(one, batch(16), format=None, seed=0).most
    # of simclr the similarities of all pairs grow with the square of the images: 32 x 32 numbers, a few times
    pairs = 8 * 32 * 32 * 4 if method == "simclr" else 0
    assert found - pairs <= step.passing(16) <= found


@pytest.mark.parametrize(
    ("method", "options"), [("dino", {}), ("dino", SMALL_HEADS), ("ibot", SMALL_HEADS), ("swav", {})], ids=str
)
def test_what_takes_most_in_larger_batches_only_is_foretold(method: str, options: dict):
    step, one = measured(method, options=options), learner(method, **options)
    one.before_step(step=STEPS - 1)
    for parameter in one.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    found = {count: memory._passing(one, batch(count), format=None, seed=0).most for count in (2, 16)}
    assert {count: step.passing(count) for count in found} == found
    # with a few images it is another moment at which most is in memory
    assert step.activations + 16 * step.image < 0.95 * found[16]


@pytest.mark.parametrize("method", ["dino", "ibot"])
def test_heads_whose_weights_are_normed_are_measured_before_and_after_a_pass(method: str):
    one, training = learner(method), Training(steps=STEPS, batch=8)
    measures = []
    for _ in range(2):
        measures.append(memory.measured(one, (batch(2), batch(4)), training=training, steps=STEPS, format=None))
        one(seen(one, batch(2), seed=0)[0], None).backward()
    first, second = measures
    assert (first.weights, first.gradients, first.moments) == (second.weights, second.gradients, second.moments)
    assert first.image > 0 and second.image > 0


@pytest.mark.parametrize(
    ("method", "options"),
    [("simclr", {}), ("byol", {}), ("vicreg", NARROW), ("dino", {}), ("dino", SMALL_HEADS), ("ibot", SMALL_HEADS)],
    ids=str,
)
@pytest.mark.parametrize("parts", [2, 8])
def test_in_parts_a_batch_that_is_compared_takes_what_is_foretold(
    method: str, options: dict, parts: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(METHODS, method, "timm/test_vit")
    step, images = measured(method, options=options), batch(16)
    training = Training(steps=STEPS, batch=16, accumulate=parts)
    state = State(learner(method, **options), training=training, steps=STEPS, world=training_made.ALONE)
    state.learner.before_step(step=STEPS - 1)
    for parameter in state.trained:
        parameter.grad = torch.zeros_like(parameter)
    known = [*state.learner.parameters(), *state.learner.buffers(), *(each.grad for each in state.trained)]
    with memory.Living([*known, images.images, images.targets, images.cases, images.epochs]) as living:
        grad_cache.gradients(state, images, seed=0)
    foretold = step.passing(16 // parts, share=16)
    # views and features of a part may live on while those of the next one are made; its passes have no head, which the
    # forecast counts
    assert 0.97 * living.most <= foretold <= 1.6 * living.most
    assert living.most < step.passing(16)


def test_half_precision_keeps_about_half():
    full, half = measured("mae"), measured("mae", format=torch.bfloat16)
    assert 0.5 * full.image <= half.image < 0.7 * full.image
    assert half.weights == full.weights


@pytest.mark.parametrize(
    "how",
    [{"optimiser": name} for name in memory.MOMENTS] + [{"optimiser": "lars", "momentum": 0.0}, {"ema": 0.9}],
    ids=str,
)
def test_weights_gradients_and_moments_are_those_of_a_real_step(how: dict):
    step = measured("mae", **how)
    training = Training(steps=STEPS, batch=8, **how)
    state = State(learner("mae"), training=training, steps=STEPS, world=training_made.ALONE)
    for parameter in state.trained:
        parameter.grad = torch.ones_like(parameter)
    state.optimiser.step()
    held = [tensor for of in state.optimiser.state.values() for tensor in of.values() if torch.is_tensor(tensor)]
    # numbers of steps aside
    moments = sum(tensor.nbytes for tensor in held if tensor.numel() > 1 or tensor.ndim)
    average = sum(tensor.nbytes for tensor in state.average.module.state_dict().values()) if state.average else 0
    assert step.moments == pytest.approx(moments + average, rel=1e-3)
    assert step.gradients == sum(parameter.nbytes for parameter in state.trained)
    assert step.weights == sum(tensor.nbytes for tensor in (*state.learner.parameters(), *state.learner.buffers()))
    assert step.held == SIZE * SIZE + 4 + 16


@pytest.mark.parametrize("method", ["simclr", "dino"])
def test_the_learner_stays_as_it_was(method: str, monkeypatch: pytest.MonkeyPatch):
    # dino's head has weights that are computed of others, which are not copied as they are
    monkeypatch.setitem(METHODS, "dino", "timm/test_vit")
    one, before = learner(method), learner(method).state_dict()
    memory.measured(one, (batch(2), batch(4)), training=Training(steps=STEPS, batch=8), steps=STEPS, format=None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.state_dict().items())
    assert all(parameter.grad is None for parameter in one.parameters())


def test_tensors_count_once_and_only_while_they_live():
    known = torch.zeros(1000)
    with memory.Living([known]) as living:
        known.add_(1)
        first = known + 1
        view = first.view(10, 100)[2:].t()
        assert living.now == living.most == 4000
        second = view * 2
        assert living.now == 4000 + 3200
        del first
        assert living.now == 4000 + 3200
        del view
        assert living.now == 3200
        del second
    assert living.now == 0 and living.most == 7200


def test_a_tensor_that_takes_the_place_of_a_known_one_counts():
    known = [torch.zeros(1000) for _ in range(50)]
    with memory.Living(known) as living:
        made = []
        for index in range(50):
            # as a buffer that is set anew in each step
            known[index] = None
            made.append(torch.ones(1000))
    assert living.now == 50 * 4000
