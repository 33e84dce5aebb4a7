"""Synthetic evidence of outlines, as `predict` would write it: two knees a participant, structures missed and made up.

The overlap of a case is Beta-distributed around a mean that its participant, its knee and the training share; in some
cases the structure is missed outright. Nothing here is normal, and the expected Dice of a source is known exactly.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.evaluation.predictions import PREDICTIONS, Predictions, with_evidence
from headwater.models import outlines

EVIDENCE = (
    *("target", "true_positive", "false_positive", "false_negative"),
    *("hausdorff95", "surface_dice", "reference_ml", "predicted_ml"),
)

PLUGIN = f'''"""Segmentation: the constants of the task, which is all that statistics and reports read."""

EVIDENCE = {EVIDENCE}
KINDS = {{"target": "binary"}}
CLASSES = ("positive",)
SCORE = "dice"
NEEDS = "is outlined"
'''

GRID, SPACING = (160, 384, 384), (0.7, 0.365, 0.365)
VOXEL = float(np.prod(SPACING)) / 1000
"""Millilitres."""

MEAN, NARROW, SPREAD = 0.8, 40.0, (8.0, 2.0)
"""Expected Dice where nothing is missed; how narrow a case's Beta is; the Beta of participants and knees."""


def there(folder: Path):
    """While the block runs there is a task `segmentation`: the library's own, or else one of constants."""
    return nullcontext() if "segmentation" in registry.names("tasks") else _planted(folder)


@contextmanager
def _planted(folder: Path) -> Iterator[None]:
    real, tasks = registry.folder, folder / "tasks"
    tasks.mkdir(parents=True)
    for file in real("tasks").glob("*.py"):
        (tasks / file.name).write_text(file.read_text())
    (tasks / "segmentation.py").write_text(PLUGIN)
    with patch.object(registry, "folder", lambda family: tasks if family == "tasks" else real(family)):
        yield


@dataclass(frozen=True, kw_only=True)
class Knees:
    """The cases of a test set: two knees a participant, and which structures a knee has."""

    patient: np.ndarray
    target: np.ndarray
    """(structures, cases): 1, 0, or NaN where there is no mask."""
    easy: np.ndarray
    """(structures, cases): the mean Dice that participant and knee alone would give."""
    hard: np.ndarray
    """(structures, cases): how likely it is that a network misses the structure."""

    @property
    def cases(self) -> np.ndarray:
        return np.array([f"c{at:05d}" for at in range(len(self.patient))], dtype=object)

    @property
    def patients(self) -> np.ndarray:
        return np.array([f"p{at:05d}" for at in self.patient], dtype=object)


def knees(
    draw: np.random.Generator, *, participants: int, structures: int = 1, lacking: float = 0.0, missed: float = 0.05
) -> Knees:
    """So many participants; a share of knees lacks each structure, and a share of structures is missed on average."""
    patient = np.repeat(np.arange(participants), 2)
    shape = (structures, len(patient))
    target = (draw.random(shape) >= lacking).astype(float)
    easy = 3 * draw.beta(*SPREAD, (structures, participants))[:, patient] + draw.beta(*SPREAD, shape)
    # a fifth of the participants is hard, and only theirs are missed
    hard = np.where(draw.random((structures, participants)) < 0.2, 5 * missed, 0.0)[:, patient]
    return Knees(patient=patient, target=target, easy=easy / 4, hard=hard)


def trainings(draw: np.random.Generator, *, seeds: int, sources: int, spread: float, paired: bool) -> np.ndarray:
    """The factor by which each training multiplies what is missing to a Dice of 1: (sources, seeds), of mean 1."""
    shape = 1 / spread**2
    own = draw.gamma(shape, 1 / shape, (sources, seeds))
    common = draw.gamma(shape, 1 / shape, seeds)
    return (own + common) / 2 if paired else own


def expected(level: float, *, missed: float) -> float:
    """The Dice of a source of this level over all participants and trainings."""
    return (1 - missed) * (1 - (1 - MEAN) * level)


def dice(draw: np.random.Generator, made: Knees, *, level: float, factors: np.ndarray) -> np.ndarray:
    """The Dice of each training of a source (trainings, structures, cases); 0 where the structure is missed."""
    taste = draw.beta(*SPREAD, (len(made.target), made.patient[-1] + 1))[:, made.patient]
    mean = 1 - (1 - (2 * made.easy + taste) / 3) * level * factors[:, None, None]
    mean = mean.clip(0.02, 0.98)
    drawn = draw.beta(NARROW * mean, NARROW * (1 - mean))
    return np.where(draw.random(drawn.shape) < made.hard, 0.0, drawn)


def evidence(draw: np.random.Generator, made: Knees, overlap: np.ndarray, *, invented: float = 0.0) -> dict:
    """The columns of evidence of one training (structures, cases), from its Dice; `invented`: how often it makes up."""
    here, known = made.target == 1, ~np.isnan(made.target)
    real = np.where(here, draw.integers(4000, 40_000, overlap.shape), 0)
    # the worse, the larger it is drawn
    drawn = np.where(overlap > 0, np.round(real * (1.5 - overlap / 2)), 0)
    shared = np.round(overlap * (real + drawn) / 2)
    phantom = (made.target == 0) & (draw.random(overlap.shape) < invented)
    drawn = np.where(here, drawn, np.where(phantom, draw.integers(1, 900, overlap.shape), 0))
    shared = np.where(here, shared, 0)
    worst = outlines.diagonal(GRID, spacing=SPACING)
    distance = np.where(overlap > 0, 0.4 + 12 * (1 - overlap), worst)
    columns = {
        "true_positive": shared,
        "false_positive": drawn - shared,
        "false_negative": real - shared,
        "hausdorff95": np.where(here, distance, np.nan),
        "surface_dice": np.where(here, np.where(overlap > 0, np.sqrt(overlap), 0.0), np.nan),
        "reference_ml": real * VOXEL,
        "predicted_ml": drawn * VOXEL,
    }
    return {"target": made.target} | {name: np.where(known, column, np.nan) for name, column in columns.items()}


def predictions(made: Knees, run: tuple[str, str, int], columns: dict, *, labels: tuple[str, ...]) -> Predictions:
    """The evidence of one training in memory."""
    return Predictions(
        file=Path("made.parquet"),
        run=run,
        cases=made.cases,
        patients=made.patients,
        labels=np.array(labels, dtype=object),
        evidence=columns,
    )


def table(made: Predictions, *, dataset: str) -> pd.DataFrame:
    """The same as the table that `predict` writes."""
    source, recipe, seed = made.run
    parts = [
        pd.DataFrame(
            {
                **{"dataset": dataset, "source": source, "recipe": recipe, "seed": seed, "case": made.cases},
                **{"patient": made.patients, "label": label},
                **{name: column[at] for name, column in made.evidence.items()},
            }
        )
        for at, label in enumerate(made.labels)
    ]
    return pd.concat(parts, ignore_index=True)


def written(
    folder: Path,
    *,
    levels: dict[str, float],
    structures: tuple[str, ...] = ("femoral", "tibial"),
    participants: int = 40,
    seeds: tuple[int, ...] = (0, 1, 2),
    lacking: float = 0.15,
    dataset: str = "knees",
    recipe: str = "finetune",
    product: str = "predictions",
    number: int = 0,
) -> list[Path]:
    """The predictions of each source and seed below `folder`; a level below 1 is a better source."""
    draw = np.random.default_rng(number)
    made = knees(draw, participants=participants, structures=len(structures), lacking=lacking)
    factors = trainings(draw, seeds=len(seeds), sources=len(levels), spread=0.1, paired=True)
    files = []
    for of_source, (source, level) in zip(factors, levels.items(), strict=True):
        for seed, overlap in zip(seeds, dice(draw, made, level=level, factors=of_source), strict=True):
            columns = evidence(draw, made, overlap, invented=0.7 * level**2)
            run = predictions(made, (source, recipe, seed), columns, labels=structures)
            file = folder / dataset / source / recipe / f"seed{seed}" / f"{product}.parquet"
            with_evidence(PREDICTIONS, EVIDENCE).write(table(run, dataset=dataset), file)
            files.append(file)
    return files
