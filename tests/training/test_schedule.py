"""Length, learning rate and moments of validation."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.optim import param_groups_weight_decay

import rounding
from headwater.core.errors import UserError
from headwater.study.recipe import Training
from headwater.training import schedule


def groups():
    return [
        {"params": [torch.nn.Parameter(torch.ones(2, 2))], "lr_scale": 1.0},
        {"params": [torch.nn.Parameter(torch.ones(2, 2))], "lr_scale": 0.25, "weight_decay": 0.0},
    ]


def trace(training, *, steps, start=0):
    optimiser = schedule.optimiser(groups(), training)
    rate = schedule.learning_rate(optimiser, training, steps=steps)
    rates = []
    for step in range(start, steps):
        rate.step_update(step)
        rates.append([group["lr"] for group in optimiser.param_groups])
    return rates


def test_warm_up_and_cosine_and_layer_decay():
    rates = trace(Training(steps=30, lr=0.8, warmup_steps=9, final_lr=0.08), steps=30)
    for step, (head, below) in enumerate(rates):
        expected = 0.08 * (step + 1) if step < 9 else 0.08 + 0.72 * (1 + math.cos(math.pi * (step - 9) / 21)) / 2
        assert head == pytest.approx(expected)
        assert below == pytest.approx(expected / 4)


def test_the_trace_after_a_restart_is_the_same():
    training = Training(steps=30, lr=0.8, warmup_steps=9, final_lr=0.08)
    for start in (1, 8, 9, 10, 29):
        assert trace(training, steps=30, start=start) == trace(training, steps=30)[start:]


def test_constant_after_the_warm_up():
    heads = [head for head, _ in trace(Training(steps=8, lr=0.4, warmup_steps=3, schedule="constant"), steps=8)]
    assert heads == pytest.approx([0.1, 0.2, 0.3] + [0.4] * 5)


def test_a_training_of_one_step_learns():
    assert trace(Training(steps=1, lr=0.4), steps=1)[0][0] == 0.4


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lars", "lamb"])
def test_each_optimiser_is_had_with_its_settings(name):
    optimiser = schedule.optimiser(groups(), Training(steps=1, optimiser=name, weight_decay=0.3, momentum=0.7))
    assert type(optimiser).__name__.lower() == name
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]
    if name in ("sgd", "lars"):
        assert optimiser.defaults["momentum"] == 0.7
    before = [group["params"][0].detach().clone() for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["params"][0].grad = torch.ones(2, 2)
    optimiser.step()
    assert all((group["params"][0] < old).all() for group, old in zip(optimiser.param_groups, before, strict=True))


def matrix_and_bias(training):
    """A matrix and a bias, one step of the optimiser later, with the gradients that moved them."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 4)
    start = {name: one.detach().clone() for name, one in layer.named_parameters()}
    optimiser = schedule.optimiser(param_groups_weight_decay(layer, training.weight_decay), training)
    for one in layer.parameters():
        one.grad = torch.randn(one.shape)
    optimiser.step()
    return layer, start


@rounding.in_float64()
def test_sgd_without_momentum_is_plain_gradient_descent():
    layer, start = matrix_and_bias(Training(steps=1, optimiser="sgd", lr=0.5, momentum=0, weight_decay=0.1))
    weight = start["weight"]
    torch.testing.assert_close(layer.weight, weight - 0.5 * (layer.weight.grad + 0.1 * weight), **rounding.NEAR)
    torch.testing.assert_close(layer.bias, start["bias"] - 0.5 * layer.bias.grad, **rounding.NEAR)


@rounding.in_float64()
def test_lars_adapts_matrices_by_the_papers_rule_and_leaves_biases_alone():
    """You et al. 2017, algorithm 1, with the trust coefficient 0.001 of SwAV, SimCLR and BYOL."""
    layer, start = matrix_and_bias(Training(steps=1, optimiser="lars", lr=0.5, weight_decay=0.1))
    weight, gradient = start["weight"], layer.weight.grad
    trust = 0.001 * weight.norm() / (gradient.norm() + 0.1 * weight.norm())
    torch.testing.assert_close(layer.weight, weight - 0.5 * trust * (gradient + 0.1 * weight))
    torch.testing.assert_close(layer.bias, start["bias"] - 0.5 * layer.bias.grad)


@rounding.in_float64()
def test_lamb_adapts_matrices_by_the_papers_rule_and_leaves_biases_alone():
    """You et al. 2020, algorithm 2, after a clip of the whole gradient to length 1; Adam's first step is its sign."""
    layer, start = matrix_and_bias(Training(steps=1, optimiser="lamb", lr=0.5, weight_decay=0.1))
    weight = start["weight"]
    update = layer.weight.grad.sign() + 0.1 * weight
    # Adam divides by the gradient's size plus 1e-6: how far that is from its sign
    gradients = torch.cat([one.grad.flatten() for one in layer.parameters()])
    short = 1e-6 / (gradients / gradients.norm()).abs().min().item()
    torch.testing.assert_close(
        layer.weight, weight - 0.5 * weight.norm() / update.norm() * update, rtol=0, atol=short * weight.norm().item()
    )
    torch.testing.assert_close(layer.bias, start["bias"] - 0.5 * layer.bias.grad.sign(), rtol=0, atol=short)


@given(steps=st.integers(1, 1000), count=st.integers(1, 1200))
def test_validations_are_spread_evenly_and_end_with_the_last_step(steps, count):
    when = sorted(schedule.validations(Training(steps=steps, validations=count), steps=steps))
    assert len(when) == min(count, steps)
    assert when[-1] == steps and when[0] >= 1
    gaps = [later - earlier for earlier, later in pairwise([0, *when])]
    assert max(gaps) - min(gaps) <= 1


def test_length_in_epochs_is_rounded_up():
    assert schedule.length(Training(epochs=1.5, batch=4), cases=7) == 3
    assert schedule.length(Training(steps=9, batch=4), cases=7) == 9
    with pytest.raises(UserError, match=r"warmup_steps must be < 3, the steps of .* \(got 3\)"):
        schedule.length(Training(epochs=1.5, batch=4, warmup_steps=3), cases=7)
