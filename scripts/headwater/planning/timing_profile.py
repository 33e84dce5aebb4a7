"""Timing profile: measured seconds per step of each kind of training on one machine, and estimates of jobs from them.

The file is JSON: `device`, `job` (Snakemake's overhead per job in seconds: `local`, and `slurm` for the two Snakemakes
that a job on a cluster starts), and `trainings` by key, each with `start` (seconds to start a training process), `step`
(seconds per optimiser step), `image` (seconds per scored image or volume), `bytes` (of the encoder), `steps` and
`images` (how many were timed) and `data` (`prepared` images, or `noise` of their size). Of volumes there are also
`windows` (the mean number in which one was scored) and `borders` (further seconds for the distances between borders of
structures, which predictions measure), and of a GPU `memory` (the most bytes that were allocated at once).
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import pydantic
from pydantic import Field

from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data import cards
from headwater.planning import volume_sizes
from headwater.planning.volume_sizes import Lengths, Sides
from headwater.study import shared_labels
from headwater.study import target as target_of
from headwater.study.archive import Archive, ndim_of, seen_of, usual_window, view_of
from headwater.study.config import Config
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.job_graph import jobs
from headwater.study.jobs import Job
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe, Training
from headwater.study.source import Source
from headwater.study.target import Target


class Timed(Record):
    """The timings of one kind of training."""

    start: float = Field(ge=0)
    step: float = Field(ge=0)
    image: float = Field(ge=0)
    bytes: int = Field(ge=0)
    steps: int = Field(ge=1)
    images: int = Field(ge=1)
    data: Literal["prepared", "noise"]
    windows: float = Field(0, ge=0)
    borders: float = Field(0, ge=0)
    memory: int | None = Field(None, ge=0)


class TimingProfile(Record):
    """The timings of all kinds of training on one machine."""

    device: str
    job: dict[Literal["local", "slurm"], float]
    trainings: dict[str, Timed]


class Rehearsal(Record):
    """A kind of training to be timed: a source's pre-training or, with a recipe, a fine-tuning of its network."""

    source: Source
    recipe: Recipe | None = None
    size: int | Sides
    """Width and height of images in pixels, of volumes the sides of the patch in voxels."""
    view: int | None = None
    """Width and height in which networks see images that are stored larger, in pixels."""
    channels: int
    labels: int
    task: str = "classification"
    """Of a recipe: the task that is fitted, where that is one only."""
    listed: tuple[str, ...] = ()
    """The labels that it is fitted to, where the config names them."""
    targets: dict[str, Target] = {}
    """Of a recipe: what is fitted side by side."""
    seen: Window | Intensity | None = None
    """How images in Hounsfield units, or volumes, are shown."""
    ranks: int = 1
    """Processes of the training; a rehearsal times one of them, with its share of the batch."""
    sides: tuple[Sides, ...] = ()
    """Of volumes that are not prepared yet: the sides of some in voxels, on the grids of their sources."""
    spacings: tuple[Lengths, ...] = ()
    """Millimetres between the voxels of these."""
    wanted: Lengths | None = None
    """Millimetres between their voxels when they are prepared; None where each keeps its own."""

    @property
    def key(self) -> str:
        """The name under which it is timed: equal for trainings that differ in names, seeds or lengths only."""
        # those change no time of a step, so their fields are reset before the digest
        if self.recipe:
            reset = {"name": "", "training": _any_length(self.recipe.training), "fraction": 1.0, "select": "auroc"}
            kind = f"{self.recipe.kind} {self.recipe.model_copy(update=reset).digest}"
            tasks = [target.task for target in self.targets.values()] or [self.task]
            kind += "" if tasks == ["classification"] else f" {' '.join(sorted(tasks))}"
        else:
            reset = {"name": "", "corpus": "", "reduction": "everything", "start": None, "seed": 0, "seen": None}
            reset |= {"view": None, "training": _any_length(self.source.training)}
            kind = f"{self.source.method.name} {self.source.model_copy(update=reset).digest}"
        size = f"{self.size} px" if isinstance(self.size, int) else f"{' x '.join(map(str, self.size))} voxels"
        size = f"{self.view} of {size}" if self.view else size
        return f"{kind} {self.source.backbone} {size} {self.ranks} ranks"

    @property
    def training(self) -> Training:
        """The training that is rehearsed: the recipe's, or the source's."""
        return self.recipe.training if self.recipe else self.source.training

    @property
    def share(self) -> int:
        """One process' images of a batch; processes run side by side, so one of them shows what a step takes."""
        return max(1, self.training.batch // self.ranks)

    @property
    def asked(self) -> dict[str, Target]:
        """Of a recipe: what networks are asked, by the name of the target."""
        return target_of.asked(self.targets, task=self.task, labels=self.listed)

    def scored_in(self, sides: Sequence[int]) -> int:
        """The windows in which a volume of these sides in voxels is scored."""
        outlining = [target_of.outlines(asked.task) for asked in self.asked.values()] if self.recipe else [False]
        return volume_sizes.scored_in(sides, self.size, outlined=any(outlining), pooled=not all(outlining))


def _any_length(training: Training) -> Training:
    """The training with all fields reset that change how long it runs, but not the time of a step."""
    reset = {"steps": 1, "epochs": None, "warmup_steps": 0, "validations": 1, "patience": None, "save_minutes": 10.0}
    return training.model_copy(update=reset)


def file_of(plan: Config, *, folder: Path) -> Path:
    """The file of a study's timing profile."""
    return folder / Paths(plan.results).timing_profile()


def read(plan: Config, *, folder: Path) -> TimingProfile | None:
    """The timing profile of a study; none before `headwater plan calibrate`."""
    file = file_of(plan, folder=folder)
    if not file.is_file():
        return None
    try:
        return TimingProfile.from_json(file.read_text())
    except (OSError, pydantic.ValidationError) as error:
        raise UserError(
            f"not a valid timing profile: {error}", file=file, remedy="delete it and calibrate again"
        ) from None


# the kinds of training of a study


def rehearsal_of(job: Job, plan: Config) -> Rehearsal | None:
    """The rehearsal for a training or prediction job, which is timed with its training; none for other jobs."""
    if job.run:
        dataset, ranks = job.run.dataset, plan.compute.of(job.run.recipe.compute).ranks
        archive = plan.archives[dataset.archive]
        # the origin of its initial weights does not change a network's speed
        source = Source(**{key: getattr(job.run.source, key) for key in ("backbone", "mean", "std")}, name="any")
        measures = _measures(archive, listed=dataset.listed, view=dataset.view)
        measures |= {"task": dataset.task, "targets": dataset.targets}
        return Rehearsal(source=source, recipe=job.run.recipe, ranks=ranks, **measures)
    if job.rule != "pretrain":
        return None
    source = plan.sources[job.wildcards[0]]
    ranks, archive = plan.compute.of(source.compute).ranks, plan.archives[source.corpus]
    return Rehearsal(source=source, ranks=ranks, **_measures(archive, view=view_of(archive, own=source.view)))


def trainings(plan: Config) -> Iterator[tuple[Job, Rehearsal]]:
    """The jobs that train, each with its rehearsal."""
    for job in jobs(plan):
        if job.rule in ("pretrain", "finetune"):
            yield job, rehearsal_of(job, plan)


def _measures(archive: Archive, *, listed: tuple[str, ...] = (), view: int | None) -> dict[str, Any]:
    """What a rehearsal must know of an archive."""
    size = archive.patch if ndim_of(archive) == 3 else archive.size
    labels = len(listed or cards.card(archive).labels) or 1
    shown = {"channels": channels(archive), "seen": seen_of(archive)}
    return {"size": size, "view": view, "labels": labels, "listed": listed, **shown}


def channels(archive: Archive) -> int:
    """Channels of an archive's prepared images: 1 for radiographs, Hounsfield units and volumes, else 3."""
    grey = cards.card(archive).modality == "radiograph" or usual_window(archive) or ndim_of(archive) == 3
    return 1 if grey else 3


def pixel_bytes(archive: Archive) -> int:
    """Bytes per pixel and channel of an archive's prepared images: 2 for Hounsfield units, else 1."""
    return 2 if usual_window(archive) else 1


# numbers of images


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Cases of an archive by split, and whether they were counted or are expected."""

    train: int
    validation: int
    test: int
    counted: bool

    @property
    def all(self) -> int:
        """All cases."""
        return self.train + self.validation + self.test

    def in_fold(self, fold: Fold | None) -> "Counts":
        """The same cases with a fold as test split; as they are without one."""
        if fold is None:
            return self
        test = round(self.all / fold.folds.folds)
        validation = round((self.all - test) * fold.folds.validation)
        return replace(self, train=self.all - test - validation, validation=validation, test=test)


def counts(archive: Archive, *, plan: Config, folder: Path) -> Counts | None:
    """The number of cases of an archive: prepared, else of a twin, by its card or as listed; none if unknown."""
    prepared = folder / Paths(plan.results).cases(archive.name)
    if prepared.is_file():
        split = Counter(_column(prepared, "split"))
        return Counts(train=split["train"], validation=split["validation"], test=split["test"], counted=True)
    expected = cards.card(archive).expected
    cases = archive.twin.cases if archive.twin else expected.get("cases")
    if not cases and (sizes := volume_sizes.of(archive, plan=plan, folder=folder)):
        cases = sizes.cases
    if not cases:
        return None
    test = expected.get("test", round(archive.test * cases)) if not archive.twin else round(archive.test * cases)
    validation = expected.get("validation", round(archive.validation * (cases - test)))
    return Counts(train=cases - test - validation, validation=validation, test=test, counted=False)


def _column(table: Path, name: str) -> Sequence[Any]:
    """A column of a table of the study."""
    # imported here because pandas takes half a second, which a study without prepared tables need not wait for
    from headwater.data import tables

    return tables.read_column(table, name)


# estimates


def job_seconds(job: Job, *, plan: Config, profile: TimingProfile, folder: Path) -> float | None:
    """Seconds of a job by the timing profile; none if its kind was not timed or its number of images is unknown."""
    rehearsal = rehearsal_of(job, plan)
    timed = profile.trainings.get(rehearsal.key) if rehearsal else None
    if timed is None:
        return None
    overhead = profile.job["local"] + timed.start
    if job.rule == "pretrain":
        steps = _steps(rehearsal.source.training, cases=_corpus(rehearsal.source, plan=plan, folder=folder))
        return None if steps is None else overhead + steps * timed.step
    cases = counts(plan.archives[job.run.dataset.archive], plan=plan, folder=folder)
    if cases is None:
        return None
    cases = cases.in_fold(job.run.dataset.fold)
    of_a_case = partial(_scoring, rehearsal=rehearsal, timed=timed, plan=plan, folder=folder)
    archive = plan.archives[job.run.dataset.archive]
    # one prediction job serves the networks of all seeds
    if job.rule == "predict":
        return overhead + len(job.runs) * (cases.test + cases.validation) * of_a_case(archive, borders=True)
    if job.rule == "transport":
        others = [(other, counts(other, plan=plan, folder=folder)) for other in _elsewhere(job.run, plan)]
        if any(many is None for _, many in others):
            return None
        return overhead + len(job.runs) * sum(many.test * of_a_case(other, borders=True) for other, many in others)
    training = job.run.recipe.training
    steps = _steps(training, cases=round(cases.train * job.run.recipe.fraction))
    # the processes share the validation cases among them
    validated = min(training.validations, steps) * cases.validation / rehearsal.ranks
    return overhead + steps * timed.step + validated * of_a_case(archive, borders=False)


def _scoring(
    archive: Archive, *, borders: bool, rehearsal: Rehearsal, timed: Timed, plan: Config, folder: Path
) -> float:
    """Seconds in which a case of an archive is scored: of volumes the more the more windows they take."""
    seconds = timed.image + borders * timed.borders
    sizes = volume_sizes.of(archive, plan=plan, folder=folder) if timed.windows else None
    return seconds if sizes is None else seconds * fmean(map(rehearsal.scored_in, sizes.prepared)) / timed.windows


def _elsewhere(run: Run, plan: Config) -> list[Archive]:
    """The archives of the other datasets that a run's network is tested on."""
    others = shared_labels.abroad(plan.grid(), run.dataset.name).others
    return [plan.archives[plan.datasets[other.dataset].archive] for other in others]


def _steps(training: Training, *, cases: int | None) -> int | None:
    """Optimiser steps; none if they depend on an unknown number of cases."""
    if training.steps:
        return training.steps
    return None if cases is None else math.ceil(training.epochs * cases / training.batch)


def _corpus(source: Source, *, plan: Config, folder: Path) -> int | None:
    """Images in a pre-training's corpus; none before they are prepared and reduced."""
    kept = folder / Paths(plan.results).rows(source.corpus, source.reduction)
    if kept.is_file():
        return len(_column(kept, "row"))
    cases = counts(plan.archives[source.corpus], plan=plan, folder=folder)
    return cases.train if cases and source.reduction == "everything" else None
