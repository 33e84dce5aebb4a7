"""Pre-training: the corpus that a source learns from, its first weights, its learner, and what is kept of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import splits, store
from headwater.data.reduction import ROWS
from headwater.models import backbones, tasks
from headwater.models.encoder import Encoder, restore
from headwater.models.tasks import Task
from headwater.models.weight_files import load_weights, save_weights
from headwater.study.ct_windows import Window
from headwater.study.source import Source
from headwater.training import collapse_monitor, loop
from headwater.training.collapse_monitor import CollapseMonitor, ProbeSet
from headwater.training.ddp import World
from headwater.training.tracking import Trackers


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files that a pre-training reads."""

    cases: Path
    images: Path
    rows: Path
    start: Path | None = None
    """The encoder that is continued from."""
    probe_cases: Path | None = None
    probe_images: Path | None = None

    def identity(self, source: Source, *, size: int) -> str:
        """What must be the same for a stopped pre-training to go on."""
        read = (self.cases, self.rows, self.start, self.probe_cases)
        return " ".join([source.digest, str(size), *(sha256(file) for file in read if file is not None)])


def corpus_of(cases: Path, images: Path, *, size: int, seen: Window | None) -> store.Prepared:
    """The corpus; refuses one of another image size than the network is built for."""
    corpus = store.read(cases, images=images, seen=seen)
    if corpus.size != size:
        raise UserError(f"has images of {corpus.size} pixels, not {size}", file=images, remedy="run prepare again")
    return corpus


def rows_of(corpus: store.Prepared, path: Path) -> np.ndarray:
    """The rows that a reduction kept; refuses rows of another table, and test images."""
    kept = ROWS.read(path)
    rows = kept["row"].to_numpy()
    if not len(rows):
        raise UserError("keeps no image", file=path, remedy="choose a reduction that keeps some")
    if (
        rows.min() < 0
        or rows.max() >= len(corpus.cases)
        or (corpus.cases["case"].to_numpy()[rows] != kept["case"]).any()
    ):
        raise UserError("was made for another table of cases", file=path, remedy="delete it and run reduce again")
    if (corpus.cases["split"].to_numpy()[rows] == "test").any():
        raise UserError(
            "holds test images, which no network may see", file=path, remedy="delete it and run reduce again"
        )
    return rows


def first_weights(source: Source, *, size: int, start: Path | None) -> Encoder:
    """The encoder that is continued from, with its own normalisation, or one drawn under the source's seed."""
    if (source.start is None) != (start is None):
        raise UserError(
            f"source {source.name!r} starts from {source.start or 'random weights'}",
            remedy="give --start the encoder of that source, and of no other",
        )
    if start is None:
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=source.seed)
    tensors, metadata = load_weights(start)
    return restore(tensors, metadata, name=source.backbone, size=size, file=start)[0]


def learner_of(source: Source, corpus: store.Prepared, rows: np.ndarray, *, encoder: Encoder) -> loop.Learner:
    """What learns from the rows of the corpus by the source's method."""
    learned = np.flatnonzero(corpus.cases["split"].isin(["train", "validation"]))
    plugin = registry.load("tasks", tasks.OF_A_CORPUS)
    form = plugin.form(plugin.targets(corpus, learned, labels=corpus.labels))
    return registry.load("methods", source.method.name).learner(
        encoder,
        options=registry.chosen("methods", source.method),
        views=source.views,
        size=corpus.size,
        labels=len(corpus.labels),
        task=Task(name=tasks.OF_A_CORPUS, labels=tuple(corpus.labels), form=form),
        targets=plugin.targets(corpus, rows, labels=corpus.labels),
        steps=loop.steps(source.training, cases=len(rows)),
    )


def probe_set_of(source: Source, files: Files, *, size: int) -> ProbeSet | None:
    """What chooses the source's step, if anything does."""
    cases, images = files.probe_cases, files.probe_images
    if (source.probe is None) == bool(cases or images) or bool(cases) != bool(images):
        raise UserError(
            f"source {source.name!r} has {'a' if source.probe else 'no'} probe",
            remedy="give --probe-cases and --probe-images of that archive, and of no other",
        )
    if source.probe is None:
        return None
    data = corpus_of(cases, images, size=size, seen=source.probe.seen)
    return collapse_monitor.probe_set(source.probe, data, file=cases)


def fit(
    learner: loop.Learner,
    *,
    source: Source,
    corpus: store.Prepared,
    rows: np.ndarray,
    monitor: CollapseMonitor,
    progress: Path,
    identity: str,
    tracker: Trackers,
    world: World,
) -> loop.Fitted:
    """Train a source's learner, which then holds the last weights, or those that its probe chose."""
    return loop.fit(
        learner,
        images=corpus.images,
        rows=rows,
        targets=corpus.targets(rows, corpus.labels),
        training=source.training,
        seed=source.seed,
        world=world,
        progress=progress,
        identity=identity,
        tracker=tracker,
        validate=monitor.measure,
        select=monitor.select,
        watch=monitor.refuse_collapse,
    )


def save(
    encoder: Encoder,
    path: Path,
    *,
    source: Source,
    features: dict[str, float],
    fitted: loop.Fitted,
    origin: dict[str, str | int],
) -> None:
    """Write the encoder with how it came about, what its features are like, and why this step was kept."""
    record = {"source": source.as_json(), "digest": source.digest, "origin": json.dumps(origin, sort_keys=True)}
    spreads = {name: f"{value:.6g}" for name, value in features.items()}
    save_weights(encoder.tensors(), path, {**encoder.metadata(), **record, **spreads, **_choice(source, fitted)})


def _choice(source: Source, fitted: loop.Fitted) -> dict[str, str]:
    """Which step is kept, and why, where a probe chose it."""
    if source.probe is None:
        return {}
    probe = {"archive": source.probe.archive, "kind": source.probe.kind, "auroc": fitted.score}
    return {"probe": json.dumps({**probe, "step": fitted.kept_step, "of": fitted.steps}, sort_keys=True)}


def origin_of(corpus: store.Prepared, rows: np.ndarray, *, files: Files) -> dict[str, str | int]:
    """Fingerprints of what was learned from: corpus, splits, kept rows, first weights, and the probe's cases if any."""
    origin = {
        "cases": sha256(files.cases),
        "split": splits.digests(corpus.cases)[splits.ALL],
        "rows": sha256(files.rows),
        "kept": len(rows),
        "start": sha256(files.start) if files.start else RANDOM,
    }
    return origin | ({"probe": sha256(files.probe_cases)} if files.probe_cases else {})
