"""Tasks: what a network is asked about each case, from the reading of its targets to the evidence that metrics use.

A plug-in holds
    EVIDENCE: tuple[str, ...]                the columns of evidence that its predictions hold for each case and label;
                                             metrics name the columns that they need by a constant of the same name;
                                             `target` is among them: 1 where the case bears the label, 0 where not, NaN
                                             where unknown, by which labels are counted and found eligible
    KINDS: dict[str, str]                    what must hold of columns of the evidence, and is checked when predictions
                                             are read: "binary" (0, 1 or NaN), "finite" (a number, never NaN)
    SCORE: str                               what `validation_score` is called, such as "auroc"; recipes may `select` it
    NEEDS: str                               what a label must have to be eligible, as the end of "no label ..."
    CLASSES: tuple[str, ...] (optional)      which cases a label needs, in train and in test, to be compared; else
                                             ("positive", "negative"). ("positive",) where the others score nothing
    LEVELS: bool (optional)                  whether it outlines structures: its head gets the encoder's maps of
                                             features, and answers are measured case by case; else False, see below
    WEIGHTED: bool (optional)                whether `label_weights` can weigh labels; else True
    SOFT: bool (optional)                    whether its targets may lie between 0 and 1, as those of mixed images
                                             do, and it has `softened`; else False
    LOSSES: tuple[str, ...] (optional)       which losses its `loss` has besides its own, to choose in a recipe: it
                                             takes the choice as `chosen`; else ()
    OF_NUMBERS: bool (optional)              whether its labels are names of numbers of the cases; else False
    LOG_ODDS: bool (optional)                whether its evidence has a `score` that is log-odds, which `examine` can
                                             calibrate and set thresholds in; else False
    FEWEST: int (optional)                   how many labels a target must at least list, in an order that tells; its
                                             form is then judged on these alone; else 0: without any it has all
    form(targets, *, labels, partial) -> str in which of its forms the task is put, judged from all training and
                                             validation targets; `labels`: what refusals call the columns; `partial`:
                                             only some of the archive's labels are asked
    targets(data, rows, *, labels) -> array  what is to be learned of `rows` of prepared data: float32
                                             (rows, labels) or, of masks, (rows, labels, *space); NaN where unknown
    eligible(targets) -> array               bool (labels,): which labels these targets can teach, and can score
    head(encoder, *, labels, seed) -> Module from the encoder's output to one output per label; drawn under `seed` only,
                                             so that every source gets the same one. Its TAKES, else "features", is
                                             what it gets: see `models.task_network`
    label_weights(targets, *, form, wanted) -> Tensor   one weight per label (labels,) for the loss; 1 unless wanted
    loss(outputs, targets, *, weights, form) -> Tensor  the mean over cases, so that the mean over equal shares of a
                                             batch is the loss of the batch
    evidence(outputs, targets, *, form, columns) -> dict[str, array]   each column of EVIDENCE, float (cases, labels);
                                             a row depends on its case alone, so that it may be computed batch by batch;
                                             `columns`: which of the outputs the targets are for, where not for all
    validation_score(evidence) -> float|None the higher the better; None where no label can be scored
A task with SOFT holds
    softened(targets, *, share, form) -> Tensor   targets of which a share is replaced by not knowing: label smoothing
A task with LEVELS learns from label maps, and its outputs hold what is measured of each case (cases, labels, measures):
    measured(logits, *, volumes, row, values, tolerance, surfaces) -> (Tensor, array)   the measures of a case, and its
                                             predicted label map on the grid of the source
    head(encoder, *, labels, seed, deep)     as above; with `deep` it gives outputs of several resolutions in training,
                                             the finest first, of which the loss takes the list (deep supervision)
    probe(encoder, *, labels, seed, deep) -> Module     a head whose decoder is new even where the backbone has one
    loss_of(outputs, targets) -> Tensor      the mean of the cases' losses, which are among the measures
    sound(outputs) -> bool                   whether every logit behind the measures was a number
Nothing here needs torch until a task is loaded, so that a plan can be checked in a moment. Several targets side by side
are several `Task`s, which `models.task_set` holds together: nothing in a plug-in knows of any other.
"""

from dataclasses import dataclass
from types import ModuleType

from headwater.core import registry

OF_A_CORPUS = "classification"
"""The task by which the labels of a corpus are read."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task as it is put to a network: which plug-in, which labels, and how these stand beside each other."""

    name: str
    labels: tuple[str, ...]
    form: str

    @property
    def plugin(self) -> ModuleType:
        """The functions of the task."""
        return registry.load("tasks", self.name)

    @property
    def outlines(self) -> bool:
        """Whether it outlines structures."""
        return getattr(self.plugin, "LEVELS", False)

    @property
    def choosing(self) -> bool:
        """Whether its loss can be chosen."""
        return bool(getattr(self.plugin, "LOSSES", ()))

    @property
    def soft(self) -> bool:
        """Whether its targets may lie between 0 and 1."""
        return getattr(self.plugin, "SOFT", False)
