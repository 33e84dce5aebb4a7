"""Validation of a fine-tuning: its losses and scores on the validation split, which choose the step to keep."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from headwater.models import resizing
from headwater.models.task_set import TaskSet, mapped
from headwater.models.tasks import Task
from headwater.study.grid import Run
from headwater.study.target import SCORE
from headwater.training import scoring
from headwater.training.ddp import World
from headwater.training.fitting import Fitting, mean
from headwater.training.reading.volumes import Asked

if TYPE_CHECKING:
    from headwater.training.fine_tuning import Material


def validate(learner: Fitting, *, material: "Material", run: Run, world: World) -> dict[str, float]:
    """Loss and scores on the validation split; of several targets the means over them, then those of each."""
    training = run.recipe.training
    outputs = scoring.score(
        resizing.taking(material.images.shape[-1], learner.network, size=learner.encoder.size),
        images=material.images,
        rows=material.validation,
        batch=training.batch,
        world=world,
        precision=training.precision,
        # the score needs no distances of borders, which take longer than all else
        asked=Asked(tasks=material.tasks, surfaces=False),
    )
    targets, tasks = material.targets["validation"], material.tasks
    losses = learner.losses_of_cases(outputs, mapped(torch.from_numpy, targets))
    known = {name: score for name, score in tasks.each(_score, outputs, targets).items() if score is not None}
    measured = {"validation/loss": float(mean(losses)), **_mean_scores(tasks, known)}
    if run.recipe.select == SCORE and known:
        measured[f"validation/{SCORE}"] = float(np.mean(list(known.values())))
    if tasks.named:
        measured |= {f"validation/{name}/loss": float(loss) for name, loss in losses.items()}
        measured |= {f"validation/{name}/{tasks.tasks[name].plugin.SCORE}": score for name, score in known.items()}
    return measured


def _mean_scores(tasks: TaskSet, known: dict[str, float]) -> dict[str, float]:
    """For each kind of score its mean over the targets that have one."""
    by_kind: dict[str, list[float]] = {}
    for name, score in known.items():
        by_kind.setdefault(f"validation/{tasks.tasks[name].plugin.SCORE}", []).append(score)
    return {kind: float(np.mean(scores)) for kind, scores in by_kind.items()}


def _score(task: Task, outputs: torch.Tensor, targets: np.ndarray) -> float | None:
    """A task's score of what it is answered on the validation split; none where no label can be scored."""
    return task.plugin.validation_score(task.plugin.evidence(outputs, targets, form=task.form))
