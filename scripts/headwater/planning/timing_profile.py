"""Calibration: what a few steps of each kind of training told of this machine, and what a study's jobs would then take.

The file is JSON: `device`, `job` (seconds that Snakemake needs around a job: `local`, and `slurm` for the two that
a job on a cluster starts), and `trainings` by key, each with `start` (seconds of a training process that are no step),
`step` (seconds per optimiser step), `image` (seconds per image scored), `bytes` (of the encoder), `steps` and `images`
(how many were timed) and `data` (`prepared` images, or `noise` of their size).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import Card
from headwater.study import shared_labels
from headwater.study.archive import Archive, window_of
from headwater.study.config import Config
from headwater.study.ct_windows import Window
from headwater.study.grid import Run
from headwater.study.job_graph import Job
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe, Training
from headwater.study.source import Source
from headwater.study.target import Target


class Timed(Record):
    """What one kind of training took."""

    start: float = Field(ge=0)
    step: float = Field(ge=0)
    image: float = Field(ge=0)
    bytes: int = Field(ge=0)
    steps: int = Field(ge=1)
    images: int = Field(ge=1)
    data: Literal["prepared", "noise"]


class Calibration(Record):
    """What was measured on one machine."""

    device: str
    job: dict[Literal["local", "slurm"], float]
    trainings: dict[str, Timed]


class Rehearsal(Record):
    """A kind of training to be timed: a source's pre-training or, with a recipe, the fitting of its network."""

    source: Source
    recipe: Recipe | None = None
    size: int
    channels: int
    labels: int
    task: str = "classification"
    """Of a recipe: the task that is fitted, where that is one only."""
    targets: dict[str, Target] = {}
    """Of a recipe: what is fitted side by side."""
    seen: Window | None = None
    """What is seen of images in Hounsfield units."""
    ranks: int = 1
    """The share of the batch that one of so many processes has is what is timed."""

    @property
    def key(self) -> str:
        """What it is timed as; neither names nor lengths change the time of a step."""
        if self.recipe:
            kept = {"name": "", "training": _of_any_length(self.recipe.training), "fraction": 1.0, "select": "auroc"}
            how = f"{self.recipe.kind} {self.recipe.model_copy(update=kept).digest}"
            tasks = [target.task for target in self.targets.values()] or [self.task]
            how += "" if tasks == ["classification"] else f" {' '.join(sorted(tasks))}"
        else:
            plain = {"name": "", "corpus": "", "reduction": "everything", "start": None, "seed": 0, "seen": None}
            of_any_length = {"training": _of_any_length(self.source.training)}
            how = f"{self.source.method.name} {self.source.model_copy(update=plain | of_any_length).digest}"
        return f"{how} {self.source.backbone} {self.size} px {self.ranks} ranks"


def _of_any_length(training: Training) -> Training:
    changed = {"steps": 1, "epochs": None, "warmup_steps": 0, "validations": 1, "patience": None, "save_minutes": 10.0}
    return training.model_copy(update=changed)


def file_of(plan: Config, *, folder: Path) -> Path:
    """Where a study's calibration lies."""
    return folder / Paths(plan.results).timing_profile()


def read(plan: Config, *, folder: Path) -> Calibration | None:
    """The calibration of a study; none if there is none."""
    file = file_of(plan, folder=folder)
    if not file.is_file():
        return None
    try:
        return Calibration.from_json(file.read_text())
    except (OSError, pydantic.ValidationError) as error:
        raise UserError(
            f"not a valid timing profile: {error}", file=file, remedy="delete it and calibrate again"
        ) from None


# what a study would rehearse


def rehearsal_of(job: Job, plan: Config) -> Rehearsal | None:
    """What stands for a training job; none for jobs that train nothing. A prediction is timed with its training."""
    if job.run:
        ranks = plan.compute.of(job.run.recipe.compute).ranks
        archive = plan.archives[job.run.dataset.archive]
        labels = len(job.run.dataset.listed or _card(archive).labels) or 1
        measures = {"size": archive.size, "channels": channels(archive), "labels": labels, "ranks": ranks}
        measures |= {"seen": window_of(archive)}
        # from where its first weights came changes nothing of the time that a network takes
        alike = Source(name="any", backbone=job.run.source.backbone)
        measures |= {"task": job.run.dataset.task, "targets": job.run.dataset.targets}
        return Rehearsal(source=alike, recipe=job.run.recipe, **measures)
    if job.rule != "pretrain":
        return None
    source = plan.sources[job.wildcards[0]]
    archive = plan.archives[source.corpus]
    labels, ranks = len(_card(archive).labels) or 1, plan.compute.of(source.compute).ranks
    measures = {"size": archive.size, "channels": channels(archive), "labels": labels, "ranks": ranks}
    return Rehearsal(source=source, seen=window_of(archive), **measures)


def _card(archive: Archive) -> Card:
    return registry.load("datasets", archive.kind.name).CARD


def channels(archive: Archive) -> int:
    """Planes of an archive's prepared images: radiographs and Hounsfield units are grey."""
    return 1 if _card(archive).modality == "radiograph" or _card(archive).window else 3


def pixel_bytes(archive: Archive) -> int:
    """Bytes of each pixel of an archive's prepared images: Hounsfield units take two."""
    return 2 if _card(archive).window else 1


# how many images there are


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cases of an archive by split, and whether they were counted or only announced."""

    train: int
    validation: int
    test: int
    counted: bool

    @property
    def all(self) -> int:
        """All cases."""
        return self.train + self.validation + self.test


def counts(archive: Archive, *, plan: Config, folder: Path) -> Counts | None:
    """How many cases an archive has: those prepared, else those that a twin or its publisher promises, else none."""
    prepared = folder / Paths(plan.results).cases(archive.name)
    if prepared.is_file():
        split = Counter(_column(prepared, "split"))
        return Counts(train=split["train"], validation=split["validation"], test=split["test"], counted=True)
    expected = _card(archive).expected
    cases = archive.twin.cases if archive.twin else expected.get("cases")
    if not cases:
        return None
    test = expected.get("test", round(archive.test * cases)) if not archive.twin else round(archive.test * cases)
    validation = expected.get("validation", round(archive.validation * (cases - test)))
    return Counts(train=cases - test - validation, validation=validation, test=test, counted=False)


def _column(table: Path, name: str) -> Sequence[Any]:
    """A column of a table of the study."""
    # pandas takes half a second to import, which a plan of which nothing is prepared need not wait for
    from headwater.data import tables

    return tables.read_column(table, name)


# what they would take


def foretold(job: Job, *, plan: Config, profile: Calibration, folder: Path) -> float | None:
    """Seconds of a job by the calibration; none where it says nothing of such jobs."""
    rehearsal = rehearsal_of(job, plan)
    timed = profile.trainings.get(rehearsal.key) if rehearsal else None
    if timed is None:
        return None
    around = profile.job["local"] + timed.start
    if job.rule == "pretrain":
        steps = _steps(rehearsal.source.training, cases=_corpus(rehearsal.source, plan=plan, folder=folder))
        return None if steps is None else around + steps * timed.step
    have = counts(plan.archives[job.run.dataset.archive], plan=plan, folder=folder)
    if have is None:
        return None
    if job.rule == "predict":
        return around + len(job.runs) * (have.test + have.validation) * timed.image
    if job.rule == "transport":
        there = [counts(archive, plan=plan, folder=folder) for archive in _elsewhere(job.run, plan)]
        return None if None in there else around + len(job.runs) * sum(archive.test for archive in there) * timed.image
    training = job.run.recipe.training
    steps = _steps(training, cases=round(have.train * job.run.recipe.fraction))
    looked_at = min(training.validations, steps) * have.validation / rehearsal.ranks
    return around + steps * timed.step + looked_at * timed.image


def _elsewhere(run: Run, plan: Config) -> list[Archive]:
    """The archives of the other datasets that a run's network is tested on."""
    others = shared_labels.abroad(plan.grid(), run.dataset.name).others
    return [plan.archives[plan.datasets[other.dataset].archive] for other in others]


def _steps(training: Training, *, cases: int | None) -> int | None:
    """Optimiser steps; none where they hang on a number of cases that nobody knows."""
    if training.steps:
        return training.steps
    return None if cases is None else math.ceil(training.epochs * cases / training.batch)


def _corpus(source: Source, *, plan: Config, folder: Path) -> int | None:
    """Images that a pre-training sees; none where a reduction has not yet said which."""
    kept = folder / Paths(plan.results).rows(source.corpus, source.reduction)
    if kept.is_file():
        return len(_column(kept, "row"))
    have = counts(plan.archives[source.corpus], plan=plan, folder=folder)
    return have.train if have and source.reduction == "everything" else None
