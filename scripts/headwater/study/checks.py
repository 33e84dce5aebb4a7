"""Mistakes in a config that no single key shows: names that point nowhere, and parts that do not fit each other."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Choice
from headwater.study import lineage
from headwater.study.archive import Archive, usual_window
from headwater.study.compute import Processes
from headwater.study.grid import EVERYTHING, Grid
from headwater.study.source import Source

if TYPE_CHECKING:
    from headwater.study.config import Config


NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
"""Names become folder names and Snakemake wildcards."""


NAMED = ("archives", "sources", "datasets", "recipes")
"""Sections whose entries know their own name."""

OWN_OF_A_SECOND_READING = {"name", "kind", "images_of", "projections", "window"}
"""What an archive that takes another's images may say of itself."""


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each thing in a config that no single key shows to be wrong."""
    checks = (
        _bad_names,
        _unknown_plugins,
        _unknown_trackers,
        _dangling,
        _bad_second_readings,
        _bad_windows,
        _bad_probes,
        _bad_likes,
        _bad_lookers,
        _bad_excuses,
        _unknown_origins,
        _undeclared,
        _twice,
        _uneven_shares,
        _small_batches,
        _bad_controls,
    )
    return (line for check in checks for line in check(config))


def _bad_names(config: "Config") -> Iterable[str]:
    """Names that cannot be a folder."""
    for section in ("archives", "sources", "datasets", "recipes", "reductions"):
        for name in getattr(config, section):
            if not re.fullmatch(NAME, name):
                yield f"{section}.{name}: use letters, digits, _ and - in names"
    for section in NAMED:
        for name, entry in getattr(config, section).items():
            if entry.name != name:
                yield f"{section}.{name}.name: an entry's name is its key; leave {entry.name!r} out"
    if config.reductions.get("everything", EVERYTHING) != EVERYTHING:
        yield "reductions.everything: that is what all images of a corpus are called; choose another name"
    if "macro" in config.datasets:
        yield "datasets.macro: that is what the mean over labels is called; choose another name"
    if len(set(config.seeds)) < len(config.seeds) or min(config.seeds) < 0:
        yield f"seeds: must be different numbers from 0 up (got {list(config.seeds)})"


def _unknown_plugins(config: "Config") -> Iterable[str]:
    """Plug-ins that no file stands for, and options that they do not have."""
    for place, family, choice in _choices(config):
        try:
            registry.chosen(family, choice)
        except UserError as refusal:
            yield f"{place}: {refusal}"
    for name, source in config.sources.items():
        library, slash, model = source.backbone.partition("/")
        if not slash or not model:
            yield f"sources.{name}.backbone: say library/model, such as timm/resnet50 (got {source.backbone!r})"
        elif library not in registry.names("backbones"):
            remedy = did_you_mean(library, registry.names("backbones"))
            yield f"sources.{name}.backbone: there is no library {library!r}; {remedy}"
        else:
            yield from _other_dimensions(source)
    for metric in config.comparison.metrics:
        yield from missing("comparison.metrics", metric, registry.names("metrics"))
    twins = registry.names("twins")
    for name, archive in config.archives.items():
        if archive.twin and archive.kind.name not in twins:
            remedy = did_you_mean(archive.kind.name, twins)
            yield f"archives.{name}.twin: {archive.kind.name} has no twin; {remedy}"


def _other_dimensions(source: Source) -> Iterable[str]:
    """A backbone for volumes, as every dataset is one of slices, and weights of networks for the other."""
    by_hand = "leave it out; scripts/adopt.py checks and rewrites weights for volumes by hand (config/README.md)"
    if source.dimensions != 2:
        yield f"sources.{source.name}.backbone: {source.backbone} takes volumes, and datasets are of slices; {by_hand}"
    elif source.weights and source.weights.layout.name in registry.names("weights") and source.misfit:
        yield f"sources.{source.name}.weights.layout: {source.misfit}; {by_hand}"


def _choices(config: "Config") -> Iterable[tuple[str, str, Choice]]:
    """(place in the config, family, choice) for each plug-in that is named with options."""
    for name, archive in config.archives.items():
        yield f"archives.{name}.kind", "datasets", archive.kind
    for name, reduction in config.reductions.items():
        yield f"reductions.{name}", "reductions", reduction
    for name, source in config.sources.items():
        if source.method:
            yield f"sources.{name}.method", "methods", source.method
        if source.weights:
            yield f"sources.{name}.weights.layout", "weights", source.weights.layout


def missing(place: str, name: str, names: Iterable[str]) -> Iterable[str]:
    """The complaint about a name that is not among others, if it is not."""
    if name not in names:
        yield f"{place}: there is no {name!r}; {did_you_mean(name, names)}"


def _unknown_trackers(config: "Config") -> Iterable[str]:
    """Trackers that no file stands for."""
    for tracker in config.tracking.also:
        yield from missing("tracking.also", tracker, registry.names("trackers"))


def _dangling(config: "Config") -> Iterable[str]:
    """Names that point nowhere."""
    for name, dataset in config.datasets.items():
        yield from missing(f"datasets.{name}.archive", dataset.archive, config.archives)
    for name, source in config.sources.items():
        if source.corpus:
            yield from missing(f"sources.{name}.corpus", source.corpus, config.archives)
        yield from missing(f"sources.{name}.reduction", source.reduction, {"everything", *config.reductions})
        if source.start:
            yield from missing(f"sources.{name}.start", source.start, config.sources)
            yield from _bad_start(config, name)


def _bad_second_readings(config: "Config") -> Iterable[str]:
    """Archives that take the images of one that is not there, or that differ from it in more than the labels."""
    for name, archive in config.archives.items():
        if archive.images_of is None:
            continue
        yield from missing(f"archives.{name}.images_of", archive.images_of, config.archives)
        first = config.archives.get(archive.images_of)
        if first is None:
            continue
        if first.images_of is not None:
            yield f"archives.{name}.images_of: {first.name} takes the images of {first.images_of}; name that"
        if first.kind.name != archive.kind.name:
            yield f"archives.{name}.kind: {first.name} is {first.kind.name}; its labels cannot be read otherwise"
        for key in sorted(Archive.model_fields.keys() - OWN_OF_A_SECOND_READING):
            if getattr(archive, key) != getattr(first, key):
                yield f"archives.{name}.{key}: its images and splits are those of {first.name}; leave it out"
        yield from _other_images(archive, first)


def _other_images(archive: Archive, first: Archive) -> Iterable[str]:
    """Options of a second reading by which its images or splits would be others than those it takes."""
    kind = archive.kind.name
    if kind != first.kind.name or kind not in registry.names("datasets"):
        return
    try:
        ours, theirs = registry.chosen("datasets", archive.kind), registry.chosen("datasets", first.kind)
    except UserError:
        # `_unknown_plugins` tells what is wrong with them
        return
    free = registry.constant("datasets", kind, "LABEL_OPTIONS", default=())
    for key in sorted(type(ours).model_fields.keys() - set(free)):
        if getattr(ours, key) != (wanted := getattr(theirs, key)):
            said = f"archives.{archive.name}.kind.{key}: its images and splits are those of {first.name}"
            yield f"{said}; say {wanted!r} as there, or leave images_of out"


def _bad_windows(config: "Config") -> Iterable[str]:
    """Windows of archives that hold no Hounsfield units, and windows that stand elsewhere than at their archive."""
    for name, archive in config.archives.items():
        if archive.window and archive.kind.name in registry.names("datasets") and not usual_window(archive):
            yield f"archives.{name}.window: {archive.kind.name} holds shades, not Hounsfield units; leave it out"
    for section in ("sources", "datasets"):
        for name, entry in getattr(config, section).items():
            if "seen" in entry.model_fields_set:
                yield f"{section}.{name}.seen: say it as `window` of the archive"
    for name, source in config.sources.items():
        if source.probe and "seen" in source.probe.model_fields_set:
            yield f"sources.{name}.probe.seen: say it as `window` of the archive"


def _bad_probes(config: "Config") -> Iterable[str]:
    """Probes of an archive that is not there, that is compared on, or whose images have another size."""
    compared = {_images_of(config, dataset.archive): name for name, dataset in config.datasets.items()}
    for name, source in config.sources.items():
        if source.probe is None:
            continue
        place, archive = f"sources.{name}.probe.archive", source.probe.archive
        yield from missing(place, archive, config.archives)
        if (dataset := compared.get(_images_of(config, archive))) is not None:
            yield (
                f"{place}: {archive} is compared on (datasets.{dataset}), and what chooses a source's step must be"
                " no test of it; name another archive"
            )
        sizes = [config.archives[name].size for name in (archive, source.corpus) if name in config.archives]
        if len(set(sizes)) > 1:
            yield f"{place}: its images have {sizes[0]} pixels, those of the corpus {sizes[1]}; give both one size"


def _images_of(config: "Config", archive: str) -> str:
    """The archive whose images these are."""
    return (config.archives[archive].images_of or archive) if archive in config.archives else archive


def _bad_likes(config: "Config") -> Iterable[str]:
    """Reductions that keep as many images as one that is not there, or that itself looks at another."""
    likes = list(_referring(config, "reduction"))
    for place, like in likes:
        yield from missing(place, like, {"everything", *config.reductions})
        if any(other.startswith(f"reductions.{like}.") for other, _ in likes):
            yield f"{place}: {like} itself keeps as many as another; name that, or one that measures"


def _referring(config: "Config", meaning: str) -> Iterable[tuple[str, str]]:
    """(place, name that it says) of each option of a reduction that its plug-in declares to mean this."""
    for name, reduction in config.reductions.items():
        if reduction.name in registry.names("reductions"):
            option = registry.option("reductions", reduction.name, means=meaning)
            if isinstance(named := reduction.options.get(option), str):
                yield f"reductions.{name}.{option}", named


def _leads_nowhere(config: "Config") -> bool:
    """Whether a name stands for nothing: that is told elsewhere, and without it there is no grid to look at."""
    checks = (_unknown_plugins, _dangling, _bad_second_readings, _bad_controls, _bad_likes)
    return any(line for check in checks for line in check(config))


def _bad_lookers(config: "Config") -> Iterable[str]:
    """Reductions by what the encoder of a source sees that is not there, or that itself waits for the reduction."""
    lookers = list(_referring(config, "source"))
    for place, looker in lookers:
        yield from missing(place, looker, config.sources)
    if not lookers or _leads_nowhere(config):
        return
    grid, reported = config.grid(), set()
    for name in config.sources:
        circle = _circle(grid, [name])
        if circle and not reported & set(circle):
            reported |= set(circle)
            yield f"reductions: {' -> '.join(circle)} is a circle of encoders that wait for each other; break it"


def _circle(grid: Grid, path: list[str]) -> list[str]:
    """A way from a source over what must be there before it back to itself; none of starts alone, told elsewhere."""
    for name in grid.before(path[-1]) if path[-1] in {source.name for source in grid.sources} else []:
        if name == path[0]:
            steps = zip(path, [*path[1:], name], strict=True)
            return [] if all(grid.source(later).start == earlier for later, earlier in steps) else [*path, name]
        if name not in path and (circle := _circle(grid, [*path, name])):
            return circle
    return []


def _bad_excuses(config: "Config") -> Iterable[str]:
    """Excuses for parts that the grid does not have, or for what no excuse is needed."""
    excused = config.leaks.excused
    if not excused or _leads_nowhere(config):
        return
    parts, declared = config.grid().overlaps.parts, lineage.declared(config.grid())
    for number, excuse in enumerate(excused):
        of_origin = [name for overlap in declared for name in (overlap.learned, overlap.test)]
        excusable = of_origin if excuse.kind == "declared" else parts
        for part in excuse.between:
            yield from missing(f"leaks.excused[{number}].between", part, excusable)
        if sum(part.endswith(" test") for part in excuse.between) != 1:
            yield f"leaks.excused[{number}].between: one of the two must be a test split; nothing else needs an excuse"


def _unknown_origins(config: "Config") -> Iterable[str]:
    """Origins that nobody knows: a slip of the pen would hide what is declared."""
    origins = lineage.known(config.archives.values())
    for name, source in config.sources.items():
        for origin in source.weights.trained_on if source.weights else ():
            yield from missing(f"sources.{name}.weights.trained_on", origin, origins)


def _undeclared(config: "Config") -> Iterable[str]:
    """Test splits that stem from the same scans as what is learned from, where nothing excuses it."""
    if _leads_nowhere(config):
        return
    excused = [set(excuse.between) for excuse in config.leaks.excused if excuse.kind == "declared"]
    for overlap in lineage.declared(config.grid()):
        if {overlap.learned, overlap.test} not in excused:
            excuse = f"{{kind: declared, between: [{overlap.learned}, {overlap.test}], reason: ...}}"
            yield (
                f"leaks: {overlap.learned} and {overlap.test} both stem from {' and '.join(overlap.origins)}, and"
                f" no file can show which patients they share; take another, or excuse it: leaks.excused: [{excuse}]"
            )


def _twice(config: "Config") -> Iterable[str]:
    """Controls and metrics that are named more than once."""
    for control, names in config.controls:
        if len(set(names)) < len(names):
            yield f"controls.{control}: a source stands there twice; take one out"
    if len(set(config.comparison.metrics)) < len(config.comparison.metrics):
        yield "comparison.metrics: a metric stands there twice; take one out"


def _uneven_shares(config: "Config") -> Iterable[str]:
    """Batches that the ranks cannot share evenly, and ranks that the nodes cannot."""
    trainings = {f"recipes.{name}": recipe for name, recipe in config.recipes.items()}
    trainings |= {f"sources.{name}": source for name, source in config.sources.items()}
    for place, entry in trainings.items():
        ranks, nodes = (processes := config.compute.of(entry.compute)).ranks, processes.nodes
        if entry.training is None:
            if entry.compute != Processes():
                yield f"{place}.compute: nothing is trained for this source itself; leave it out"
            continue
        asked = f"{place}.compute" if entry.compute != Processes() else "compute"
        if ranks % nodes:
            yield f"{asked}: {ranks} ranks cannot be shared evenly by {nodes} nodes; make ranks a multiple of nodes"
        if entry.training.batch % ranks:
            batch = f"{place}.training.batch: {entry.training.batch}"
            yield f"{batch} is no multiple of {asked}.ranks ({ranks}); make it one"


def _small_batches(config: "Config") -> Iterable[str]:
    """Batches in which a method has nothing to compare."""
    for name, source in config.sources.items():
        if source.method is None or source.training is None or source.method.name not in registry.names("methods"):
            continue
        least = registry.constant("methods", source.method.name, "SMALLEST_BATCH", default=1)
        if source.training.batch < least:
            yield (
                f"sources.{name}.training.batch: {source.method.name} compares images of a batch; "
                f"make it {least} or more"
            )


def _bad_start(config: "Config", name: str) -> Iterable[str]:
    """A start that leads back to itself, that has no weights, or that belongs to another network."""
    seen, here = [name], config.sources[name].start
    while here in config.sources:
        if here in seen:
            yield f"sources.{name}.start: {' -> '.join([*seen, here])} is a circle; break it"
            return
        seen.append(here)
        here = config.sources[here].start
    start, backbone = config.sources.get(config.sources[name].start), config.sources[name].backbone
    if start and start.kind == "random":
        yield f"sources.{name}.start: {start.name} is a random start and has no weights; leave start out"
    if start and start.backbone != backbone:
        yield f"sources.{name}.start: {start.name} is a {start.backbone}, this is a {backbone}; use one backbone"


def _bad_controls(config: "Config") -> Iterable[str]:
    """Controls of no source or under a taken name, and controls that stand among the sources."""
    for name, source in config.sources.items():
        for key in sorted(source.model_fields_set & {"control", "of"}):
            yield f"sources.{name}.{key}: a control is no source of its own; name it under controls"
    for control, names in config.controls:
        for name in names:
            yield from missing(f"controls.{control}", name, config.sources)
            if f"{name}_{control}" in config.sources:
                yield f"controls.{control}: a source is called {name}_{control} already; rename that source"
