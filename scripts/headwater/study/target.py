"""Targets: what networks are asked about each image, one thing or several side by side, and the evidence of it."""

from collections.abc import Iterable, Mapping

from headwater.core import registry
from headwater.core.records import Record

MEAN = "macro"
"""What stands for a label where a number is the mean over labels."""

UNNAMED = ""
"""What stands for the name of a dataset's target where it has only one."""


SCORE = "score"
"""What selects steps by the score that a dataset's tasks have, whatever it is called."""


class Target(Record):
    """One of several things that networks are asked about each image: a task, and the labels that it is about."""

    task: str = "classification"
    """What networks are asked: the name of a file in `models/tasks`."""
    labels: tuple[str, ...]
    """Which of the archive's labels, in the order of the tables; a label belongs to one target."""


def asked(targets: Mapping[str, Target], *, task: str, labels: tuple[str, ...]) -> dict[str, Target]:
    """The targets by name, in alphabetical order; without any the one that `task` and `labels` describe."""
    return dict(sorted(targets.items())) or {UNNAMED: Target(task=task, labels=labels)}


def task_of(label: str, targets: Mapping[str, Target], *, task: str) -> str:
    """The task by which a label is told; `task` where no target has it."""
    return next((asked.task for asked in targets.values() if label in asked.labels), task)


def evidence(tasks: Iterable[str]) -> tuple[str, ...]:
    """The columns of evidence that the predictions of these tasks hold, each once."""
    columns = (registry.constant("tasks", task, "EVIDENCE", default=()) for task in tasks)
    return tuple(dict.fromkeys(name for names in columns for name in names))


def needed(metric: str) -> tuple[str, ...]:
    """The columns of evidence that a metric is computed from."""
    return registry.constant("metrics", metric, "EVIDENCE", default=())


def fits(metric: str, task: str) -> bool:
    """Whether a task gives all that a metric needs."""
    return set(needed(metric)) <= set(evidence([task]))


def classes(task: str) -> tuple[str, ...]:
    """Which cases a label needs, to be learned and to be scored by a task."""
    return registry.constant("tasks", task, "CLASSES", default=("positive", "negative"))


def outlines(task: str) -> bool:
    """Whether a task outlines structures, which are measured case by case."""
    return registry.constant("tasks", task, "LEVELS", default=False)


def of_numbers(task: str) -> bool:
    """Whether a task is about numbers of cases, not about labels that they bear."""
    return registry.constant("tasks", task, "OF_NUMBERS", default=False)


def soft(task: str) -> bool:
    """Whether the targets of a task may lie between 0 and 1, as those of mixed images do."""
    return registry.constant("tasks", task, "SOFT", default=False)


def losses(task: str) -> tuple[str, ...]:
    """Which losses of a task can be chosen besides its own."""
    return registry.constant("tasks", task, "LOSSES", default=())


def fewest(task: str) -> int:
    """How many labels a target must at least list for a task that learns from their order; 0 for any other task."""
    return registry.constant("tasks", task, "FEWEST", default=0)


def measured_on(metric: str) -> tuple[str, ...]:
    """Which cases a metric is about, where these are not all whose target is known: "positive" or "negative" ones."""
    return registry.constant("metrics", metric, "CLASSES", default=())


def log_odds(task: str) -> bool:
    """Whether the scores of a task are log-odds."""
    return registry.constant("tasks", task, "LOG_ODDS", default=False)
