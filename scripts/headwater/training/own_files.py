"""Predicts for files of one's own: the probability of each label by the network of a finished run."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from headwater.core.destinations import as_csv
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.data import own_files, store, tables
from headwater.models import predictor
from headwater.models.predictor import Predictor
from headwater.models.tasks import Task
from headwater.study.paths import Paths, results_of
from headwater.study.preparation import Preparation
from headwater.training import ddp, scoring
from headwater.training.reading.volumes import Asked

LONGEST = 200
"""Bytes in the name of a file; file systems allow 255, of which a temporary name takes some."""

COLUMNS = ("file", "label", "score", "probability", "calibrated", "predicted", "reason")


def predict(
    images: Path,
    *,
    model: Path,
    out: Path | None = None,
    workers: int = 2,
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
) -> None:
    """Predict the labels of images of your own: one row per image and label, as CSV.

    A file that cannot be used has one row with the reason; if there is no other row, the exit code is 2. `score` is in
    log-odds, `probability` follows from it, `calibrated` is the probability scaled by the temperature that the study
    chose on its validation split, and empty where it chose none. What numbers are predicted stand in `predicted`.

    Args:
        images: A picture (PNG, JPEG, TIFF, DICOM), a volume (NIfTI, a folder of DICOM files), or a folder of them.
        model: A run's folder, such as results/my_study/runs/chestxray14/dino/finetune/seed0, or its model file.
        out: The CSV file to write; by default it is printed.
        workers: Processes that read images.
        threads: Threads of the network.
        device: Where the network runs.
    """
    if threads < 1 or workers < 0:
        raise UserError("--threads is at least 1, and --workers at least 0", remedy="give such a number, or none")
    if out is not None:
        _refuse_place(out)
    file = predictor.file_in(model)
    table = predicted(images, model=file, workers=workers, threads=threads, device=device)
    if out is None:
        print(as_csv(table), end="")
    else:
        write_text(as_csv(table), out)
    if table["reason"].notna().all():
        raise UserError(
            "holds no image that can be used" if images.is_dir() else "cannot be used",
            file=images,
            remedy="mend what the column `reason` says, or name other images",
        )


def _refuse_place(out: Path) -> None:
    """Refuse a file that cannot be written, before anything is read."""
    if out.is_dir():
        raise UserError("is a folder", file=out, remedy="name the file to write in it")
    if not out.parent.is_dir():
        raise UserError("there is no such folder", file=out.parent, remedy="make it, or correct --out")
    if not os.access(out.parent, os.W_OK):
        raise UserError("may not be written to", file=out.parent, remedy="name a file in a folder of yours")
    if len(os.fsencode(out.name)) > LONGEST:
        raise UserError(f"its name is longer than {LONGEST} bytes", file=out, remedy="give it a shorter one")


def predicted(
    images: Path, *, model: Path, workers: int = 0, threads: int = 1, device: ddp.DeviceChoice = "auto"
) -> pd.DataFrame:
    """The rows that `predict` prints."""
    fitted = predictor.from_file(model)
    how = _preparation(fitted)
    if all(task.outlines for task in fitted.tasks.tasks.values()):
        remedy = "name the model of a run that predicts labels or numbers"
        raise UserError("outlines structures, and has no probabilities of labels", file=model, remedy=remedy)
    folder, listed = own_files.listed(images, how=how)
    names = [name for name in listed if _is_text(name)]
    if not names:
        raise UserError("has no name in UTF-8", file=images, remedy="rename it")
    with tempfile.TemporaryDirectory() as place, ddp.world(threads=threads, device=device) as world:
        seen, size = fitted.run.dataset.seen, fitted.stored
        data, refused = own_files.prepare(
            folder, names, how=how, size=size, seen=seen, into=Path(place), workers=workers
        )
        rows = [_rows(fitted, data, world=world)] if data is not None else []
    bad = refused.rename(columns={"case": "name"})[["file", "reason"]]
    unnamed = [os.fsencode(name).decode(errors="backslashreplace") for name in listed if not _is_text(name)]
    bad = pd.concat([bad, pd.DataFrame({"file": unnamed, "reason": "its name is not UTF-8: rename it"})])
    table = pd.concat([*rows, bad], ignore_index=True).reindex(columns=COLUMNS)
    # files in the order in which they were listed, labels in that of the outputs
    order = {name: place for place, name in enumerate([*names, *unnamed])}
    table = table.sort_values("file", key=lambda files: files.map(order), kind="stable", ignore_index=True)
    unused = [name for name in ("score", "probability", "predicted") if rows and rows[0].get(name) is None]
    return table.drop(columns=[*unused, *(["calibrated"] if "score" in unused else [])])


def _is_text(name: str) -> bool:
    """Whether a file's name is UTF-8: Python reads the bytes of others as surrogates, which no table can hold."""
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in name)


def _preparation(fitted: Predictor) -> Preparation:
    """How images are prepared for a network; refuses a model that does not say it."""
    said = fitted.metadata.get("preparation")
    if said is None:
        raise UserError(
            "does not say how images are prepared for it, as it was fitted by an earlier version",
            file=fitted.file,
            remedy="fit it again: snakemake --forcerun prepare",
        )
    try:
        return Preparation.from_json(said)
    except ValueError:
        raise UserError(predictor.OTHER_VERSION, file=fitted.file, remedy=predictor.FIT_AGAIN) from None


def _rows(fitted: Predictor, data: store.Prepared, *, world: ddp.World) -> pd.DataFrame:
    """A row for each image that can be used and each label."""
    training, tasks = fitted.run.recipe.training, fitted.tasks
    # no structure has a reference that its outline could be compared with
    asked = Asked(tasks=tasks, surfaces=False, named={})
    outputs = scoring.score(
        fitted.taking(data.size),
        images=data.images,
        rows=np.arange(len(data.cases)),
        batch=training.batch,
        world=world,
        precision=training.precision,
        asked=asked,
    )
    files, temperatures = data.cases["file"].to_numpy(), _temperatures(fitted)
    parts = tasks.each(lambda task, given: _of_task(task, given, files), outputs)
    table = pd.concat([part for part in parts.values() if part is not None], ignore_index=True)
    if "score" in table:
        scaled = table["score"] / table["label"].map(temperatures).astype(float)
        table["probability"], table["calibrated"] = expit(table["score"]), expit(scaled)
    return table


def _of_task(task: Task, outputs: object, files: np.ndarray) -> pd.DataFrame | None:
    """What a task says of each image and label; nothing of outlines."""
    if task.outlines:
        return None
    count = len(task.labels)
    evidence = task.plugin.evidence(outputs, np.full((len(files), count), np.nan), form=task.form)
    said = {name: evidence[name].ravel() for name in ("score", "predicted") if name in evidence}
    return pd.DataFrame({"file": np.repeat(files, count), "label": np.tile(task.labels, len(files)), **said})


def _temperatures(fitted: Predictor) -> dict[str, float]:
    """The temperature of each label that the study has chosen for the run; none outside of its results."""
    run, results = fitted.run, results_of(fitted.file, run=fitted.run.path)
    settled = results and Path(Paths(results).compared(run.dataset.name, "settled"))
    if not settled or not settled.is_file():
        return {}
    tables.refuse_changed(settled)
    rows = pd.read_parquet(settled)
    key = {"recipe": run.recipe.name, "source": run.source.name, "seed": run.seed}
    own = rows[np.logical_and.reduce([rows[name] == value for name, value in key.items()])]
    return dict(zip(own["label"], own["temperature"], strict=True))
