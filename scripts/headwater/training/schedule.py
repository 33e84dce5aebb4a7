"""Schedule: how long a training is, how its learning rate rises and falls, and when it is validated."""

import math

import torch

from headwater.core.errors import UserError
from headwater.models.timm_library import timm
from headwater.study.recipe import Recipe, Training


def length(training: Training, *, cases: int) -> int:
    """Optimiser steps of a training on so many cases."""
    steps = training.steps or math.ceil(training.epochs * cases / training.batch)
    if training.warmup_steps >= steps:
        raise UserError(
            f"warmup_steps ({training.warmup_steps}) must be smaller than the training,"
            f" and {training.epochs} epochs of {cases} cases are {steps} steps",
            remedy="lower warmup_steps or batch, or raise epochs",
        )
    return steps


def frozen(recipe: Recipe, *, cases: int) -> int:
    """First steps of a recipe on so many cases in which the encoder is frozen; refused where no step is left."""
    held = recipe.frozen_steps or math.ceil((recipe.frozen_epochs or 0) * cases / recipe.training.batch)
    if held and held >= (steps := length(recipe.training, cases=cases)):
        raise UserError(
            f"the encoder is frozen for {held} steps, and the training on {cases} cases has {steps}",
            remedy="lower frozen_steps or frozen_epochs, or train for longer",
        )
    return held


def optimiser(groups: list[dict], training: Training) -> torch.optim.Optimizer:
    """timm's optimiser of that name on the parameter groups.

    Lars and lamb adapt the rate of weights that decay, and leave biases and norms alone, as SimCLR and BYOL do.
    """
    return timm.optim.create_optimizer_v2(
        groups,
        opt=training.optimiser,
        lr=training.lr,
        weight_decay=training.weight_decay,
        momentum=training.momentum,
    )


def learning_rate(
    optimiser: torch.optim.Optimizer, training: Training, *, steps: int
) -> timm.scheduler.CosineLRScheduler:
    """Sets the rate of a step from its number alone: linear warm-up, then a cosine to `final_lr`, or constant.

    A group's `lr_scale` (layer decay) multiplies the whole curve.
    """
    warmup = training.warmup_steps
    return timm.scheduler.CosineLRScheduler(
        optimiser,
        t_initial=steps - warmup,
        # a cosine between two equal rates is constant
        lr_min=training.final_lr if training.schedule == "cosine" else training.lr,
        warmup_t=warmup,
        # one part of the way up at the first step, where a rate of 0 would waste it
        warmup_lr_init=training.lr / (warmup + 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )


def validations(training: Training, *, steps: int) -> set[int]:
    """After which steps the validation split is scored: evenly spread, the last step always among them."""
    count = min(training.validations, steps)
    return {round(number * steps / count) for number in range(1, count + 1)}
