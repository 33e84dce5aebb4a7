"""How sources are compared with each other, declared before any result is seen."""

from collections.abc import Callable, Iterable
from typing import Literal

from pydantic import Field

from headwater.core.records import Record
from headwater.study import target
from headwater.study.folds import Folds, in_fold
from headwater.study.target import Target

FEW_POSITIVE = 20
"""Labels with fewer positive (or negative) test patients are tested with caution, and flagged."""


class Comparing(Record):
    """How sources are compared, declared before any result is seen."""

    reference: str | dict[str, str] | None = None
    """The source that all others are compared with; none compares all pairs. Where datasets have `sources` of their
    own, one for each: `{organs: random, chest: photographs}`; on a dataset that is left out all pairs are compared."""
    metrics: tuple[str, ...] = Field(("auroc",), min_length=1)
    """What is measured (files in metrics/); each adds to the family of tests."""
    method: Literal["obuchowski_rockette", "delong", "percentile", "published"] = "obuchowski_rockette"
    """Source of p-values: seeds as readers; DeLong (one seed); bootstrap alone; the first beside the published way."""
    pairing: Literal["paired", "nested"] = "paired"
    """`paired`: seed k fixes data order and first head weights for every source, as it does here; else `nested`."""
    correction: Literal["holm", "max_t"] = "holm"
    """Correction for multiple testing over the family of macro tests; max_t uses the correlation of the tests."""
    margin: float | None = Field(None, gt=0)
    """Largest difference that does not matter, such as 0.01: tests non-inferiority and equivalence against it."""
    resamples: int = Field(10_000, ge=100)
    """Number of bootstrap resamples of the patients; it is checked that the correction can reject with so many."""
    seed: int = Field(0, ge=0)
    """Seed of the resampling."""
    level: float = Field(0.05, gt=0, lt=0.5)
    """Significance level of the corrected tests; intervals cover 1 - level."""
    fewest_positive: int = Field(10, ge=2)
    """Labels with fewer positive (or negative) test patients are described, not tested, and not in the macro. With
    fewer than 20 they are tested with caution, and flagged."""
    external: bool = False
    """Each fitted network also predicts on the other datasets' test cases, for the findings that both have."""
    specificity: float = Field(0.9, gt=0, lt=1)
    """Specificity on the validation split at which the threshold of each finding is set; it is evaluated on test."""
    subsets: dict[str, dict[str, tuple[str, ...]]] = {}
    """Further macros, exploratory: by a name of your choice, for each dataset the labels to average over."""

    def reference_on(self, dataset: str) -> str | None:
        """The source that all others are compared with on a dataset; none compares all pairs."""
        return self.reference.get(dataset) if isinstance(self.reference, dict) else self.reference

    @property
    def references(self) -> set[str]:
        """The references of all datasets."""
        return {*self.reference.values()} if isinstance(self.reference, dict) else {self.reference} - {None}


class Comparison(Comparing):
    """Which runs on one dataset are compared."""

    reference: str | None = None
    """The source that all others are compared with; none compares all pairs."""
    dataset: str
    splits: Folds | None = None
    """Folds in place of a test split; then the method is that of folds."""
    fractions: dict[str, float] = {}
    """In folds, the share of the other folds' patients that a recipe learns from, for recipes that leave some out."""
    sources: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    again: dict[str, str] = {}
    """A/A controls: the same source under a second name, and the first."""
    shuffled: tuple[str, ...] = ()
    """Sources fitted to shuffled labels, which must come out at chance."""
    task: str = "classification"
    """What the networks were asked, where they were asked one thing only."""
    targets: dict[str, Target] = {}
    """What they were asked side by side, by name."""

    @property
    def parts(self) -> tuple["Comparison", ...]:
        """The same runs on each of the folds."""
        numbers = range(self.splits.folds) if self.splits else ()
        names = [in_fold(self.dataset, number) for number in numbers]
        return tuple(self.model_copy(update={"dataset": name, "splits": None}) for name in names)

    @property
    def evidence(self) -> tuple[str, ...]:
        """The columns of evidence that predictions hold: all that the tasks give."""
        return target.evidence(asked.task for asked in target.asked(self.targets, task=self.task, labels=()).values())

    @property
    def holders(self) -> dict[str, str]:
        """The target that each label belongs to, where targets have names; else nothing."""
        return {label: name for name, asked in self.targets.items() for label in asked.labels}

    def task_of(self, label: str) -> str:
        """The task by which a label is told."""
        return target.task_of(label, self.targets, task=self.task)

    def classes_of(self, label: str) -> tuple[str, ...]:
        """Which cases a label needs, in train and in test, to take part."""
        return target.classes(self.task_of(label))

    def giving(self, column: str, labels: Iterable[str]) -> list[str]:
        """Those of the labels whose task gives a column of evidence."""
        return self._of_tasks(labels, lambda task: column in target.evidence([task]))

    def calibrated(self, labels: Iterable[str]) -> list[str]:
        """Those of the labels whose scores are log-odds, so that they can be calibrated, and given a threshold."""
        return self._of_tasks(labels, target.log_odds)

    def fitting(self, metric: str, labels: Iterable[str]) -> list[str]:
        """Those of the labels that a metric can be computed for."""
        return self._of_tasks(labels, lambda task: target.fits(metric, task))

    def _of_tasks(self, labels: Iterable[str], wanted: Callable[[str], bool]) -> list[str]:
        """Those of the labels whose task is wanted, which is asked once for each task."""
        tasks = {label: self.task_of(label) for label in labels}
        chosen = {task for task in set(tasks.values()) if wanted(task)}
        return [label for label, task in tasks.items() if task in chosen]

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
