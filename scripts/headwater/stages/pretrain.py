"""Pretrain: a network learns from the images of a corpus, and its encoder is kept as a source of first weights."""

import json
from pathlib import Path

import numpy as np

from headwater.core import registry, timing
from headwater.core.errors import UserError
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import splits, store, tables
from headwater.models import backbones, tasks
from headwater.models.backbones._encoder import Encoder, restore
from headwater.study.ct_windows import Window
from headwater.study.paths import seconds_of_training
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training import checkpoint, ddp, loop, methods
from headwater.training.collapse_monitor import Probed, Watch, probed
from headwater.training.tracking import Tracker


def pretrain(
    *,
    source: Source,
    size: int,
    cases: Path,
    images: Path,
    rows: Path,
    encoder: Path,
    history: Path,
    progress: Path,
    start: Path | None = None,
    probe_cases: Path | None = None,
    probe_images: Path | None = None,
    tracking: Tracking = Tracking(),  # noqa: B008
    threads: int = 1,
    device: ddp.Wanted = "auto",
) -> None:
    """Write the encoder that a source's method learns from the chosen rows of its corpus."""
    if source.method is None:
        raise UserError(f"source {source.name!r} has no method", remedy="give it method, corpus and training")
    methods.check(source.method.name, backbone=source.backbone, size=size)
    identity = _identity(source, size, [cases, rows, start, probe_cases])
    with (
        ddp.world(threads=threads, device=device) as world,
        timing.counted(seconds_of_training(history), identity=identity, writes=world.first) as told,
    ):
        corpus = _corpus(cases, images, size=size, seen=source.seen)
        chosen = _rows(corpus, rows)
        learner = _learner(source, corpus, chosen, encoder=_first_weights(source, size=size, start=start))
        probe = _probe(source, probe_cases, probe_images, size=size)
        watch = Watch(source=source, images=corpus.images, rows=chosen, world=world, probed=probe)
        named = {"group": f"pretrain/{source.name}", "name": source.name, "job": "pretrain"}
        with Tracker(history, record=source, tracking=tracking, world=world, **named) as tracker:
            fitted = loop.fit(
                learner,
                images=corpus.images,
                rows=chosen,
                targets=corpus.targets(chosen, corpus.labels),
                training=source.training,
                seed=source.seed,
                world=world,
                progress=progress,
                identity=identity,
                tracker=tracker,
                validate=watch.measured,
                select=watch.select,
                watch=watch.refuse_collapse,
            )
            kept = watch.features(learner.encoder)
            tracker.summary(kept)
        told |= {"images": len(chosen), "steps": fitted.steps, "ranks": world.size}
        if world.first:
            origin = _origin(corpus, cases=cases, rows=rows, kept=len(chosen), start=start, probe=probe_cases)
            _write(learner.encoder, encoder, described=_described(source, kept, fitted=fitted, origin=origin))


def _learner(source: Source, corpus: store.Prepared, rows: np.ndarray, *, encoder: Encoder) -> loop.Learner:
    """What learns from the rows of the corpus by the source's method."""
    seen = np.flatnonzero(corpus.cases["split"].isin(["train", "validation"]))
    return registry.load("methods", source.method.name).learner(
        encoder,
        options=registry.chosen("methods", source.method),
        views=source.views,
        size=corpus.size,
        labels=len(corpus.labels),
        task=tasks.kind_of(corpus.targets(seen, corpus.labels)),
        targets=corpus.targets(rows, corpus.labels),
        steps=loop.steps(source.training, cases=len(rows)),
    )


def _corpus(cases: Path, images: Path, *, size: int, seen: Window | None) -> store.Prepared:
    """The corpus; refuses one of another image size than the network is built for."""
    corpus = store.read(cases, images=images, seen=seen)
    if corpus.size != size:
        raise UserError(f"has images of {corpus.size} pixels, not {size}", file=images, remedy="run prepare again")
    return corpus


def _rows(corpus: store.Prepared, path: Path) -> np.ndarray:
    """The rows that a reduction kept; refuses rows of another table, and test images."""
    kept = tables.read_table(path, "rows")
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


def _first_weights(source: Source, *, size: int, start: Path | None) -> Encoder:
    """The encoder that is continued from, with its own normalisation, or one drawn under the source's seed."""
    if (source.start is None) != (start is None):
        raise UserError(
            f"source {source.name!r} starts from {source.start or 'random weights'}",
            remedy="give --start the encoder of that source, and of no other",
        )
    if start is None:
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, seed=source.seed)
    tensors, metadata = checkpoint.load_weights(start)
    return restore(tensors, metadata, name=source.backbone, size=size, file=start)[0]


def _probe(source: Source, cases: Path | None, images: Path | None, *, size: int) -> Probed | None:
    """What chooses the source's step, if anything does."""
    if (source.probe is None) == bool(cases or images) or bool(cases) != bool(images):
        raise UserError(
            f"source {source.name!r} has {'a' if source.probe else 'no'} probe",
            remedy="give --probe-cases and --probe-images of that archive, and of no other",
        )
    if source.probe is None:
        return None
    return probed(source.probe, _corpus(cases, images, size=size, seen=source.probe.seen), file=cases)


def _write(encoder: Encoder, path: Path, *, described: dict[str, str]) -> None:
    """The encoder, with what is to be known of it."""
    checkpoint.save_weights(encoder.tensors(), path, {**encoder.metadata(), **described})


def _described(
    source: Source, kept: dict[str, float], *, fitted: loop.Fitted, origin: dict[str, str | int]
) -> dict[str, str]:
    """What an encoder's file says of how it came about, and of what its features are like."""
    features = {name: f"{value:.6g}" for name, value in kept.items()}
    record = {"source": source.as_json(), "digest": source.digest, "origin": json.dumps(origin, sort_keys=True)}
    return record | features | _choice(source, fitted)


def _choice(source: Source, fitted: loop.Fitted) -> dict[str, str]:
    """Which step is kept, and why, where a probe chose it."""
    if source.probe is None:
        return {}
    found = {"archive": source.probe.archive, "kind": source.probe.kind, "auroc": fitted.score}
    return {"probe": json.dumps({**found, "step": fitted.kept_step, "of": fitted.steps}, sort_keys=True)}


def _origin(
    corpus: store.Prepared, *, cases: Path, rows: Path, kept: int, start: Path | None, probe: Path | None
) -> dict[str, str | int]:
    """Fingerprints of what was learned from: the corpus and its splits, the rows kept of it, the first weights.

    And of the cases that chose the step, if any did.
    """
    started = sha256(start) if start else RANDOM
    split = splits.digests(corpus.cases)[splits.ALL]
    return {"cases": sha256(cases), "split": split, "rows": sha256(rows), "kept": kept, "start": started} | (
        {"probe": sha256(probe)} if probe else {}
    )


def _identity(source: Source, size: int, files: list[Path | None]) -> str:
    """What must be the same for a stopped pre-training to go on."""
    contents = [sha256(file) for file in files if file is not None]
    return " ".join([source.digest, str(size), *contents])
