"""An archive of images as its publisher lays it out, and a dataset made of it."""

import os
from typing import Literal

from pydantic import Field

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study import target
from headwater.study.ct_windows import Window
from headwater.study.target import Target


class Twin(Record):
    """A synthetic archive in the byte layout of a real one."""

    cases: int = Field(ge=8)
    """How many images to make."""
    seed: int = Field(0, ge=0)
    """Which synthetic patients to draw."""
    first_patient: int = Field(1, ge=1)
    """Number of the first patient, so that two twins of one archive can have disjoint patients."""
    size: int = Field(96, ge=32)
    """Width and height of the images in pixels."""


class Archive(Record):
    """A folder of images as its publisher lays it out, and how its pixels and splits are prepared."""

    name: str
    kind: Choice
    """Which archive this is (a file in datasets/), with that archive's own options."""
    folder: str = ""
    """Its folder on disk; empty for archives that come with the software."""
    images_of: str | None = None
    """Another archive whose prepared images and splits are used; only the labels are read again, with own options."""
    projections: tuple[str, ...] = ()
    """Projections to include, in the archive's own spelling, such as [PA, AP]; empty means all."""
    size: int = Field(224, ge=8)
    """Width and height of the prepared images in pixels, as in the published study; small findings need more."""
    resize: Literal["pad", "squash"] = "pad"
    """Keep the aspect ratio and pad, or stretch to a square as the published study does."""
    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the patients that are neither test nor official validation, kept for model selection."""
    test: float = Field(0.2, gt=0, lt=0.9)
    """Share of patients for the test split, where the archive has no official one."""
    split_seed: int = Field(0, ge=0)
    """Seed of the split where the archive has no official one. Splits are stratified by label, so another label policy
    draws other splits: compare policies by `images_of`."""
    patients_apart: bool = True
    """Refuse official splits that share a patient; `false` leaves them to the ledger, where each needs an excuse."""
    rejects: float = Field(0.01, ge=0, le=1)
    """Largest share of cases that may be unreadable before `prepare` stops."""
    window: Window | None = Field(None, exclude=True)
    """Window in which trainings see a CT archive: `lung`, `chest` (soft tissue), `abdomen`, `angiography`, `bone`,
    `brain`, `{centre: 40, width: 400}` in Hounsfield units, or `slice`, each slice from its lowest to its highest
    value; by default the archive's own. Another window repeats trainings, but prepares nothing again."""
    made_from: tuple[str, ...] = Field((), exclude=True)
    """Origins of its images besides those on its card, such as [lits]: overlaps that no file can show."""
    twin: Twin | None = None
    """Make a synthetic archive at `folder` first."""

    @property
    def numbering(self) -> str:
        """Who assigned its patient numbers: its publisher, or whom its options name; for a twin its seed as well.

        Hospitals number their patients from 1, so an own folder whose options name nobody has numbers of its own; two
        archives of one folder share them, whichever tables they read.
        """
        kind = self.kind.name
        option = registry.option("datasets", kind, means="numbering") if kind in registry.names("datasets") else None
        named = str(self.kind.options.get(option) or "")
        if self.twin:
            return f"{named or kind}, twin {self.twin.seed}"
        own = f"{kind} in {os.path.normpath(self.folder)}" if option and self.folder else kind
        return named or own


class Dataset(Record):
    """What is fine-tuned on and tested: an archive, and which of its labels."""

    name: str
    archive: str
    """The archive's name under `archives`."""
    labels: tuple[str, ...] = ()
    """Which labels, in the order of the tables; empty means all that the archive has."""
    task: str = "classification"
    """What networks are asked about each image: the name of a file in `models/tasks`."""
    targets: dict[str, Target] = {}
    """In place of `labels` and `task`: several things that each network is asked side by side, by names of your choice,
    each with its own labels and head. The loss is the mean over them; each has a macro, exploratory."""
    seen: Window | None = None
    """Window of images in Hounsfield units; filled in from the archive's `window`."""

    @property
    def asked(self) -> dict[str, Target]:
        """What networks are asked, by the name of the target, in alphabetical order; a single one may have none."""
        return target.asked(self.targets, task=self.task, labels=self.labels)

    @property
    def listed(self) -> tuple[str, ...]:
        """The labels that the config names, target by target; none means all that the archive has."""
        return tuple(label for asked in self.asked.values() for label in asked.labels)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its targets, in their order."""
        return tuple(dict.fromkeys(asked.task for asked in self.asked.values()))

    @property
    def holders(self) -> dict[str, str]:
        """The target that each label belongs to, where there are several; else nothing."""
        several = self.targets if len(self.targets) > 1 else {}
        return {label: name for name, asked in several.items() for label in asked.labels}

    def task_of(self, label: str) -> str:
        """The task by which a label is told."""
        return target.task_of(label, self.targets, task=self.task)


def usual_window(archive: Archive) -> str:
    """The default window of an archive; "" for one without Hounsfield units."""
    if archive.kind.name not in registry.names("datasets"):
        return ""
    return registry.constant("datasets", archive.kind.name, "CARD.window", default="")


def window_of(archive: Archive) -> Window | None:
    """The window of an archive, set or default; none for one without Hounsfield units."""
    usual = usual_window(archive)
    return (archive.window or Window.model_validate(usual)) if usual else None


def ndim_of(archive: Archive) -> int:
    """Dimensions of an archive's images: 2 for pictures and slices, 3 for volumes."""
    known = archive.kind.name in registry.names("datasets")
    return registry.constant("datasets", archive.kind.name, "CARD.ndim", default=2) if known else 2
