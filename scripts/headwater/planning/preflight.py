"""Preflight checks before the first job: archives, label files, weights files, models and packages; without torch."""

import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean, together
from headwater.models import backbones
from headwater.study import hosting, shared_labels
from headwater.study.archive import Archive, ndim_of
from headwater.study.config import Config
from headwater.study.idle_keys import changed
from headwater.study.paths import Paths
from headwater.study.source import Source
from headwater.study.target import of_numbers
from headwater.study.text_checks import unfit_labels
from headwater.study.tracking import MLFLOW_SERVER
from headwater.training import methods

SERVICE_PACKAGES = (("wandb", "wandb"), ("mlflow", "mlflow"), ("mlflow", "alembic"))
"""Packages that are installed by an extra of the service's name; what is written for ClearML needs none."""

PIXELS_OF_LAST_MAP = 32
"""Pixels of an image, across, for each pixel of a ResNet's last maps."""


@dataclass(kw_only=True)
class Preflight:
    """What is known of a study before its first job."""

    mistakes: list[str] = field(default_factory=list)
    """What would fail later, one line for each."""
    notes: list[str] = field(default_factory=list)
    """What will not fail, but may surprise at the end."""


def check(config: Config) -> None:
    """Refuse a study that would fail later, with one error that lists all reasons; print what else is worth knowing."""
    outcome = examined(config)
    if outcome.mistakes:
        raise together(outcome.mistakes)
    for note in outcome.notes:
        print(f"headwater: note: {note}", file=sys.stderr, flush=True)


def mistakes(config: Config) -> list[str]:
    """One line for each file, label, network or package that a study needs and that is missing."""
    return examined(config).mistakes


def examined(config: Config) -> Preflight:
    """The mistakes and notes of a study."""
    outcome = Preflight()
    outcome.mistakes += _archives(config, outcome)
    for check_of in (_labels, _probes, _backbones, _methods, _parts, _weights, _external, _packages, _hosted):
        outcome.mistakes += check_of(config)
    outcome.notes += _tight(config)
    return outcome


def label_files(archive: Archive) -> list[str]:
    """The files from which an archive's cases are read: `prepare` is repeated when they change.

    None for an archive that comes with the software, as the next installation may put it elsewhere.
    """
    return [str(file) for file in _label_files(archive)] if archive.folder else []


def _label_files(archive: Archive) -> list[Path]:
    """The label files by the archive's plug-in, which raises an error if one is missing."""
    options = registry.chosen("datasets", archive.kind)
    return registry.load("datasets", archive.kind.name).label_files(Path(archive.folder), options)


def _archives(config: Config, outcome: Preflight) -> Iterable[str]:
    """Archives whose folder or label files are missing, or whose tables `prepare` would refuse; adds what they tell."""
    ready = []
    for name, archive in config.archives.items():
        if archive.twin:
            if not archive.folder:
                yield f"archives.{name}.folder: missing; set the folder in which to make the twin"
                continue
        elif archive.folder and not Path(archive.folder).is_dir():
            # a second reading has the folder of the first, which is reported already
            if not archive.images_of:
                yield f"{archive.folder}: there is no such folder; correct archives.{name}.folder"
            continue
        else:
            try:
                _label_files(archive)
            except UserError as refusal:
                yield f"archives.{name}: {refusal}"
                continue
            plugin, options = registry.load("datasets", archive.kind.name), registry.chosen("datasets", archive.kind)
            told = plugin.notes(options) if hasattr(plugin, "notes") else ()
            outcome.notes += [f"archives.{name}: {note}" for note in told]
        ready.append(archive)
    yield from _tables(config, ready, outcome)


def _tables(config: Config, archives: list[Archive], outcome: Preflight) -> Iterable[str]:
    """What `prepare` would refuse of the tables of archives; adds notes on datasets with few patients."""
    looked_at = [archive for archive in archives if _has_tables(archive, results=config.results)]
    if not looked_at:
        return
    # not at the top: pandas takes longer to import than a plan of twins to check
    from headwater.planning import few_patients, table_checks

    counts, faults = {}, set()
    for archive in looked_at:
        tables = table_checks.examined(archive, results=config.results)
        if tables.counts is not None:
            counts[archive.name] = tables.counts
        for line in tables.mistakes:
            # a second reading may have the fault of the first
            fault = line.removeprefix(f"archives.{archive.name}: ")
            if fault not in faults:
                yield line
            faults.add(fault)
    yield from few_patients.too_many_folds(config, counts)
    outcome.notes += few_patients.notes(config, counts)


def _has_tables(archive: Archive, *, results: str) -> bool:
    """Whether there is anything to look at: not so of twins still to be made.

    Archives that come with the software are as they are, unless their options say otherwise.
    """
    own = not archive.twin and bool(archive.folder or archive.kind.options)
    return own or Path(Paths(results).cases(archive.name)).exists()


def _labels(config: Config) -> Iterable[str]:
    """Labels that the archive does not have, and labels of an archive that cannot be shown."""
    for name, dataset in config.datasets.items():
        labels = _labels_of(config.archives[dataset.archive])
        if not dataset.listed:
            choose = f"or choose others by datasets.{name}.labels"
            # the config check has seen those that are listed, and nobody sees the others
            yield from (f"archives.{dataset.archive}: {why}, {choose}" for why in unfit_labels(labels or ()))
        for target, asked in dataset.asked.items():
            place = f"datasets.{name}.targets.{target}" if target else f"datasets.{name}"
            known = _numbers_of(config.archives[dataset.archive]) if of_numbers(asked.task) else labels
            for label in asked.labels if known is not None else ():
                if label not in known:
                    yield f"{place}.labels: {dataset.archive} has no {label!r}; {did_you_mean(label, known)}"
            if known is not None and not known and of_numbers(asked.task):
                yield f"{place}.task: {dataset.archive} has no numbers; use another task"


def _probes(config: Config) -> Iterable[str]:
    """Labels of probes that the archive does not have."""
    probes = [
        (f"sources.{name}.{key}", probe)
        for name, source in config.sources.items()
        for key, probe in source.probes.items()
    ]
    for place, probe in probes:
        labels = _labels_of(config.archives[probe.archive])
        if labels is not None and not labels:
            yield f"{place}.archive: {probe.archive} has no labels; name another archive"
        for label in probe.labels if labels else ():
            if label not in labels:
                yield f"{place}.labels: {probe.archive} has no {label!r}; {did_you_mean(label, labels)}"


def _numbers_of(archive: Archive) -> tuple[str, ...]:
    """The names of the numbers that an archive has of its cases."""
    plugin = registry.load("datasets", archive.kind.name)
    return plugin.numbers(registry.chosen("datasets", archive.kind)) if hasattr(plugin, "numbers") else ()


def _labels_of(archive: Archive) -> tuple[str, ...] | None:
    """The labels of an archive; none if they depend on a missing or invalid table, which `_archives` reports."""
    kind = archive.kind.name
    # most cards of pictures list them literally, and reading those spares the import of pandas; structures of volumes
    # depend on their masks
    if (literal := registry.constant("datasets", kind, "CARD.labels", default=None)) and ndim_of(archive) == 2:
        return literal
    plugin = registry.load("datasets", kind)
    if not hasattr(plugin, "labels"):
        return plugin.CARD.labels
    with suppress(UserError):
        return plugin.labels(Path(archive.folder), registry.chosen("datasets", archive.kind))
    return None


def _backbones(config: Config) -> Iterable[str]:
    """Networks that their library does not have."""
    for name, source in config.sources.items():
        library, _, model = source.backbone.partition("/")
        models = backbones.models(library)
        # timm names a set of weights after a dot: vit_base_patch16_224.augreg_in21k
        if model.partition(".")[0] not in models:
            yield f"sources.{name}.backbone: {library} has no {model!r}; {did_you_mean(model, models)}"


def _methods(config: Config) -> Iterable[str]:
    """Methods that cannot train the network, the size of the images or the batch."""
    backbones_exist = not list(_backbones(config))
    for name, source in config.sources.items():
        if backbones_exist and source.method:
            try:
                size = config.grid().size_of_encoder(name)
                methods.check(source.method.name, backbone=source.backbone, size=size)
                methods.check_options(source.method, backbone=source.backbone)
            except UserError as refusal:
                yield f"sources.{name}.method: {refusal}"
            yield from _batches(config, source)
            yield from _in_parts(source)
    if backbones_exist:
        yield from _single_images(config)
        yield from _unsuited(config)


def _parts(config: Config) -> Iterable[str]:
    """Views that the patches of a vision transformer do not fill."""
    grid = config.grid()
    seen = [(source, f"sources.{source.name}.view", source.view) for source in grid.sources if not source.control]
    seen += [
        (source, f"datasets.{dataset.name}.view", dataset.view)
        for dataset in grid.datasets
        for source in grid.fitted_to(dataset.name)
    ]
    for source, place, view in seen:
        patch = re.search(r"_patch(\d+)_", f"{source.backbone}_")
        of_patches = patch and backbones.family(source.backbone) == "timm/vision_transformer"
        if view and of_patches and view % (side := int(patch[1])):
            nearest = max(1, round(view / side)) * side
            needs = f"{source.backbone} takes multiples of its patch of {side} pixels"
            yield f"{place}: {needs} (got {view}); set {nearest}"


def _batches(config: Config, source: Source) -> Iterable[str]:
    """Queues shorter than a batch, and batches that the ranks cannot split into groups that share BatchNorm."""
    batch = source.training.batch
    queue, group = _option(source, "queue"), _option(source, "group")
    if 0 < queue < batch:
        yield f"sources.{source.name}.method.queue: must be 0 or >= training.batch ({batch}, got {queue})"
    ranks = config.compute.of(source.compute).ranks
    # of other families it is not known without building the network whether they have BatchNorm
    grouped = group and backbones.has_batch_norm(source.backbone)
    if grouped and batch % (group * ranks):
        yield (
            f"sources.{source.name}.training.batch: must be a multiple of method.group ({group}) times ranks ({ranks},"
            f" got {batch})"
        )


def _in_parts(source: Source) -> Iterable[str]:
    """Batches in parts of a method that compares their images, where BatchNorm would show which are of one part."""
    method, backbone = source.method.name, source.backbone
    if changed(source.training, "accumulate") and not methods.takes_parts(method, backbone=backbone):
        yield (
            f"sources.{source.name}.training.accumulate: {method} compares the images of a batch, and by its BatchNorm"
            f" {backbone} could tell which of them are of one part without looking at them; remove it, and lower batch"
            " or raise compute.ranks, or take a network with LayerNorm"
        )


def _single_images(config: Config) -> Iterable[str]:
    """Batches of one image that leave BatchNorm one value per channel: a ResNet's last maps have a pixel for 32."""
    grid = config.grid()
    trainings = [
        (f"recipes.{recipe.name}", recipe.training, grid.size_in(dataset, source=source.name), source)
        for dataset in grid.datasets
        for recipe in config.recipes.values()
        for source in config.sources.values()
        if recipe.kind == "finetune" and dataset.takes(source.name) and dataset.follows(recipe.name)
    ]
    trainings += [
        (f"sources.{source.name}", source.training, grid.size_of_encoder(source.name), source)
        for source in config.sources.values()
        if source.method
    ]
    lines = {
        f"{place}.training.batch: a batch of 1 image of {_longest(size)} pixels leaves BatchNorm layers "
        f"of {source.backbone} one value per channel, which has no variance; raise batch to 2 or more"
        for place, training, size, source in trainings
        if training.batch == 1
        and backbones.family(source.backbone) == "timm/resnet"
        and _longest(size) <= PIXELS_OF_LAST_MAP
        and not source.backbone.endswith("_gn")
    }
    return sorted(lines)


def _unsuited(config: Config) -> Iterable[str]:
    """Gradient checkpointing of networks of which it is not known to keep less, and drop path of those without."""
    trained = [(f"sources.{source.name}", source.training, source) for source in config.sources.values()]
    trained += [
        (f"recipes.{recipe.name}", recipe.training, source)
        for dataset in config.datasets.values()
        for recipe in config.recipes.values()
        for source in config.sources.values()
        if dataset.takes(source.name) and dataset.follows(recipe.name)
    ]
    trained = [(place, training, source) for place, training, source in trained if training]
    lines = {
        f"{place}.training.checkpointing: gradient checkpointing of {source.backbone} is not known to keep less; remove"
        " it, and raise accumulate or compute.ranks"
        for place, training, source in trained
        if training.checkpointing and not backbones.is_checkpointed(source.backbone)
    }
    lines |= {
        f"{place}.training.drop_path: {source.backbone} leaves out no blocks; remove it, or choose another backbone"
        for place, training, source in trained
        if training.drop_path and not backbones.is_dropped(source.backbone)
    }
    return sorted(lines)


def _longest(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else max(size)


def _option(source: Source, meaning: str) -> int:
    """The value of the method's option that has this meaning; 0 if it has none."""
    option = registry.option("methods", source.method.name, means=meaning)
    return getattr(registry.chosen("methods", source.method), option) if option else 0


def _weights(config: Config) -> Iterable[str]:
    """Weights files that are missing or folders, or are no checkpoint by their first bytes."""
    for name, source in config.sources.items():
        if not source.weights or not source.weights.path:
            continue
        file = Path(source.weights.path)
        if not file.is_file():
            what = "is a folder" if file.is_dir() else "there is no such file"
            yield f"{source.weights.path}: {what}; correct sources.{name}.weights.path"
            continue
        # not at the top: it needs numpy
        from headwater.models import checkpoint_kind

        try:
            checkpoint_kind.check(file)
        except UserError as refusal:
            yield f"sources.{name}.weights.path: {refusal}"


def _external(config: Config) -> Iterable[str]:
    """External validation where no two datasets share a finding."""
    if not config.comparison.external or list(_labels(config)):
        return
    grid = config.grid()
    if not any(shared_labels.abroad(grid, name).others for name in config.datasets):
        yield (
            "comparison.external: no two datasets share a finding; list labels that "
            "scripts/headwater/study/label_map.csv calls the same in two archives, name structures alike, or remove it"
        )


def _hosted(config: Config) -> Iterable[str]:
    """Live curves on a server of a study whose archives are not to leave the machine."""
    tracking = config.tracking
    tables = ", or if its terms allow tables of results: aggregates_only: true"
    live = {"wandb": f"set offline, or disabled{tables}", "mlflow": "set offline, or disabled"}
    for service, remedy in live.items():
        if getattr(tracking, service) == "online" and service in tracking.trackers:
            for name in hosting.not_hosted(config):
                yield (
                    f"tracking.{service}: online, but nothing of archives.{name} may go to a server outside; {remedy}"
                )


def _tight(config: Config) -> Iterable[str]:
    """Trainings that do not fit into the memory of a GPU, as far as both are known."""
    if config.compute.gpu_memory is None:
        return []
    # not at the top: it looks at all jobs, and few configs ask for it
    from headwater.planning import memory_forecast

    return memory_forecast.tight(config, folder=Path())


def _packages(config: Config) -> Iterable[str]:
    """Optional packages that a study needs and that are not installed, and servers that it cannot find."""
    for service, package in SERVICE_PACKAGES:
        if service in config.tracking.services and find_spec(package) is None:
            remedy = f"pip install -e '.[{service}]', or set disabled"
            yield f"tracking.{service}: the package {package} is not installed; {remedy}"
    if config.tracking.mlflow == "online" and not os.environ.get(MLFLOW_SERVER):
        yield f"tracking.mlflow: online, but {MLFLOW_SERVER} is not set; export it, or set offline"
