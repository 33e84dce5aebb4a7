"""Task sets: the tasks that are put to one network side by side, and what belongs to each of them.

What belongs to several tasks, such as outputs, targets or weights, travels as a dict by the names of the targets, and
what belongs to a dataset's only, unnamed target as itself: nothing else has to know which of the two it is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headwater.models.tasks import Task
from headwater.study.target import UNNAMED


def mapped(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """What a function makes of a value, or target by target of each value in a dict; others come in the same form."""
    if isinstance(first, Mapping):
        return {name: function(part, *(other[name] for other in others)) for name, part in first.items()}
    return function(first, *others)


@dataclass(frozen=True, kw_only=True)
class TaskSet:
    """Tasks by the name of their target, in order; that of a dataset's only target may be empty."""

    tasks: dict[str, Task]

    @classmethod
    def of(cls, task: Task) -> "TaskSet":
        """The set of a single task."""
        return cls(tasks={UNNAMED: task})

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all tasks, one task after another."""
        return tuple(label for task in self.tasks.values() for label in task.labels)

    @property
    def named(self) -> bool:
        """Whether the targets have names, so that what belongs to them travels in dicts."""
        return UNNAMED not in self.tasks

    def together(self, parts: Mapping[str, Any]) -> Any:
        """What belongs to the tasks, by the names of their targets, in the form in which it travels."""
        return dict(parts) if self.named else parts[UNNAMED]

    def apart(self, value: Any) -> dict[str, Any]:
        """The parts of what travels, by the names of the targets."""
        return dict(value) if self.named else {UNNAMED: value}

    def each(self, function: Callable[..., Any], *values: Any) -> dict[str, Any]:
        """What a function makes of each task and of its parts of the values, by the names of the targets."""
        parts = [self.apart(value) for value in values]
        return {name: function(task, *(part[name] for part in parts)) for name, task in self.tasks.items()}

    def metadata(self) -> dict[str, str]:
        """What a model file says of the tasks: plug-in, labels in the order of the outputs, and form."""
        if self.named:
            said = self.each(lambda task: {"task": task.name, "labels": list(task.labels), "form": task.form})
            return {"targets": json.dumps(said)}
        return {"labels": json.dumps(self.labels), "task": self.tasks[UNNAMED].form}


def read(metadata: Mapping[str, str], *, unnamed: str) -> TaskSet:
    """The tasks that a model file tells of; `unnamed` is that of a file that names no targets."""
    if "targets" not in metadata:
        return TaskSet.of(Task(name=unnamed, labels=tuple(json.loads(metadata["labels"])), form=metadata["task"]))
    said = json.loads(metadata["targets"])
    return TaskSet(
        tasks={
            name: Task(name=target["task"], labels=tuple(target["labels"]), form=target["form"])
            for name, target in said.items()
        }
    )
