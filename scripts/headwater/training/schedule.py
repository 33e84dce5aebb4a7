"""Schedule: the length of a training, its optimiser and learning rate, and when it is validated."""

import math

import torch

from headwater.core.errors import UserError
from headwater.models.timm_library import timm
from headwater.study.recipe import Recipe, Training


def length(training: Training, *, cases: int) -> int:
    """Optimiser steps of a training on `cases` cases."""
    steps = training.steps or math.ceil(training.epochs * cases / training.batch)
    if training.warmup_steps >= steps:
        raise UserError(
            f"warmup_steps must be < {steps}, the steps of {training.epochs} epochs on {cases} cases"
            f" (got {training.warmup_steps})",
            remedy="lower warmup_steps or batch, or raise epochs",
        )
    return steps


def frozen(recipe: Recipe, *, cases: int) -> int:
    """Number of first steps in which the encoder is frozen; refused if that is the whole training."""
    frozen_steps = recipe.frozen_steps or math.ceil((recipe.frozen_epochs or 0) * cases / recipe.training.batch)
    if frozen_steps and frozen_steps >= (steps := length(recipe.training, cases=cases)):
        raise UserError(
            f"the encoder is frozen for {frozen_steps} steps, but the training on {cases} cases has only {steps}",
            remedy="lower frozen_steps or frozen_epochs, or train for longer",
        )
    return frozen_steps


def optimiser(groups: list[dict], training: Training) -> torch.optim.Optimizer:
    """timm's optimiser of the training's name on the parameter groups.

    LARS and LAMB adapt the learning rate only of parameters with weight decay, and so not of biases and norms, as in
    SimCLR and BYOL. On GPUs Adam and AdamW update all parameters in one kernel; the others update many
    of them in each kernel, as they choose themselves.
    """
    on_gpu = any(parameter.is_cuda for group in groups for parameter in group["params"])
    fused = {"fused": True} if on_gpu and training.optimiser in ("adam", "adamw") else {}
    betas = {} if training.optimiser in ("sgd", "lars") else {"betas": training.betas}
    # timm's `sgd` has Nesterov's momentum, which torch refuses if it is 0; its `momentum` has the plain one
    plain = training.optimiser == "sgd" and not training.momentum
    return timm.optim.create_optimizer_v2(
        groups,
        opt="momentum" if plain else training.optimiser,
        lr=training.lr,
        weight_decay=training.weight_decay,
        momentum=training.momentum,
        **betas,
        **fused,
    )


def learning_rate(
    optimiser: torch.optim.Optimizer, training: Training, *, steps: int
) -> timm.scheduler.CosineLRScheduler:
    """The learning rate schedule: linear warm-up, then a cosine decay to `final_lr`, or constant.

    The rate depends only on the step's number. A group's `lr_scale` (layer decay) multiplies it.
    """
    warmup = training.warmup_steps
    return timm.scheduler.CosineLRScheduler(
        optimiser,
        t_initial=steps - warmup,
        # a cosine between two equal rates is constant
        lr_min=training.final_lr if training.schedule == "cosine" else training.lr,
        warmup_t=warmup,
        # the first step has a rate above 0, which would waste it
        warmup_lr_init=training.lr / (warmup + 1),
        warmup_prefix=True,
        t_in_epochs=False,
    )


def weight_decay(training: Training, *, step: int, steps: int) -> float:
    """The weight decay of a step: constant, or along half a cosine, as in DINO's published code."""
    first, last = training.weight_decay, training.final_weight_decay
    return first if last is None else last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def validations(training: Training, *, steps: int) -> set[int]:
    """The steps after which to validate: evenly spaced, always including the last."""
    count = min(training.validations, steps)
    return {round(number * steps / count) for number in range(1, count + 1)}
