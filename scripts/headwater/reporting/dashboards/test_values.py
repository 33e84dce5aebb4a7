"""Test values: what compare has measured, added to what dashboards show of each training."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headwater.core import files, registry
from headwater.study.grid import Run
from headwater.study.paths import FIT
from headwater.study.tracking import Tracking
from headwater.training.trackers import Tracked

Rows = list[dict[str, Any]]


def add(folders: Iterable[Path], *, rows: Rows, values: Rows, tracking: Tracking) -> None:
    """Add to the run of each folder its test values, and those of its source with their intervals.

    `rows` are those of comparisons, `values` those of single runs, which datasets in folds do not have.
    """
    trackers = [registry.load("trackers", name) for name in tracking.trackers]
    for folder in folders:
        if not (folder / FIT).is_file():
            # predictions that were made elsewhere have no training here
            continue
        fit = files.read_record(folder / FIT)
        run = Run.model_validate(fit["run"])
        summary = kept(fit) | of_run(run, values=values) | of_source(run, rows=rows)
        training = Tracked(
            record=run,
            group=f"{run.dataset.name}/{run.source.name}",
            name=run.path,
            job="finetune",
            content=fit.get("identity", ""),
            machine=fit["device"],
            encoder=Path(file) if (file := fit["encoder"].get("file")) else None,
        )
        for tracker in trackers:
            if hasattr(tracker, "add"):
                tracker.add(folder, training=training, tracking=tracking, steps=fit["steps"], summary=summary)


def kept(fit: dict[str, Any]) -> dict[str, float]:
    """The kept step and its validation score, as the training itself gives them."""
    scored = {} if fit["score"] is None else {"kept/score": fit["score"]}
    return {"kept/step": fit["kept_step"], "kept/of": fit["steps"], **scored}


def of_run(run: Run, *, values: Rows) -> dict[str, float]:
    """`test/METRIC/LABEL`: what the run reaches on the test cases."""
    own = (run.source.name, run.recipe.name, run.seed)
    return {
        f"test/{row['metric']}/{row['label']}": float(row["value"])
        for row in values
        if (row["source"], row["recipe"], row["seed"]) == own and row["dataset"] == run.dataset.name
    }


def of_source(run: Run, *, rows: Rows) -> dict[str, float]:
    """`source/METRIC/LABEL`, and beside it `/low` and `/high`: the mean over the source's seeds with its interval."""
    found: dict[str, float] = {}
    for row in rows:
        if row["recipe"] != run.recipe.name:
            continue
        for side, prefix in (("source", "value"), ("reference", "reference")):
            if row[side] == run.source.name:
                found |= _with_interval(row, prefix=prefix)
    return found


def _with_interval(row: dict[str, Any], *, prefix: str) -> dict[str, float]:
    name = f"source/{row['metric']}/{row['label']}"
    value = row["value" if prefix == "value" else "reference_value"]
    named = {name: value, f"{name}/low": row[f"{prefix}_low"], f"{name}/high": row[f"{prefix}_high"]}
    # what is undefined is left out, as JSON has no NaN
    return {key: float(number) for key, number in named.items() if number is not None and number == number}
