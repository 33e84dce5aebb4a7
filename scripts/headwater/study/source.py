"""A source of first weights: published weights, a pre-training done here, or a random start."""

from typing import Literal

from pydantic import Field, model_validator

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study.compute import Processes
from headwater.study.ct_windows import Window
from headwater.study.recipe import Training, Views


class Weights(Record):
    """Published or local weights: a file in the key layout of a plug-in in weights/."""

    layout: Choice
    """Whose spelling of the keys (a file in weights/)."""
    path: str = ""
    """The checkpoint file; empty asks timm's own hub for it."""
    coverage: float = Field(1.0, ge=0, le=1)
    """Smallest share of the network's parameters that must be loaded."""
    trained_on: tuple[str, ...] = Field((), exclude=True)
    """Which archives or collections the weights have seen, such as [lits]: overlaps that no file can show."""


class Collapse(Record):
    """When a pre-training is stopped because its network has stopped telling images apart."""

    spread: float = Field(0.01, ge=0)
    """Least spread of the features, in units of that of random directions; untrained networks have 0.1 or more, and
    0.01 is a mean cosine of 0.9999 between images."""
    rank: float = Field(1.0, ge=1)
    """Least effective rank of the features (RankMe) of 256 training images; 1, the default, stops nothing."""


PROBED = ("train", "validation")
"""The splits that a probe looks at."""


class Probe(Record):
    """An archive that none is compared on, by which the step of a pre-training is chosen whose encoder is kept."""

    archive: str
    """Its name: the training split is learned from and the validation split scored; the test split is not read."""
    labels: tuple[str, ...] = ()
    """Which of its labels; empty means all that it has."""
    kind: Literal["knn", "linear_probe"] = "knn"
    """What is asked on the fixed features: the nearest neighbours, or a logistic regression."""
    neighbours: int = Field(20, ge=1)
    """How many neighbours vote in a knn."""
    temperature: float = Field(0.07, gt=0)
    """How much more near neighbours count: e to the power of cosine / temperature (Wu et al. 2018)."""
    images: int = Field(4000, ge=10)
    """At most so many images of either split, evenly spread."""
    seen: Window | None = None
    """What is seen of images in Hounsfield units; filled in from the archive's `window`."""


class Source(Record):
    """Where first weights come from: published weights, a pre-training done here, or a random start."""

    name: str
    backbone: str
    """Library and model, such as `timm/resnet50`."""
    weights: Weights | None = None
    """Adopt these weights instead of pre-training here."""
    method: Choice | None = None
    """Pre-train here by this method (a file in methods/), with its own options."""
    corpus: str | None = None
    """The archive whose training split is learned from."""
    reduction: str = "everything"
    """Which of the corpus' images: a name under `reductions`."""
    start: str | None = None
    """Another source whose weights this pre-training continues from."""
    training: Training | None = None
    """How long and how fast the pre-training runs; see the table of `training`."""
    views: Views = Views()
    """Random changes of the images in pre-training; see the table of `views`."""
    collapse: Collapse = Collapse()
    """What stops the pre-training, looked at as often as `training.validations` says; see the table of `collapse`."""
    probe: Probe | None = None
    """What chooses the step whose encoder is kept; none keeps the last. See the table of `probe`."""
    compute: Processes = Field(Processes(), exclude=True)
    """Processes of this pre-training, where they are others than those of the top-level `compute`."""
    seed: int = Field(0, ge=0)
    """Seed of the pre-training; the seeds of the fine-tuning are the top-level `seeds`."""
    mean: tuple[float, ...] = Field((0.485, 0.456, 0.406), min_length=1, max_length=3)
    """Input normalisation, per channel, in units of the full grey range; adopted weights bring their own."""
    std: tuple[float, ...] = Field((0.229, 0.224, 0.225), min_length=1, max_length=3)
    """What goes with `mean`: the spread per channel."""
    control: Literal["again", "shuffled"] | None = None
    """Which control this is, if it is one; filled in from `controls`."""
    of: str | None = None
    """The source that a control is made of."""
    seen: Window | None = None
    """What the pre-training sees of a corpus in Hounsfield units; filled in from the archive's `window`."""

    @property
    def original(self) -> "Source":
        """The source whose weights these are: itself, or what a control is made of."""
        if self.of is None:
            return self
        return self.model_copy(update={"name": self.of, "control": None, "of": None})

    def as_control(self, control: Literal["again", "shuffled"]) -> "Source":
        """A control made of this source, under a name of its own."""
        return self.model_copy(update={"name": f"{self.name}_{control}", "control": control, "of": self.name})

    @property
    def dimensions(self) -> int:
        """Of the images that its backbone takes: 2, slices, or 3, volumes."""
        return registry.constant("backbones", self.backbone.partition("/")[0], "DIMENSIONS", default=2)

    @property
    def misfit(self) -> str:
        """What is wrong where its weights are for volumes and its backbone takes slices, or the other way round."""
        if not self.weights:
            return ""
        theirs = registry.constant("weights", self.weights.layout.name, "DIMENSIONS", default=(2,))
        if self.dimensions in theirs:
            return ""
        kinds = {2: "slices", 3: "volumes"}
        held, taken = " or ".join(kinds[dimensions] for dimensions in theirs), kinds[self.dimensions]
        return f"{self.weights.layout.name} holds networks for {held}, and {self.backbone} takes {taken}"

    @property
    def archives(self) -> tuple[str, ...]:
        """The archives that its pre-training reads: its corpus, and that of its probe."""
        return tuple(name for name in (self.corpus, self.probe and self.probe.archive) if name)

    @property
    def kind(self) -> Literal["random", "adopted", "pretrained"]:
        """Which of the three ways this source gets its weights."""
        return "adopted" if self.weights else "pretrained" if self.method else "random"

    @model_validator(mode="after")
    def _one_way(self) -> "Source":
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0 (got {list(self.std)})")
        if self.weights and self.method:
            raise ValueError("weights and method exclude each other; to continue from published weights use start")
        if bool(self.method) != bool(self.corpus) or bool(self.method) != bool(self.training):
            raise ValueError("method, corpus and training belong together")
        if self.reduction != "everything" and not self.corpus:
            raise ValueError("reduction needs a corpus: it says which of its images are kept")
        if self.probe and not self.method:
            raise ValueError("probe needs a method: it chooses a step of the pre-training")
        if self.training and self.training.patience and not self.probe:
            raise ValueError("patience needs a probe: nothing else tells a better step of a pre-training from a worse")
        if self.start and not self.method:
            raise ValueError("start needs a method: it says what the pre-training continues from")
        return self


class Controls(Record):
    """Sources that are run once more to see whether the comparison itself can be believed."""

    again: tuple[str, ...] = ()
    """A/A: each source named here once more, as NAME_again: the same weights, other chance in the fine-tuning."""
    shuffled: tuple[str, ...] = ()
    """Each source named here fitted to shuffled labels, as NAME_shuffled: it must come out at chance."""
