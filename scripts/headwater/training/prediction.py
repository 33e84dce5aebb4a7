"""Prediction: what a fitted network gives for a split of an archive, as evidence for each case and label."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from headwater.core.errors import UserError, did_you_mean
from headwater.data import splits, store
from headwater.models import predictor
from headwater.models.predictor import Predictor
from headwater.models.tasks import Task
from headwater.study.grid import Run
from headwater.study.shared_labels import Exchange
from headwater.training import scoring
from headwater.training.ddp import World
from headwater.training.reading.volumes import Asked, Keep


def predictors(runs: list[Run], models: list[Path], *products: list[Path]) -> Iterator[tuple[Any, ...]]:
    """(predictor, product, ...) of each run in turn, so that one network at a time is in memory."""
    counts = {len(runs), len(models), *map(len, products)}
    if len(counts) > 1:
        raise UserError(f"{len(runs)} runs need as many models and products", remedy="give one of each per run")
    for run, model, *paths in zip(runs, models, *products, strict=True):
        yield predictor.read(run, model), *paths


def at_home(
    fitted: Predictor,
    data: store.Prepared,
    *,
    split: str,
    cases: Path,
    world: World,
    keep: Keep | None = None,
) -> pd.DataFrame:
    """The predictions for a split of the archive that the network was fitted to, in the order of the cases."""
    _refuse_absent(fitted.labels, [*data.labels, *data.numbers], file=cases)
    rows = _rows(data, split, file=cases)
    same = [(label, label) for label in fitted.labels]
    tolerance = fitted.run.dataset.tolerance
    evidence = _evidence(fitted, data, rows, labels=same, tolerance=tolerance, world=world, keep=keep)
    return _table(fitted.run, data, rows, {"label": fitted.labels}, evidence)


def elsewhere(
    fitted: Predictor, exchange: Exchange, data: store.Prepared, *, cases: Path, world: World
) -> pd.DataFrame:
    """The predictions for the test cases of another archive, for the labels that both have."""
    labels, asked = (list(names) for names in zip(*exchange.labels, strict=True))
    for names, available, file in ((asked, fitted.labels, fitted.file), (labels, data.labels, cases)):
        _refuse_absent(names, available, file=file)
    rows = _rows(data, "test", file=cases)
    tolerance = exchange.tolerance
    evidence = _evidence(fitted, data, rows, labels=list(exchange.labels), tolerance=tolerance, world=world)
    table = _table(fitted.run, data, rows, {"label": labels, "asked": asked}, evidence)
    return table.assign(tested_on=exchange.dataset)


def origin(fitted: Predictor, data: store.Prepared) -> dict[str, str]:
    """What predictions come from; refuses a model that was fitted to other splits than it is tested on."""
    split = splits.digests(data.cases)[splits.ALL]
    if fitted.metadata.get("split", split) != split:
        raise UserError(
            "was fitted to other splits of these cases", file=fitted.file, remedy="delete it and run finetune again"
        )
    return {**fitted.origin, "split": split}


def _refuse_absent(names: list[str], available: list[str], *, file: Path) -> None:
    """Refuse a file that lacks a label."""
    for name in names:
        if name not in available:
            raise UserError(f"has no label {name!r}", file=file, remedy=did_you_mean(name, available))


def _rows(data: store.Prepared, split: str, *, file: Path) -> np.ndarray:
    rows = data.rows(split)
    if not len(rows):
        raise UserError(f"has no {split} cases", file=file, remedy="mend the split of the archive")
    return rows


def _evidence(
    fitted: Predictor,
    data: store.Prepared,
    rows: np.ndarray,
    *,
    labels: list[tuple[str, str]],
    tolerance: float,
    world: World,
    keep: Keep | None = None,
) -> dict[str, np.ndarray]:
    """Each column of evidence that a task gives, (rows, labels); NaN for labels whose task does not give it.

    `labels`: of each the name in the data, and the one that the network was fitted under. `tolerance`: of borders.
    """
    training, tasks = fitted.run.recipe.training, fitted.tasks
    outputs = scoring.score(
        fitted.taking(data.size),
        images=data.images,
        rows=rows,
        batch=training.batch,
        world=world,
        precision=training.precision,
        asked=Asked(
            tasks=tasks,
            tolerance=tolerance,
            named={asked: label for label, asked in labels},
            keep=keep,
        ),
    )
    if not all(tasks.each(_sound, outputs).values()):
        raise UserError(
            "gives scores that are NaN or infinite", file=fitted.file, remedy="fit it again with a lower lr"
        )
    given = tasks.each(partial(_of_task, data, rows, labels), outputs).values()
    columns = dict.fromkeys(name for _, evidence in given for name in evidence)
    filled = {name: np.full((len(rows), len(labels)), np.nan) for name in columns}
    for places, evidence in given:
        for name, values in evidence.items():
            filled[name][:, places] = values
    return filled


def _sound(task: Task, outputs: Tensor) -> bool:
    """Whether a task's outputs come from numbers."""
    return task.plugin.sound(outputs) if task.outlines else bool(torch.isfinite(outputs).all())


def _of_task(
    data: store.Prepared, rows: np.ndarray, labels: list[tuple[str, str]], task: Task, outputs: Tensor
) -> tuple[list[int], dict[str, np.ndarray]]:
    """(which of the labels are a task's, its evidence of them (rows, labels))."""
    places = [place for place, (_, asked) in enumerate(labels) if asked in task.labels]
    if not places:
        return [], {}
    targets = task.plugin.targets(data, rows, labels=[labels[place][0] for place in places])
    columns = [task.labels.index(labels[place][1]) for place in places]
    alike = columns == list(range(len(task.labels)))
    evidence = task.plugin.evidence(outputs, targets, form=task.form, columns=None if alike else columns)
    return places, {name: evidence[name] for name in task.plugin.EVIDENCE}


def _table(
    run: Run, data: store.Prepared, rows: np.ndarray, names: dict[str, list[str]], evidence: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Evidence (rows, labels) with one row per case and label; `names` are columns of one word per label."""
    chosen, count = data.cases.iloc[rows], len(names["label"])
    return pd.DataFrame(
        {
            "dataset": run.dataset.name,
            "source": run.source.name,
            "recipe": run.recipe.name,
            "seed": run.seed,
            "case": np.repeat(chosen["case"].to_numpy(), count),
            "patient": np.repeat(chosen["patient"].to_numpy(), count),
        }
        | {name: np.tile(np.array(words, dtype=object), len(rows)) for name, words in names.items()}
        | {name: column.ravel() for name, column in evidence.items()}
    )
