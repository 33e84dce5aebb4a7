"""What must be there before the first job: archives, their label files, checkpoints, models and packages; no torch."""

from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.models import backbones
from headwater.study import shared_labels
from headwater.study.archive import Archive
from headwater.study.config import Config
from headwater.study.source import Source
from headwater.training import methods


def check(config: Config) -> None:
    """Refuse a plan that must fail for want of something; one refusal tells all that is wanting."""
    if wrong := wanting(config):
        raise UserError((f"{len(wrong)} mistakes: " if len(wrong) > 1 else "") + "; ".join(wrong))


def wanting(config: Config) -> list[str]:
    """What a plan must fail for want of, one line each."""
    checks = (_archives, _labels, _probes, _backbones, _methods, _weights, _external, _packages)
    return [line for one in checks for line in one(config)]


def label_files(archive: Archive) -> list[str]:
    """The files of an archive that its cases are read from: `prepare` repeats when they change.

    None for an archive that comes with the software, which may lie elsewhere after the next installation.
    """
    return [str(file) for file in _label_files(archive)] if archive.folder else []


def _label_files(archive: Archive) -> list[Path]:
    """The files that the archive's plug-in finds; it refuses where one is absent."""
    options = registry.chosen("datasets", archive.kind)
    return registry.load("datasets", archive.kind.name).label_files(Path(archive.folder), options)


def _archives(config: Config) -> Iterable[str]:
    """Archives that are not where the config says."""
    for name, archive in config.archives.items():
        if archive.twin:
            if not archive.folder:
                yield f"archives.{name}.folder: missing; say where the twin shall lie"
            continue
        if archive.folder and not Path(archive.folder).is_dir():
            # a second reading lies where the first does
            if not archive.images_of:
                yield f"{archive.folder}: there is no such folder; mend archives.{name}.folder"
            continue
        try:
            _label_files(archive)
        except UserError as refusal:
            yield f"archives.{name}: {refusal}"


def _labels(config: Config) -> Iterable[str]:
    """Labels that the archive does not have."""
    for name, dataset in config.datasets.items():
        known = _known_labels(config.archives[dataset.archive]) if dataset.listed else ()
        for target, asked in dataset.asked.items():
            place = f"datasets.{name}.targets.{target}" if target else f"datasets.{name}"
            for label in asked.labels if known is not None else ():
                if label not in known:
                    yield f"{place}.labels: {dataset.archive} has no {label!r}; {did_you_mean(label, known)}"


def _probes(config: Config) -> Iterable[str]:
    """Probes by labels that the archive does not have."""
    for name, source in config.sources.items():
        if source.probe is None:
            continue
        archive = source.probe.archive
        known = _known_labels(config.archives[archive])
        if known is not None and not known:
            yield f"sources.{name}.probe.archive: {archive} has no labels; name another archive"
        for label in source.probe.labels if known else ():
            if label not in known:
                yield f"sources.{name}.probe.labels: {archive} has no {label!r}; {did_you_mean(label, known)}"


def _known_labels(archive: Archive) -> tuple[str, ...] | None:
    """The labels of an archive, from its file's text where they stand there word by word, else by importing it.

    None where only a table tells them that is not there, or refused elsewhere.
    """
    kind = archive.kind.name
    if written := registry.constant("datasets", kind, "CARD.labels", default=None):
        return written
    plugin = registry.load("datasets", kind)
    if not hasattr(plugin, "labels"):
        return plugin.CARD.labels
    with suppress(UserError):
        return plugin.labels(Path(archive.folder), registry.chosen("datasets", archive.kind))
    return None


def _backbones(config: Config) -> Iterable[str]:
    """Networks that their library does not know."""
    for name, source in config.sources.items():
        library, _, model = source.backbone.partition("/")
        known = backbones.models(library)
        # timm names a set of weights after a dot: vit_base_patch16_224.augreg_in21k
        if model.partition(".")[0] not in known:
            yield f"sources.{name}.backbone: {library} has no {model!r}; {did_you_mean(model, known)}"


def _methods(config: Config) -> Iterable[str]:
    """Methods that cannot train the network, or images of that size, or so many at once."""
    known = not list(_backbones(config))
    for name, source in config.sources.items():
        if known and source.method:
            try:
                size = config.archives[source.corpus].size
                methods.check(source.method.name, backbone=source.backbone, size=size)
            except UserError as refusal:
                yield f"sources.{name}.method: {refusal}"
            yield from _batches(config, source)


def _batches(config: Config, source: Source) -> Iterable[str]:
    """Queues shorter than a batch, and batches that no rank can deal into the groups that share BatchNorm."""
    batch = source.training.batch
    queue, group = _meant(source, "queue"), _meant(source, "group")
    if 0 < queue < batch:
        yield f"sources.{source.name}.method.queue: {queue} is shorter than batch {batch}; make it a few batches long"
    ranks = config.compute.of(source.compute).ranks
    # whether another network has BatchNorm is known once it is built
    grouped = group and backbones.family(source.backbone) == "timm/resnet" and not source.backbone.endswith("_gn")
    if grouped and batch % (group * ranks):
        yield (
            f"sources.{source.name}.training.batch: {batch} is not as many images for each of {ranks} ranks as make"
            f" groups of {group}; mend it or method.group"
        )


def _meant(source: Source, meaning: str) -> int:
    """What the option of a source's method says that declares to mean this; 0 where none does."""
    option = registry.option("methods", source.method.name, means=meaning)
    return getattr(registry.chosen("methods", source.method), option) if option else 0


def _weights(config: Config) -> Iterable[str]:
    """Checkpoints that are not there."""
    for name, source in config.sources.items():
        if source.weights and source.weights.path and not Path(source.weights.path).is_file():
            yield f"{source.weights.path}: there is no such file; mend sources.{name}.weights.path"


def _external(config: Config) -> Iterable[str]:
    """External validation of datasets of which no two share a finding."""
    if not config.comparison.external or list(_labels(config)):
        return
    grid = config.grid()
    if not any(shared_labels.abroad(grid, name).others for name in config.datasets):
        yield (
            "comparison.external: no two datasets share a finding; name labels that "
            "scripts/headwater/study/label_map.csv calls the same in two archives, or leave it out"
        )


def _packages(config: Config) -> Iterable[str]:
    """Packages that only some plans need."""
    if config.tracking.wandb != "disabled" and find_spec("wandb") is None:
        yield "tracking.wandb: the package wandb is not installed; pip install -e '.[wandb]', or say disabled"
