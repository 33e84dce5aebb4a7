"""What shall be run: sources, recipes, runs and comparisons as records, and the grid that lays them out."""

import hashlib
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study.ct_windows import Window


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
    """Where it lies; empty for archives that come with the software."""
    images_of: str | None = None
    """Another archive whose prepared images and splits these are; only the labels are read anew, by own options."""
    projections: tuple[str, ...] = ()
    """Which projections take part, in the archive's own spelling, such as [PA, AP]; empty means all."""
    size: int = Field(224, ge=8)
    """Width and height of the prepared images in pixels, as the published study has it; small findings need more."""
    resize: Literal["pad", "squash"] = "pad"
    """Keep the aspect ratio and pad, or stretch to the square as the published study does."""
    validation: float = Field(0.1, gt=0, lt=0.5)
    """Share of the patients that are neither test nor official validation, kept for model selection."""
    test: float = Field(0.2, gt=0, lt=0.9)
    """Share of patients for the test split, where the archive has no official one."""
    split_seed: int = Field(0, ge=0)
    """Which patients go where, where the archive has no official split. Labels are spread evenly, so another label
    policy draws others: hold policies against each other by `images_of`."""
    patients_apart: bool = True
    """Refuse official splits that share a patient; `false` leaves them to the ledger, where each needs an excuse."""
    rejects: float = Field(0.01, ge=0, le=1)
    """Largest share of cases that may be unreadable before `prepare` stops."""
    window: Window | None = Field(None, exclude=True)
    """What trainings see of an archive of CT: `lung`, `chest` (soft tissue), `abdomen`, `angiography`, `bone`, `brain`,
    `{centre: 40, width: 400}` in Hounsfield units, or `slice`, each slice from its lowest to its highest value; by
    default what the archive is for. Another window repeats trainings, and prepares nothing anew."""
    made_from: tuple[str, ...] = Field((), exclude=True)
    """What its images stem from besides what its card says, such as [lits]: overlaps that no file can show."""
    twin: Twin | None = None
    """Make a synthetic archive at `folder` first."""

    @property
    def numbering(self) -> str:
        """Who numbers its patients: its publisher or whom its options name, or the seed of its twin."""
        owner = str(self.kind.options.get("numbering", self.kind.name))
        return f"{owner}, twin {self.twin.seed}" if self.twin else owner


class Views(Record):
    """Random changes of the training images: each image gets its own, drawn from (seed, epoch, case)."""

    crop: float = Field(1.0, gt=0, le=1)
    """Smallest share of the image area that a random crop may show; 1 switches cropping off."""
    flip: float = Field(0.0, ge=0, le=1)
    """Probability of a left-right flip."""
    rotation: float = Field(0.0, ge=0, le=180)
    """Largest rotation in degrees, either way."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of brightness."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Largest relative change of contrast."""
    grey: float = Field(0.0, ge=0, le=1)
    """Probability of dropping the colours."""
    blur: float = Field(0.0, ge=0, le=1)
    """Probability of a Gaussian blur (sigma 0.1 to 2 pixels)."""
    noise: float = Field(0.0, ge=0, le=1)
    """Largest standard deviation of added Gaussian noise, in units of the full grey range."""


class Training(Record):
    """How a network is optimised; lengths are in optimiser steps or in epochs, the batch is counted over all ranks."""

    steps: int | None = Field(None, ge=1)
    """Length in optimiser steps; the same for every source, whatever the size of its corpus."""
    epochs: float | None = Field(None, gt=0)
    """Length in passes through the training images, as papers state it; either this or steps."""
    batch: int = Field(64, ge=1)
    """Images per optimiser step over ALL ranks; the number of ranks never changes it."""
    optimiser: Literal["adamw", "adam", "sgd", "lars", "lamb"] = "adamw"
    """As the published study has it; lars and lamb are for batches of thousands."""
    lr: float = Field(1e-3, gt=0)
    """Highest learning rate, at this batch: scale a paper's rate for another batch by hand. The first key to tune."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of sgd and lars; the others do not read it."""
    weight_decay: float = Field(0.05, ge=0)
    """Pull of the weights towards zero per step, as the published study has it; a config that says nothing gets 0.05
    with adamw and lamb, 1e-6 with lars, and 0 with adam and sgd."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate goes on after the warm-up."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which the learning rate rises from zero; raise it if the loss jumps at the start."""
    final_lr: float = Field(0.0, ge=0)
    """Learning rate at the end of the cosine."""
    layer_decay: float | None = Field(None, gt=0, le=1)
    """Factor on the learning rate per layer below the head (vision transformers: 0.65 to 0.9)."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the moving average of the weights that is validated and kept; none by default."""
    clip: float | None = Field(None, gt=0)
    """Largest gradient norm; none by default, 3 for DINO."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`auto`: bf16 where the device has it, else fp32."""
    validations: int = Field(10, ge=1)
    """How often in a training the validation split is scored, or in a pre-training its features are looked at."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a better score; none by default."""
    save_minutes: float = Field(10.0, ge=0)
    """Minutes between two saves of the progress from which a killed job goes on."""

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("say how long: either steps or epochs, and not both")
        if self.steps is not None and self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps ({self.warmup_steps}) must be smaller than steps ({self.steps})")
        return self

    @model_validator(mode="after")
    def _something_to_adapt(self) -> "Training":
        if self.optimiser in ("lars", "lamb") and not self.weight_decay:
            raise ValueError(
                f"{self.optimiser} adapts the rate of what decays alone; set weight_decay: 1.0e-6, or use sgd or adamw"
            )
        return self


class Processes(Record):
    """How many processes a training runs as, and on how many nodes; no record tells it, so it repeats no job."""

    ranks: int | None = Field(None, ge=1)
    """Processes over all nodes, one per GPU; the global batch stays the same."""
    nodes: int | None = Field(None, ge=1)
    """Nodes that share the processes evenly; more than one needs SLURM."""
    threads: int | None = Field(None, ge=1)
    """CPU threads per process."""


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
        held, taken = " or ".join(kinds[one] for one in theirs), kinds[self.dimensions]
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


class Dataset(Record):
    """What is fine-tuned on and tested: an archive, and which of its labels."""

    name: str
    archive: str
    """The archive's name under `archives`."""
    labels: tuple[str, ...] = ()
    """Which labels, in the order of the tables; empty means all that the archive has."""
    seen: Window | None = None
    """What networks see of images in Hounsfield units; filled in from the archive's `window`."""


class Recipe(Record):
    """How a network is fitted to a dataset; the same for every source."""

    name: str
    kind: Literal["finetune", "linear_probe"] = "finetune"
    """Train the whole network, or only a linear head on fixed features."""
    training: Training
    """How long and how fast; see the table of `training`."""
    views: Views = Views()
    """Random changes of the training images; see the table of `views`. Flip only where left and right may change."""
    compute: Processes = Field(Processes(), exclude=True)
    """Processes of this fine-tuning, where they are others than those of the top-level `compute`."""
    class_weights: bool = False
    """Weigh positive cases by negatives / positives of the training split, label by label."""
    fraction: float = Field(1.0, gt=0, le=1)
    """Share of the training patients that are used; below 1 for the question of few labels. Smaller shares of a seed
    lie within larger ones, and keep every label as long as there are patients for it."""
    select: Literal["auroc", "loss"] = "auroc"
    """What picks the kept step on the validation split: highest macro AUROC or lowest loss."""
    frozen_steps: int | None = Field(None, ge=1)
    """First optimiser steps in which only the head and the BatchNorm layers learn; then all does, at the same rate."""
    frozen_epochs: float | None = Field(None, gt=0)
    """The same in passes through the training images, as papers state it; either this or frozen_steps."""
    unfrozen_lr: float | None = Field(None, gt=0)
    """Highest learning rate of the whole network after that, where it is another one than before; none keeps it."""

    @model_validator(mode="after")
    def _frozen_at_first(self) -> "Recipe":
        held = [length for length in (self.frozen_steps, self.frozen_epochs) if length is not None]
        if len(held) > 1:
            raise ValueError("say how long the encoder is frozen: either frozen_steps or frozen_epochs, and not both")
        if held and self.kind != "finetune":
            raise ValueError("a linear_probe is frozen throughout; leave frozen_steps and frozen_epochs out")
        if self.unfrozen_lr and not held:
            raise ValueError("unfrozen_lr needs frozen_steps or frozen_epochs: it says what comes after")
        for frozen, whole in (("frozen_steps", "steps"), ("frozen_epochs", "epochs")):
            told, length = getattr(self, frozen), getattr(self.training, whole)
            if told and length and told >= length:
                raise ValueError(f"{frozen} ({told:g}) must be smaller than {whole} ({length:g})")
        return self


class Run(Record):
    """One cell of the grid: a source fitted to a dataset by a recipe, once."""

    dataset: Dataset
    source: Source
    recipe: Recipe
    seed: int = Field(ge=0)

    @property
    def path(self) -> str:
        """Where its products lie below the runs folder."""
        return f"{self.dataset.name}/{self.source.name}/{self.recipe.name}/seed{self.seed}"

    @property
    def stream(self) -> int:
        """Which random numbers the fitting draws: the seed's, the same for every source; an A/A control has its own."""
        if self.source.control != "again":
            return self.seed
        return int(hashlib.sha256(f"again/{self.seed}".encode()).hexdigest()[:15], 16)


Overlapping = Literal["patients", "studies", "identical", "near-identical", "declared"]
"""What two parts of a grid can share: patients, examinations, images, images that look the same, or their origin."""


class Excuse(Record):
    """An overlap with a test split that a study knows of and accepts; every table says so."""

    kind: Overlapping
    """What is shared."""
    between: tuple[str, str]
    """The two parts, each an archive and a split, such as `chestxray14 train` and `vindr test`; of what is declared
    one may be a source with adopted weights."""
    reason: str = Field(min_length=10)
    """Why it may be; it is printed below the tables."""


class Leaks(Record):
    """What counts as a leak into a test split, and which leaks are known and accepted."""

    distance: int = Field(16, ge=0, le=24)
    """Near-identical images differ in at most so many of the 256 bits of their perceptual hashes."""
    excused: tuple[Excuse, ...] = ()
    """Overlaps with a test split that may be; see the table of `leaks.excused`."""


class Learned(Record):
    """An archive in the ledger: which of its splits the grid uses, and who numbers its patients."""

    archive: str
    splits: tuple[str, ...]
    numbering: str
    """Patients of one number are one person in archives of one numbering only."""


class Declared(Record):
    """A test split, and what was learned from the same scans under other numbers."""

    learned: str
    """A part of the grid, or a source whose weights were adopted."""
    test: str
    origins: tuple[str, ...]
    """What both stem from."""


class Overlaps(Record):
    """What the ledger shall look at."""

    leaks: Leaks
    archives: tuple[Learned, ...]
    declared: tuple[Declared, ...] = ()
    """What it shall name without being able to find it."""

    @property
    def parts(self) -> list[str]:
        """The parts of the grid, such as `chestxray14 train`."""
        return [f"{learned.archive} {split}" for learned in self.archives for split in learned.splits]


class Comparing(Record):
    """How sources are compared: what is declared before any result is seen."""

    reference: str | None = None
    """The source that all others are compared with; none compares all pairs."""
    metrics: tuple[str, ...] = Field(("auroc",), min_length=1)
    """What is measured (files in metrics/); each adds to the family of tests."""
    method: Literal["obuchowski_rockette", "delong", "percentile", "published"] = "obuchowski_rockette"
    """Where p comes from: seeds as readers; one seed by DeLong; the replicates alone; ours beside the published way."""
    pairing: Literal["paired", "nested"] = "paired"
    """`paired`: seed k fixes data order and first head weights for every source, as it does here; else `nested`."""
    correction: Literal["holm", "max_t"] = "holm"
    """What keeps the family of macro tests below the level; max_t uses how the tests hang together."""
    margin: float | None = Field(None, gt=0)
    """Largest difference that does not matter, such as 0.01: tests non-inferiority and equivalence against it."""
    resamples: int = Field(10_000, ge=100)
    """How often the patients are drawn anew; enough that the correction can reject, which is checked."""
    seed: int = Field(0, ge=0)
    """Seed of the resampling."""
    level: float = Field(0.05, gt=0, lt=0.5)
    """Significance level of the corrected tests; intervals cover 1 - level."""
    fewest_positive: int = Field(10, ge=2)
    """Labels with fewer positive (or negative) test patients are described, not tested, and not in the macro."""
    few_positive: int = Field(20, ge=2)
    """Labels with fewer positive (or negative) test patients than this are tested with caution, and flagged."""
    external: bool = False
    """Each fitted network also predicts on the other datasets' test cases, for the findings that both have."""
    specificity: float = Field(0.9, gt=0, lt=1)
    """Share of the validation cases without a finding that its threshold passes over; what it finds is told on test."""
    subsets: dict[str, dict[str, tuple[str, ...]]] = {}
    """Further macros: by a name of your choice, for each dataset the labels that it is the mean over. Exploratory."""


class Comparison(Comparing):
    """Which runs on one dataset are compared."""

    dataset: str
    sources: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    again: dict[str, str] = {}
    """A/A controls: the same source under a second name, and the first."""
    shuffled: tuple[str, ...] = ()
    """Sources fitted to shuffled labels, which must come out at chance."""

    def subset(self, name: str) -> tuple[str, ...]:
        """The labels of a subset on this dataset."""
        return self.subsets[name][self.dataset]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(source, reference) for each declared test."""
        compared = [source for source in self.sources if source not in {*self.again, *self.shuffled}]
        if self.reference is not None:
            return [(source, self.reference) for source in compared if source != self.reference]
        return [(a, b) for position, b in enumerate(compared) for a in compared[position + 1 :]]


class Tracking(Record):
    """Where training curves go besides metrics.csv and TensorBoard."""

    wandb: Literal["disabled", "offline", "online"] = "disabled"
    """Weights & Biases: nothing, files to sync later, or live. Nothing leaves the machine unless this says online."""
    project: str = "headwater"
    """The project's name at Weights & Biases."""
    entity: str | None = None
    """The account or team at Weights & Biases; none takes the account's own."""


class Grid(Record):
    """The whole plan: archives, sources, datasets, recipes, seeds, and how they are compared."""

    archives: tuple[Archive, ...]
    reductions: dict[str, Choice]
    sources: tuple[Source, ...]
    datasets: tuple[Dataset, ...]
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    comparing: Comparing
    leaks: Leaks = Leaks()

    def archive(self, name: str) -> Archive:
        """The archive of that name."""
        return _named(self.archives, name)

    def images_of(self, archive: str) -> str:
        """The archive that an archive's images were prepared for: itself, unless it reads another's labels anew."""
        return self.archive(archive).images_of or archive

    @property
    def overlaps(self) -> Overlaps:
        """What the ledger looks at: all splits of datasets, training splits of corpora, and what probes look at."""
        used = {self.images_of(source.corpus): ("train",) for source in self.sources if source.corpus}
        used |= {self.images_of(source.probe.archive): PROBED for source in self.sources if source.probe}
        used |= {self.images_of(dataset.archive): ("train", "validation", "test") for dataset in self.datasets}
        return Overlaps(
            leaks=self.leaks,
            archives=tuple(
                Learned(
                    archive=name,
                    splits=splits,
                    numbering=self.archive(name).numbering,
                )
                for name, splits in sorted(used.items())
            ),
        )

    def like(self, reduction: str) -> str | None:
        """The reduction that this one keeps as many images as, if it asks for that."""
        return self.reductions[reduction].options.get("like")

    def looked_at_by(self, reduction: str) -> str | None:
        """The source whose encoder tells a reduction what images show, if it asks for one."""
        return self.reductions[reduction].options.get("source")

    def before(self, source: str) -> list[str]:
        """The sources whose encoders must be there before a source can be pre-trained: its start, and who looks."""
        record = self.source(source)
        reductions = [record.reduction, self.like(record.reduction)]
        lookers = [self.looked_at_by(reduction) for reduction in reductions if reduction]
        return [name for name in [record.start, *lookers] if name]

    @property
    def corpora(self) -> list[tuple[str, str]]:
        """Each archive with each reduction that is learned from, behind those that others keep as many images as."""
        learned = {(source.corpus, source.reduction) for source in self.sources if source.kind == "pretrained"}
        likes = {(corpus, self.like(reduction)) for corpus, reduction in learned if self.like(reduction)}
        return sorted(learned | likes, key=lambda corpus: (self.like(corpus[1]) is not None, *corpus))

    @property
    def reduced(self) -> bool:
        """Whether a pre-training learns from a part of its corpus only."""
        return any(reduction != "everything" for _, reduction in self.corpora)

    @property
    def looked_at(self) -> list[tuple[str, str]]:
        """Each corpus with each source whose encoder tells a reduction of it what the images show."""
        found = {(corpus, self.looked_at_by(reduction)) for corpus, reduction in self.corpora}
        return sorted((corpus, looker) for corpus, looker in found if looker)

    def source(self, name: str) -> Source:
        """The source of that name."""
        return _named(self.sources, name)

    def learned_by(self, source: Source) -> set[str]:
        """The archives that a source's weights were pre-trained on here, by itself or by what it starts from."""
        before = self.learned_by(self.source(source.start)) if source.start else set()
        return before | ({self.images_of(source.corpus)} if source.corpus else set())

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name."""
        return _named(self.datasets, name)

    def run(self, dataset: str, source: str, recipe: str, seed: int | str) -> Run:
        """One cell of the grid."""
        return Run(
            dataset=self.dataset(dataset),
            source=self.source(source),
            recipe=_named(self.recipes, recipe),
            seed=int(seed),
        )

    def runs(self, dataset: str) -> Iterator[Run]:
        """All cells of one dataset: recipes, then sources, then seeds."""
        for recipe in self.recipes:
            for source in self.sources:
                for seed in self.seeds:
                    yield self.run(dataset, source.name, recipe.name, seed)

    def comparison(self, dataset: str) -> Comparison:
        """What is compared on one dataset."""
        subsets = {name: {dataset: of[dataset]} for name, of in self.comparing.subsets.items() if dataset in of}
        return Comparison(
            # what networks do elsewhere changes no comparison at home, and repeats none
            **{**self.comparing.model_dump(exclude={"external"}), "subsets": subsets},
            dataset=dataset,
            sources=tuple(source.name for source in self.sources),
            recipes=tuple(recipe.name for recipe in self.recipes),
            seeds=self.seeds,
            again={source.name: source.of for source in self.sources if source.control == "again"},
            shuffled=tuple(source.name for source in self.sources if source.control == "shuffled"),
        )


def _named(records: tuple[Any, ...], name: str) -> Any:
    return next(record for record in records if record.name == name)
