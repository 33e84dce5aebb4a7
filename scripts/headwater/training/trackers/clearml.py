"""ClearML: each training as an offline session, one file that ClearML's `Task.import_offline_session` reads.

The file is written here and not by ClearML, which would record the code, its changes, the packages and the host's name
even offline. No package is needed for it, and nothing is in it but what is written below.
"""

import json
import math
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.core.files import whole
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked, _whole
from headwater.training.trackers._whole import AtEnd, Whole

SESSION = "clearml.zip"

SINGLE = {"metric": "Summary", "iter": -(2**31)}
"""By what ClearML knows a value of the whole training, which has no step."""

BATCH = 1000
"""How many values ClearML sends at once."""


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> AtEnd:
    """The session of a training, to be written at its end."""
    return AtEnd(lambda summary: add(folder, training=training, tracking=tracking, summary=summary))


def add(
    folder: Path, *, training: Tracked, tracking: Tracking, steps: int = _whole.ALL, summary: dict[str, Any]
) -> None:
    """Write the session of a training with its summary values, in place of what was written before."""
    shown = _whole.of(folder, training=training, tracking=tracking, steps=steps, summary=summary)
    identity = f"offline-{shown.identity}"
    events = list(_events(shown, identity=identity))
    lines = [json.dumps(events[start : start + BATCH], allow_nan=False) for start in range(0, len(events), BATCH)]
    with whole(folder / SESSION) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("task.json", json.dumps(_task(shown, identity=identity, project=tracking.project)))
        file.writestr("metrics.jsonl", "".join(f"{line}\n" for line in lines))


def _task(shown: Whole, *, identity: str, project: str) -> dict[str, Any]:
    """A training's names and settings as ClearML writes down a task."""
    sections = {"headwater": shown.tags, "settings": shown.settings}
    return {
        "id": identity,
        "name": shown.name,
        "project_name": project,
        "type": "training",
        # in place of what ClearML writes at the import: who called it, and on which host
        "comment": "",
        "tags": sorted({tag for name, tag in shown.tags.items() if name in _whole.TAGS}),
        "hyperparams": {
            section: {
                name: {"section": section, "name": name, "value": value, "type": "str", "description": ""}
                for name, value in entries.items()
            }
            for section, entries in sections.items()
        },
        "script": {},
        "execution": {"artifacts": [], "parameters": {}, "model_desc": {}, "model_labels": {}},
    }


def _events(shown: Whole, *, identity: str) -> Iterator[dict[str, Any]]:
    """Each value as ClearML writes it down; those that are no numbers are left out, as ClearML would show zeros."""
    now = int(time.time() * 1000)
    places = [({"metric": name, "iter": step}, name, value) for step, at in shown.points for name, value in at.items()]
    places += [(SINGLE, name, value) for name, value in shown.summary.items()]
    for place, name, value in places:
        if math.isfinite(value):
            common = {"timestamp": now, "type": "training_stats_scalar", "task": identity, "method": "get"}
            yield {**common, **place, "variant": name, "value": value}
