"""A source of first weights: published weights, a pre-training done here, or a random start."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study import initialisation, usual_views
from headwater.study.archive import Side
from headwater.study.compute import Processes
from headwater.study.ct_windows import Window
from headwater.study.intensity import Intensity
from headwater.study.recipe import Training, Views

Plane = Literal["axial", "coronal", "sagittal"]

DEPTH = {"axial": -1, "coronal": -2, "sagittal": -3}
"""The axis of a volume (x, y, z) along which the slices of each plane follow each other."""


class Weights(Record):
    """Published or local weights: a file in the key layout of a plug-in in weights/."""

    layout: Choice
    """Layout of the parameter names (a file in weights/)."""
    path: str = ""
    """The weights file; empty downloads it from timm's hub."""
    coverage: float = Field(1.0, ge=0, le=1)
    """Smallest share of the network's parameters that must be loaded."""
    inflate: Plane | None = None
    """The plane of the slices whose network the file holds, to make of it one of volumes by repeating its kernels along
    the depth (inflation, arXiv 1705.07750); none for networks of the backbone's own kind."""
    fed_otherwise: tuple[Literal["spacing", "intensity", "patch", "channels"], ...] = Field((), exclude=True)
    """In what the archives feed volumes otherwise than in the training of the weights: each difference is refused
    unless it is named here, and is then a footnote of the tables."""
    trained_on: tuple[str, ...] = Field((), exclude=True)
    """Archives or collections that the weights were trained on, such as [lits]: overlaps that no file can show."""


class Collapse(Record):
    """When to stop a pre-training whose features have collapsed: those of all images are nearly alike."""

    spread: float = Field(0.01, ge=0)
    """Smallest spread of the features, in units of that of random directions; untrained networks have 0.1 or more, and
    0.01 is a mean cosine of 0.9999 between images."""
    rank: float = Field(1.0, ge=1)
    """Smallest RankMe, the effective rank of the features, of 256 training images; 1, the default, never stops."""


PROBED = ("train", "validation")
"""The splits that a probe uses."""


CHOSEN = "chosen"
"""The penalty of a probe that is chosen in its training split."""


class Probe(Record):
    """A feature probe, which selects the step of a pre-training to keep, on an archive that is not tested on."""

    archive: str
    """Its archive: the probe is fitted to the training split and scored on the validation split, never on test."""
    labels: tuple[str, ...] = ()
    """Labels of the archive to use; empty means all."""
    kind: Literal["knn", "linear_probe"] = "knn"
    """Classifier on the frozen features: nearest neighbours, or logistic regression."""
    neighbours: int = Field(20, ge=1)
    """Number of neighbours that vote in a knn."""
    temperature: float = Field(0.07, gt=0)
    """Temperature of the votes: each has the weight e to the power of cosine / temperature (Wu et al. 2018)."""
    inverse_penalty: Annotated[float, Field(gt=0)] | Literal["chosen"] = 1.0
    """Inverse strength of the L2 penalty of a linear_probe, scikit-learn's C. `chosen` takes the best of 0.0001, 0.001,
    0.01, 0.1, 1 and 10 on a fifth of the patients of its training split anew at each validation, which takes several
    times as long."""
    images: int = Field(4000, ge=10)
    """Largest number of images of either split; more are thinned evenly."""
    seen: Window | Intensity | None = None
    """How Hounsfield units or volumes are shown; filled in from the archive's `window` or `intensity`."""


class Source(Record):
    """Where first weights come from: published weights, a pre-training done here, or a random start."""

    name: str
    backbone: str
    """Library and model, such as `timm/resnet50`."""
    slices: Plane | None = None
    """The plane of the slices in which a backbone for pictures sees volumes: `axial`, `coronal` or `sagittal`. Of the
    archive's `size` it takes the two sides in that plane."""
    weights: Weights | None = None
    """Adopt these weights instead of pre-training here."""
    method: Choice | None = None
    """Pre-train here by this method (a file in methods/), with its own options."""
    corpus: str | None = None
    """The archive whose training split is used for pre-training."""
    reduction: str = "everything"
    """The reduction of the corpus: a name under `reductions`."""
    start: str | None = None
    """Another source whose weights this pre-training continues from."""
    training: Training | None = None
    """Length and optimiser of the pre-training; see the table of `training`."""
    views: Views = Views()
    """Random changes of the images in pre-training; see the table of `views`."""
    view: Side | None = None
    """Width and height in pixels in which the network sees the pictures of its corpus in pre-training, where their
    `size` is larger; by default the `view` of the corpus."""
    collapse: Collapse = Collapse()
    """When to stop the pre-training, checked `training.validations` times; see the table of `collapse`."""
    probe: Probe | None = None
    """Feature probe that selects the step to keep; none keeps the last. See the table of `probe`."""
    further_probes: tuple[Probe, ...] = ()
    """A list of further feature probes, on other archives or of the other kind: their scores are curves and are kept
    beside the encoder, but choose nothing. Each has the keys of `probe`."""
    compute: Processes = Field(Processes(), exclude=True)
    """Processes of this pre-training, if other than those of the top-level `compute`."""
    initialisation: Literal["full_residual", "zero_residual"] | None = None
    """First weights of ResNets and their kin where none are loaded: `full_residual`, the default for them, draws all
    layers alike; `zero_residual` starts each residual branch at zero, as timm does (arXiv 1706.02677, section 5.1)."""
    seed: int = Field(0, ge=0)
    """Seed of the pre-training; the seeds of the fine-tuning are the top-level `seeds`."""
    mean: tuple[float, ...] = Field((0.485, 0.456, 0.406), min_length=1, max_length=3)
    """Input normalisation, per channel, in units of the full grey range; adopted weights bring their own. Networks for
    volumes or `slices` of them take them as they are shown: 0 and, as std, 1."""
    std: tuple[float, ...] = Field((0.229, 0.224, 0.225), min_length=1, max_length=3)
    """Standard deviation per channel, with `mean`."""
    control: Literal["again", "shuffled"] | None = None
    """The kind of control, if it is one; filled in from `controls`."""
    of: str | None = None
    """The source of which this is a control."""
    title: str = Field("", exclude=True)
    """What it is called in tables, sentences and figures; by default its name, which stays the key
    in every `.csv`."""
    short: str = Field("", exclude=True)
    """What it is called on axes, in legends and in headings of columns; by default `title`."""
    seen: Window | Intensity | None = None
    """How a corpus of Hounsfield units or volumes is shown; filled in from the archive's `window` or `intensity`."""

    @property
    def original(self) -> "Source":
        """The source whose weights these are: itself, or for a control the source that it repeats."""
        if self.of is None:
            return self
        return self.model_copy(update={"name": self.of, "control": None, "of": None})

    def as_control(self, control: Literal["again", "shuffled"]) -> "Source":
        """A control of this source, under a name of its own."""
        return self.model_copy(update={"name": f"{self.name}_{control}", "control": control, "of": self.name})

    def shown(self, patch: tuple[int, int, int]) -> tuple[int, int, int]:
        """The sides of what its networks see of a patch of volumes: all of it, or one slice."""
        across = None if self.slices is None else DEPTH[self.slices]
        return tuple(1 if axis == across else side for axis, side in enumerate(patch, start=-3))

    @property
    def dimensions(self) -> int:
        """Dimensions of the images that its backbone takes: 2 for slices, 3 for volumes."""
        return registry.constant("backbones", self.backbone.partition("/")[0], "DIMENSIONS", default=2)

    @property
    def shallow(self) -> bool:
        """Whether the decoder on its backbone has no output between the finest and the lowest one."""
        library, _, model = self.backbone.partition("/")
        pattern = registry.constant("backbones", library, "SHALLOW", default="")
        return bool(pattern) and re.search(pattern, model) is not None

    @property
    def misfit(self) -> str:
        """An error text if its weights are for volumes and its backbone takes slices, or the reverse; else empty."""
        if not self.weights:
            return ""
        theirs = registry.constant("weights", self.weights.layout.name, "DIMENSIONS", default=(2,))
        if self.weights.inflate and (self.dimensions != 3 or 2 not in theirs):
            return f"inflate makes networks for volumes of those for slices; {self.backbone} and its layout are neither"
        if self.dimensions in theirs or self.weights.inflate:
            return ""
        kinds = {2: "slices", 3: "volumes"}
        of_weights, of_backbone = " or ".join(kinds[dimensions] for dimensions in theirs), kinds[self.dimensions]
        return f"{self.weights.layout.name} holds networks for {of_weights}, but {self.backbone} takes {of_backbone}"

    @property
    def whole(self) -> bool:
        """Whether every weight is loaded, and none drawn: files of some layouts hold no decoder."""
        if not self.weights or self.weights.coverage != 1:
            return False
        layout, (library, _, model) = self.weights.layout.name, self.backbone.partition("/")
        known = layout in registry.names("weights") and library in registry.names("backbones")
        if not known or not registry.constant("weights", layout, "ENCODER_ONLY", default=False):
            return True
        decoders = registry.constant("backbones", library, "DECODER", default={})
        return not any(model.startswith(name) for name in decoders)

    @property
    def archives(self) -> tuple[str, ...]:
        """The archives that its pre-training reads: its corpus, and those of its probes."""
        return tuple(filter(None, (self.corpus, *(probe.archive for probe in self.probes.values()))))

    @property
    def probes(self) -> dict[str, Probe]:
        """Its feature probes by the place of their keys: the one that chooses, if there is one, then the others."""
        further = {f"further_probes.{number}": probe for number, probe in enumerate(self.further_probes)}
        return ({"probe": self.probe} if self.probe else {}) | further

    @property
    def kind(self) -> Literal["random", "adopted", "pretrained"]:
        """How this source gets its weights."""
        return "adopted" if self.weights else "pretrained" if self.method else "random"

    @property
    def drawn(self) -> str:
        """How the weights that are not loaded are drawn, for people."""
        return initialisation.named(self.backbone, residual=self.initialisation)

    @model_validator(mode="before")
    @classmethod
    def _usual_views(cls, value: Any) -> Any:
        return usual_views.filled_in(value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_way(self) -> "Source":
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0 (got {list(self.std)})")
        if self.initialisation and (self.start or self.whole):
            raise ValueError("the weights of this source are loaded, not drawn; remove initialisation")
        if self.initialisation and not initialisation.zeroable(self.backbone):
            raise ValueError(f"{self.backbone} has no residual branches to start at zero; remove initialisation")
        if self.weights and self.method:
            raise ValueError("weights and method exclude each other; to continue from published weights use start")
        if bool(self.method) != bool(self.corpus) or bool(self.method) != bool(self.training):
            raise ValueError("method, corpus and training belong together; set all three or none")
        if self.reduction != "everything" and not self.corpus:
            raise ValueError("reduction needs a corpus; set corpus or remove reduction")
        if self.start and not self.method:
            raise ValueError("start needs a method to continue pre-training with; set method or remove start")
        return self

    @model_validator(mode="after")
    def _probes_fit(self) -> "Source":
        for key in ("probe", "further_probes") if not self.method else ():
            if getattr(self, key):
                raise ValueError(f"{key} needs a method, whose pre-training it monitors; set method or remove {key}")
        asked = [f"{probe.kind} on {probe.archive}" for probe in self.probes.values()]
        if twice := {name for name in asked if asked.count(name) > 1}:
            raise ValueError(f"{min(twice)} is probed twice; remove one of the probes")
        if self.training and self.training.patience and not self.probe:
            raise ValueError("patience needs a probe, which scores the steps of a pre-training; set probe")
        return self


class Controls(Record):
    """Sources that are run once more to validate the comparison itself."""

    again: tuple[str, ...] = ()
    """A/A: each source listed here once more, as NAME_again: the same weights, other random numbers in fine-tuning."""
    shuffled: tuple[str, ...] = ()
    """Each source listed here fitted to shuffled labels, as NAME_shuffled: it must perform at chance."""
