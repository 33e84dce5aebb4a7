"""An archive of images as its publisher lays it out, and a dataset made of it."""

import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice, Record
from headwater.study import target
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold, Folds, apart, in_fold
from headwater.study.intensity import Intensity
from headwater.study.target import Target

LARGEST_SIDE = 8192
"""Pixels along one axis: a detector of 43 cm has 4,300 of 0.1 mm."""

Side = Annotated[int, Field(ge=8, le=LARGEST_SIDE)]
"""Pixels or voxels along one axis."""

Millimetres = Annotated[float, Field(gt=0)]

SOFT_TISSUE = "chest"
"""The default window of an archive that is told to hold Hounsfield units."""


class Twin(Record):
    """A synthetic archive in the byte layout of a real one."""

    cases: int = Field(ge=8)
    """How many images to make."""
    seed: int = Field(0, ge=0)
    """Which synthetic patients to draw."""
    first_patient: int = Field(1, ge=1)
    """Number of the first patient, so that two twins of one archive can have disjoint patients."""
    size: int = Field(96, ge=32, le=LARGEST_SIDE)
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
    size: Side | tuple[Side, Side, Side] = 224
    """Width and height of the prepared images in pixels, as in the published study; small findings need more. Of
    volumes the sides of the patch in voxels that networks see: [160, 160, 64] from right to left, back to front and
    feet to head, or one number for a cube."""
    view: Side | None = Field(None, exclude=True)
    """Width and height in pixels in which networks see pictures, where `size` is larger: random crops are cut from the
    larger pictures, and whole ones are reduced for scoring. By default `size`. Sources and datasets may set their own;
    another one repeats trainings, but prepares nothing again."""
    resize: Literal["pad", "squash"] = "pad"
    """Keep the aspect ratio and pad, or stretch to a square as the published study does."""
    stored: bool = True
    """Whether prepared pictures are stored. `false` stores none of their pixels, for archives that may not be copied:
    each picture is decoded from its file whenever it is used, which gives the same values and takes longer."""
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
    spacing: Literal["native", "median"] | tuple[Millimetres, Millimetres, Millimetres] = "native"
    """Millimetres between the voxels of prepared volumes: those of each file, the median of the training split, or
    three numbers, from right to left, back to front and feet to head."""
    window: Window | None = Field(None, exclude=True)
    """Window in which trainings see a CT archive: `lung`, `chest` (soft tissue), `abdomen`, `angiography`, `bone`,
    `brain`, `{centre: 40, width: 400}` in Hounsfield units, or `slice`, each slice from its lowest to its highest
    value; by default the archive's own. Another window repeats trainings, but prepares nothing again."""
    intensity: Intensity | None = Field(None, exclude=True)
    """How trainings see volumes without Hounsfield units: `zscore`, the default, or `{percentiles: [0.5, 99.5]}`.
    Another choice repeats trainings, but prepares nothing again."""
    made_from: tuple[str, ...] = Field((), exclude=True)
    """Origins of its images besides those on its card, such as [lits]: overlaps that no file can show."""
    twin: Twin | None = None
    """Make a synthetic archive at `folder` first."""

    @property
    def patch(self) -> tuple[int, int, int]:
        """The sides of the patch of volumes in voxels."""
        return (self.size,) * 3 if isinstance(self.size, int) else self.size

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
    sources: tuple[str, ...] = ()
    """Which sources are fitted to it and compared on it, with their controls; empty means all."""
    recipes: tuple[str, ...] = ()
    """By which recipes they are fitted; empty means all."""
    labels: tuple[str, ...] = ()
    """Which labels, in the order of the tables; empty means all that the archive has."""
    task: str = "classification"
    """What networks are asked about each image: the name of a file in `models/tasks`."""
    targets: dict[str, Target] = {}
    """In place of `labels` and `task`: several things that each network is asked side by side, by names of your choice,
    each with its own labels and head. The loss is the mean over them; each has a macro, exploratory."""
    splits: Folds | None = None
    """In place of the archive's own splits, for archives without an official test split: `{folds: 5}` deals all its
    patients into five parts, each of which is tested by networks that learned from the others."""
    view: Side | None = None
    """Width and height in pixels in which networks see its pictures in fine-tuning and scoring, where the archive's
    `size` is larger; by default the `view` of the archive."""
    tolerance: float = Field(1.0, gt=0)
    """Millimetres, or pixels of pictures that do not tell millimetres, within which two borders of a structure agree,
    for surface Dice."""
    write_outlines: bool = Field(False, exclude=True)
    """Whether the structures that networks outline in the test split are written as NIfTI files, on the grids of the
    sources, beside the predictions; `private/overlays` then shows the cases in which sources differ most."""
    title: str = Field("", exclude=True)
    """What it is called in tables, sentences and figures; by default its name, which stays the key
    in every `.csv`."""
    short: str = Field("", exclude=True)
    """What it is called on axes, in legends and in headings of columns; by default `title`."""
    seen: Window | Intensity | None = None
    """How Hounsfield units or volumes are shown; filled in from the archive's `window` or `intensity`."""

    @property
    def parts(self) -> tuple["Dataset", ...]:
        """What networks are fitted to: the dataset as it is, or each of its folds."""
        if self.splits is None:
            return (self,)
        return tuple(self.in_fold(number) for number in range(self.splits.folds))

    def in_fold(self, number: int) -> "Dataset":
        """The dataset whose test split is a fold, by which it is named."""
        return self.model_copy(update={"name": in_fold(self.name, number)})

    @property
    def fold(self) -> Fold | None:
        """The fold that it is named by; none of a whole dataset."""
        number = apart(self.name)[1]
        return None if number is None else Fold(folds=self.splits, number=number)

    def follows(self, recipe: str) -> bool:
        """Whether networks are fitted to it by the recipe of that name."""
        return not self.recipes or recipe in self.recipes

    def takes(self, source: str) -> bool:
        """Whether a source of that name, which is no control, is fitted to it."""
        return not self.sources or source in self.sources

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

    def fitting(self, metrics: Iterable[str]) -> tuple[str, ...]:
        """Those of the metrics that can be computed for some of its labels."""
        return tuple(metric for metric in metrics if any(target.fits(metric, task) for task in self.tasks))

    def task_of(self, label: str) -> str:
        """The task by which a label is told."""
        return target.task_of(label, self.targets, task=self.task)


def usual_window(archive: Archive) -> str:
    """The default window of an archive; "" for one without Hounsfield units."""
    kind = archive.kind
    if kind.name not in registry.names("datasets"):
        return ""
    option = registry.option("datasets", kind.name, means="hounsfield")
    told = SOFT_TISSUE if option and kind.options.get(option) is True else ""
    return registry.constant("datasets", kind.name, "CARD.window", default="") or told


def window_of(archive: Archive) -> Window | None:
    """The window of an archive, set or default; none for one without Hounsfield units."""
    usual = usual_window(archive)
    return (archive.window or Window.model_validate(usual)) if usual else None


def sized(size: int | Sequence[int]) -> int | tuple[int, ...]:
    """The size of what networks see, of which a command gets one number for pictures, and for volumes three."""
    if isinstance(size, int):
        return size
    if len(size) not in (1, 3):
        raise UserError(f"a size has one or three numbers (got {len(size)})", remedy="mend --size")
    return size[0] if len(size) == 1 else tuple(size)


def ndim_of(archive: Archive) -> int:
    """Dimensions of an archive's images: 2 for pictures and slices, 3 for volumes."""
    known = archive.kind.name in registry.names("datasets")
    return registry.constant("datasets", archive.kind.name, "CARD.ndim", default=2) if known else 2


def view_of(archive: Archive, *, own: int | None = None) -> int | None:
    """The side of what networks see of pictures that are stored larger, `own` before the archive's; else none."""
    view = own or archive.view
    return None if ndim_of(archive) == 3 or view == archive.size else view


def is_flat(archive: Archive) -> bool:
    """Whether an archive's volumes are pictures, each one axial slice."""
    known = archive.kind.name in registry.names("datasets")
    return known and registry.constant("datasets", archive.kind.name, "CARD.flat", default=False)


def seen_of(archive: Archive) -> Window | Intensity | None:
    """How networks see an archive: by a window, volumes without Hounsfield units by their intensity, else as it is."""
    if (window := window_of(archive)) or ndim_of(archive) == 2:
        return window
    return archive.intensity or Intensity(zscore=True)
