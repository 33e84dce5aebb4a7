"""Pre-training: a source's corpus, initial weights and learner, and the encoder that is saved."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.fingerprints import RANDOM, sha256
from headwater.data import dropping, prepared, splits, store
from headwater.data.reduction import ROWS
from headwater.models import backbones, tasks
from headwater.models.encoder import Encoder, Size, refuse_other_source, restore
from headwater.models.tasks import Task
from headwater.models.weight_files import load_weights, save_weights
from headwater.study.ct_windows import Window
from headwater.study.intensity import Intensity
from headwater.study.source import Source
from headwater.training import collapse_monitor, feature_views, loop, views
from headwater.training.checkpoint import print_once
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
    """The encoder to continue from."""
    probe_cases: Sequence[Path] = ()
    """One of each probe, as of the next two, in the order of `Source.probes`."""
    probe_images: Sequence[Path] = ()
    dropped: Path | None = None
    """The list of the corpus's cases that are dropped from training, if the study resolves leaks."""
    probe_dropped: Sequence[Path] = ()

    def identity(self, source: Source, *, size: Size) -> str:
        """What must be unchanged for an unfinished pre-training to resume."""
        read = (self.cases, self.rows, self.start, *self.probe_cases, self.dropped, *self.probe_dropped)
        return " ".join([source.digest, str(size), *(sha256(file) for file in read if file is not None)])


def corpus_of(
    cases: Path,
    images: Path,
    *,
    size: Size,
    seen: Window | Intensity | None,
    view: int | None = None,
    dropped: Path | None = None,
) -> store.Prepared:
    """The corpus, with CT windowed by `seen`; refuses another image size than the network is built for.

    That is the `view` in which larger pictures are seen, if there is one.
    """
    patch = None if isinstance(size, int) else size
    corpus = prepared.read(cases, images=images, seen=seen, patch=patch, dropped=dropped)
    if corpus.seen_in(view) != size:
        raise UserError(f"has images of {corpus.size} pixels, not {size}", file=images, remedy="run prepare again")
    return corpus


def rows_of(corpus: store.Prepared, path: Path) -> np.ndarray:
    """The rows that a reduction kept; refuses rows of another table of cases, and test images."""
    table = ROWS.read(path)
    rows = table["row"].to_numpy()
    if not len(rows):
        raise UserError("keeps no image", file=path, remedy="choose a reduction that keeps some")
    # numpy would count negative rows from the end; case names are compared because row numbers alone would also fit a
    # table that was made anew in another order
    if (
        rows.min() < 0
        or rows.max() >= len(corpus.cases)
        or (corpus.cases["case"].to_numpy()[rows] != table["case"]).any()
    ):
        raise UserError("was made for another table of cases", file=path, remedy="delete it and run reduce again")
    splits_of = corpus.cases["split"].iloc[rows]
    if splits_of.str.startswith(dropping.OUT).any():
        raise UserError("contains images that are dropped from training", file=path, remedy="run reduce again")
    if (splits_of == "test").any():
        raise UserError(
            "contains test images, which pre-training must not use",
            file=path,
            remedy="delete it and run reduce again",
        )
    return rows


def first_weights(source: Source, *, size: Size, start: Path | None) -> Encoder:
    """The encoder to continue from, with its own normalisation, or one with random weights from the source's seed."""
    if (source.start is None) != (start is None):
        raise UserError(
            f"source {source.name!r} starts from {source.start or 'random weights'}",
            remedy=f"pass that source's encoder to --start (got {start})" if source.start else "leave --start out",
        )
    if start is None:
        drawn = {"seed": source.seed, "zero_residual": source.initialisation == "zero_residual"}
        return backbones.build(source.backbone, size=size, mean=source.mean, std=source.std, **drawn)
    tensors, metadata = load_weights(start)
    refuse_other_source(metadata, source.start, file=start)
    return restore(tensors, metadata, name=source.backbone, size=size, file=start)[0]


def learner_of(source: Source, corpus: store.Prepared, rows: np.ndarray, *, encoder: Encoder) -> loop.Learner:
    """The learner of the source's method for these rows of the corpus."""
    views.of(encoder).check(source.views, channels=corpus.images.shape[1])
    _say_that_colours_stay(source, channels=corpus.images.shape[1])
    _say_that_views_are_alike(source)
    # the form of the task is read from all targets but the test split's, so that a reduction does not change it
    not_test = np.flatnonzero(corpus.cases["split"].isin(["train", "validation"]))
    plugin = registry.load("tasks", tasks.OF_A_CORPUS)
    form = plugin.form(plugin.targets(corpus, not_test, labels=corpus.labels))
    return registry.load("methods", source.method.name).learner(
        encoder,
        options=registry.chosen("methods", source.method),
        views=source.views,
        size=encoder.size,
        labels=len(corpus.labels),
        task=Task(name=tasks.OF_A_CORPUS, labels=tuple(corpus.labels), form=form),
        targets=plugin.targets(corpus, rows, labels=corpus.labels),
        steps=loop.steps(source.training, cases=len(rows)),
    )


def _say_that_colours_stay(source: Source, *, channels: int) -> None:
    """Tell of a comparison of views that have the colours of their picture, and need nothing else to be told apart."""
    compares = registry.constant("methods", source.method.name, "VIEWS", default=None)
    if compares and channels == 3 and not source.views.hue:
        print_once(
            f"{source.method.name}: the views of a picture keep its hue, so it can be told from others by its colours"
            " alone, and little else may be learned; set views.hue and views.saturation (docs/how-to/views.md)"
        )


def _say_that_views_are_alike(source: Source) -> None:
    """Tell of a method that shows each image as it is, so that two views of it have nothing to agree on."""
    if not feature_views.differ(source):
        print_once(
            f"{source.method.name}: `views` changes nothing, so alignment and LiDAR, which compare views of an image,"
            " are left out"
        )


def probe_sets_of(source: Source, files: Files, *, size: Size) -> dict[str, ProbeSet]:
    """The images and targets of the source's feature probes, by the place of their keys."""
    count, dropped = len(source.probes), files.probe_dropped
    if {len(files.probe_cases), len(files.probe_images), len(dropped) or count} != {count}:
        probes = {0: "no probe", 1: "a probe"}.get(count, f"{count} probes")
        remedy = f"give {count} of each of" if count > 1 else "give" if count else "leave out"
        raise UserError(
            f"source {source.name!r} has {probes}",
            remedy=f"{remedy} --probe-cases, --probe-images (and --probe-dropped)",
        )
    read = zip(source.probes.items(), files.probe_cases, files.probe_images, dropped or [None] * count, strict=True)
    return {
        key: collapse_monitor.probe_set(
            probe, corpus_of(cases, images, size=size, seen=probe.seen, view=source.view, dropped=out), file=cases
        )
        for (key, probe), cases, images, out in read
    }


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
    """Train a source's learner, which then holds the last weights, or those that the feature probe chose."""
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


def said_at_the_end(source: Source, fitted: loop.Fitted, *, quality: dict[str, float]) -> str:
    """The last line of the log: which step was kept and why, the quality of its features, the loss and the waiting."""
    kept = f"step {fitted.kept_step} of {fitted.steps} is kept"
    if source.probe:
        kept += f", with the best AUROC ({fitted.score:.3g}, {source.probe.kind} on {source.probe.archive})"
    told = ", ".join(f"{name} {value:.3g}" for name, value in quality.items())
    loss = [] if fitted.loss is None else [f"training loss at the end {fitted.loss:.3g}"]
    waiting = [] if fitted.waiting is None else [f"{100 * fitted.waiting:.0f} % of the time waiting for images"]
    return "; ".join([f"{source.name}: {kept}", f"its features: {told}", *loss, *waiting])


def save(
    encoder: Encoder,
    path: Path,
    *,
    source: Source,
    features: dict[str, float],
    fitted: loop.Fitted,
    origin: dict[str, str | int],
) -> None:
    """Save the encoder with its source, origin, the features' spread and rank, and the kept step as metadata."""
    record = {"source": source.as_json(), "digest": source.digest, "origin": json.dumps(origin, sort_keys=True)}
    if fitted.parts != source.training.accumulate:
        record["accumulate"] = str(fitted.parts)
    # the other figures are in a record of their own, so that encoders keep their bytes
    spreads = {name: f"{features[name]:.6g}" for name in ("spread", "rank")}
    save_weights(encoder.tensors(), path, {**encoder.metadata(), **record, **spreads, **_choice(source, fitted)})


def _choice(source: Source, fitted: loop.Fitted) -> dict[str, str]:
    """The kept step and its score, if a feature probe chose it."""
    if source.probe is None:
        return {}
    probe = {"archive": source.probe.archive, "kind": source.probe.kind, "auroc": fitted.score}
    return {"probe": json.dumps({**probe, "step": fitted.kept_step, "of": fitted.steps}, sort_keys=True)}


def origin_of(source: Source, corpus: store.Prepared, rows: np.ndarray, *, files: Files) -> dict[str, str | int]:
    """Fingerprints of the inputs: corpus, splits, kept rows, initial weights, and the cases of probes."""
    origin = {
        "cases": sha256(files.cases),
        "split": splits.digests(corpus.cases)[splits.ALL],
        "rows": sha256(files.rows),
        "kept": len(rows),
        "start": sha256(files.start) if files.start else RANDOM,
    }
    probed = dict(zip(source.probes, files.probe_cases, strict=True))
    dropped = files.probe_dropped or [None] * len(source.probes)
    left_out = {f"{key}_dropped": file for key, file in zip(source.probes, dropped, strict=True)}
    others = {**probed, "dropped": files.dropped, **left_out}
    return origin | {name: sha256(file) for name, file in others.items() if file}
