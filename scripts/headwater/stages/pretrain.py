"""Pretrain: a network learns from the images of a corpus, and its encoder is saved as a source of initial weights."""

from pathlib import Path

from headwater.core import timing
from headwater.core.errors import UserError
from headwater.core.files import write_json
from headwater.study.archive import sized
from headwater.study.paths import figures_of_features, seconds_of_training
from headwater.study.source import Source
from headwater.study.tracking import Tracking
from headwater.training import ddp, methods, pretraining
from headwater.training.checkpoint import print_once
from headwater.training.collapse_monitor import CollapseMonitor
from headwater.training.tracking import Trackers


def pretrain(
    *,
    source: Source,
    size: list[int],
    cases: Path,
    images: Path,
    rows: Path,
    encoder: Path,
    history: Path,
    progress: Path,
    start: Path | None = None,
    probe_cases: list[Path] | None = None,
    probe_images: list[Path] | None = None,
    dropped: Path | None = None,
    probe_dropped: list[Path] | None = None,
    tracking: Tracking = Tracking(),  # noqa: B008
    threads: int = 1,
    device: ddp.DeviceChoice = "auto",
    compile: bool = False,
    fsdp: bool = False,
    gpu_memory: float | None = None,
) -> None:
    """Write the encoder that a source's method learns from the kept rows of its corpus.

    The cases that DROPPED lists are not among them; PROBE_DROPPED are those of the archives of probes, in the order of
    the source's. SIZE: pixels across, or three sides of volumes. GPU_MEMORY in GB is for `accumulate: auto`.
    """
    if source.method is None:
        raise UserError(f"source {source.name!r} has no method", remedy="give it method, corpus and training")
    size = sized(size)
    methods.check(source.method.name, backbone=source.backbone, size=size)
    methods.check_options(source.method, backbone=source.backbone)
    probe = {"probe_cases": probe_cases or (), "probe_images": probe_images or (), "probe_dropped": probe_dropped or ()}
    files = pretraining.Files(cases=cases, images=images, rows=rows, start=start, dropped=dropped, **probe)
    identity = files.identity(source, size=size)
    with (
        ddp.world(threads=threads, device=device, compile=compile, fsdp=fsdp, gpu_memory=gpu_memory) as world,
        timing.counted(seconds_of_training(history), identity=identity, writes=world.first) as record,
    ):
        corpus = pretraining.corpus_of(cases, images, size=size, seen=source.seen, view=source.view, dropped=dropped)
        kept_rows = pretraining.rows_of(corpus, rows)
        first = pretraining.first_weights(source, size=size, start=start)
        learner = pretraining.learner_of(source, corpus, kept_rows, encoder=first)
        probed = pretraining.probe_sets_of(source, files, size=size)
        monitor = CollapseMonitor(source=source, images=corpus.images, rows=kept_rows, world=world, probed=probed)
        names = {"group": f"pretrain/{source.name}", "name": source.name, "job": "pretrain"}
        read = {"content": identity, "encoder": start}
        with Trackers(history, record=source, tracking=tracking, world=world, **read, **names) as tracker:
            common = {"source": source, "corpus": corpus, "rows": kept_rows, "monitor": monitor, "world": world}
            fitted = pretraining.fit(learner, progress=progress, identity=identity, tracker=tracker, **common)
            quality = monitor.quality(learner)
            tracker.summary({**quality, **fitted.kept})
            record_of_features = monitor.record(quality, encoder=learner.encoder, step=fitted.kept_step)
            if world.first:
                write_json(record_of_features, figures_of_features(history))
                made = {"features": quality, "origin": pretraining.origin_of(source, corpus, kept_rows, files=files)}
                pretraining.save(learner.encoder, encoder, source=source, fitted=fitted, **made)
                tracker.made(encoder)
                print_once(pretraining.said_at_the_end(source, fitted, quality=quality))
        record |= {"images": len(kept_rows), "steps": fitted.steps, **world.record}
