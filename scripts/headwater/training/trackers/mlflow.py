"""MLflow: each training as a run, in a database in the results' folder or on your server, written when it has ended.

All jobs of a study share one SQLite database, and write to it one after the other under a lock: MLflow's own set-up of
a database fails where two processes begin it at once. A run is found again by a tag, and written anew if what it shows
has changed; the former one is deleted, which MLflow keeps in its bin until `mlflow gc`.
"""

import logging
import os
import posixpath
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headwater.core import locks
from headwater.core.errors import UserError
from headwater.study.paths import Paths
from headwater.study.tracking import MLFLOW_SERVER, Tracking
from headwater.training.trackers import Tracked, _whole
from headwater.training.trackers._whole import AtEnd, Whole

RUN, CONTENT = "headwater.run", "headwater.content"
"""Tags: the id by which a run is found again, and the digest of what it shows, which is written last."""

ARTIFACTS = "mlflow-artifacts:/"
"""Where MLflow is to look for files, of which there are none; else it writes down the path of a folder here."""

BATCH, BATCH_OF_SETTINGS = 1000, 100
"""How many values, and how many settings or tags, MLflow takes at once."""

LONGEST = 250
"""Characters of a name that MLflow takes."""

WAIT = 600.0
"""Seconds in which other jobs must have written their runs."""


def open(folder: Path, *, training: Tracked, tracking: Tracking) -> AtEnd:
    """The run of a training, to be written at its end; refuses now if it could not be written then."""
    with _client(tracking) as client:
        _experiment(client, tracking)
    return AtEnd(lambda summary: add(folder, training=training, tracking=tracking, summary=summary))


def add(
    folder: Path, *, training: Tracked, tracking: Tracking, steps: int = _whole.ALL, summary: dict[str, Any]
) -> None:
    """Write the run of a training with its summary values, in place of what was written before."""
    shown = _whole.of(folder, training=training, tracking=tracking, steps=steps, summary=summary)
    with _client(tracking) as client:
        _write(client, shown, tracking=tracking)


def _write(client: Any, shown: Whole, *, tracking: Tracking) -> None:
    """Write a run, unless it is there as it is to be shown, and delete the former ones."""
    from mlflow.entities import Metric, Param, RunTag

    experiment = _experiment(client, tracking)
    former = client.search_runs([experiment], filter_string=f"tags.`{RUN}` = '{shown.identity}'")
    if [run.data.tags.get(CONTENT) for run in former] == [shown.digest]:
        return
    now = int(time.time() * 1000)
    points = [*shown.points, (shown.last, shown.summary)]
    names = _named({name for _, values in points for name in values})
    metrics = [Metric(names[name], value, now, step) for step, values in points for name, value in values.items()]
    settings = [Param(name, shown.settings[place]) for place, name in _named(shown.settings).items()]
    run = client.create_run(experiment, run_name=shown.name, tags={RUN: shown.identity, **shown.tags}).info.run_id
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run, metrics=metrics[start : start + BATCH])
    for start in range(0, len(settings), BATCH_OF_SETTINGS):
        client.log_batch(run, params=settings[start : start + BATCH_OF_SETTINGS])
    client.set_terminated(run)
    client.log_batch(run, tags=[RunTag(CONTENT, shown.digest)])
    for one in former:
        client.delete_run(one.info.run_id)


def _experiment(client: Any, tracking: Tracking) -> str:
    """The id of the project's experiment, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(tracking.project)) is not None:
        return found.experiment_id
    try:
        return client.create_experiment(tracking.project, None if tracking.mlflow == "online" else ARTIFACTS)
    except MlflowException:
        # another job of the grid may have made it just now
        if (found := client.get_experiment_by_name(tracking.project)) is None:
            raise
        return found.experiment_id


def _named(names: Iterable[str]) -> dict[str, str]:
    """MLflow's names of values: with other characters than it allows replaced, and still told apart."""
    fit: dict[str, str] = {}
    for name in sorted(names):
        plain = posixpath.normpath(re.sub(r"[^/\w.\- :]", "-", name))[:LONGEST]
        fit[name] = plain if plain not in fit.values() else f"{plain[: LONGEST - 9]}-{zlib.crc32(name.encode()):08x}"
    return fit


@contextmanager
def _client(tracking: Tracking) -> Iterator[Any]:
    """MLflow's client for the server, or for the study's database while no other job writes to it."""
    # before it is imported; it reports on its use otherwise
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise UserError(
            "tracking.mlflow needs the package mlflow-skinny",
            remedy="pip install -e '.[mlflow]', or set tracking.mlflow: disabled",
        ) from None
    online = tracking.mlflow == "online"
    try:
        if online:
            yield MlflowClient(address())
        else:
            with _database(tracking) as uri:
                yield MlflowClient(uri)
    except MlflowException as error:
        raise UserError(
            f"MLflow does not take the run: {next(iter(str(error).splitlines()), '')}",
            remedy=f"check {MLFLOW_SERVER} and the server" if online else "check the disk of the results",
        ) from None


def address() -> str:
    """The address of the user's server; refuses if none is set."""
    if server := os.environ.get(MLFLOW_SERVER):
        return server
    raise UserError(
        f"tracking.mlflow is online, but {MLFLOW_SERVER} is not set",
        remedy=f"export {MLFLOW_SERVER}=https://..., or set tracking.mlflow: offline",
    )


@contextmanager
def _database(tracking: Tracking) -> Iterator[str]:
    """The address of the study's database, complete, while this job alone has it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = database(tracking.study)
    try:
        lock = locks.try_lock(file.with_suffix(".lock"), wait=WAIT)
    except locks.NoLocksError:
        raise UserError("is on a disk without locks", file=file, remedy="set tracking.mlflow: disabled") from None
    if lock is None:
        raise UserError(f"another job has had it for {WAIT:g} s", file=file, remedy="end that job, and run this again")
    try:
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = f"sqlite:///{file.absolute()}"
        SqlAlchemyStore(uri, ARTIFACTS)
        yield uri
    finally:
        lock.release()


def database(results: str) -> Path:
    """The file of the database in a folder of results."""
    return Path(Paths(results or ".").tracking()) / "mlflow.db"
