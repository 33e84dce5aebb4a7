"""Whole runs: what a dashboard shows of a training, from the training's record and its tables.

Trackers that write a run in one piece when its training has ended need no further care: one that is stopped or killed
has written nothing, and the attempt that ends it writes all steps, each once.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headwater.core.records import without_places
from headwater.study import run_ids
from headwater.study.grid import Run
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, Tracker, csv, is_drawn

Points = list[tuple[int, dict[str, float]]]

TAGS = ("study", "dataset", "source", "recipe", "seed")
"""The names by which people look for runs."""

ALL = 2**63
"""A step after all steps."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A training as a dashboard shows it."""

    identity: str
    """The id by which it is found again, the same for all attempts."""
    name: str
    tags: dict[str, str]
    settings: dict[str, str]
    points: Points
    """(step, values) of the training curves, in the order of steps."""
    summary: dict[str, float]
    """What counts of the whole training, and its test values once they are compared."""

    @property
    def last(self) -> int:
        """The step at which the summary is shown."""
        return self.points[-1][0] if self.points else 0

    @property
    def digest(self) -> str:
        """The digest of all that is shown: a dashboard that has it already is left as it is."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


class AtEnd(Tracker):
    """Writes a run when its training has ended well; `write` gets the summary values."""

    def __init__(self, write: Callable[[dict[str, float]], None]):
        self.write = write
        self.values: dict[str, float] = {}

    def summary(self, values: dict[str, float]) -> None:
        """Keep results for the end."""
        self.values |= values

    def close(self, exit_code: int) -> None:
        """Write the run, unless the training was stopped or failed: the attempt that ends it will."""
        if exit_code == 0:
            self.write(self.values)


def of(folder: Path, *, training: Tracked, tracking: Tracking, summary: dict[str, Any], steps: int = ALL) -> Whole:
    """A training as its folder's tables have it, up to a step."""
    names = {name: str(value) for name, value in config_of(training, tracking=tracking).items() if name != "settings"}
    return Whole(
        identity=run_ids.of_training(training.record, tracking=tracking, content=training.content),
        name=training.name,
        tags={**names, "group": training.group, "job": training.job},
        settings=dict(flat(config_of(training, tracking=tracking)["settings"])),
        points=list(drawn(folder, up_to=steps)),
        summary={name: float(value) for name, value in summary.items()},
    )


def config_of(training: Tracked, *, tracking: Tracking) -> dict[str, Any]:
    """What a run shows of its settings: its names at the top, and the whole record below."""
    # studies in folders of one name are told apart by their ids
    study = {"study": tracking.study_name, "study_run": run_ids.of_study(tracking)}
    parts = {**study, **parts_of(training), "machine": training.machine}
    return {**parts, "settings": without_places(training.record.model_dump(mode="json"))}


def parts_of(training: Tracked) -> dict[str, Any]:
    """The names by which runs are grouped."""
    record = training.record
    if not isinstance(record, Run):
        return {"source": record.name}
    names = {"dataset": record.dataset.name, "source": record.source.name, "recipe": record.recipe.name}
    return {**names, "seed": record.seed}


def flat(settings: Any, *, above: str = "") -> Iterator[tuple[str, str]]:
    """(place, value) of each setting as text, the place with points between its keys; what is not set is left out."""
    if isinstance(settings, dict):
        for key, inner in settings.items():
            yield from flat(inner, above=f"{above}.{key}" if above else key)
    elif settings not in (None, [], ""):
        yield above, settings if isinstance(settings, str) else json.dumps(settings)


def drawn(folder: Path, *, up_to: int) -> Iterator[tuple[int, dict[str, float]]]:
    """(step, values) of what is drawn of a training's tables, each step once, in their order."""
    points: dict[int, dict[str, float]] = {}
    for number, values in csv.read(folder, up_to=up_to):
        if kept := {name: value for name, value in values.items() if is_drawn(number, [name])}:
            points[number] = kept
    for number, values in csv.read(folder, up_to=up_to, table=csv.MACHINE):
        points[number] = points.get(number, {}) | values
    yield from sorted(points.items())
