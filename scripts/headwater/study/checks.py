"""Mistakes in a config that only several keys together show: undefined names, and parts that contradict each other."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Choice
from headwater.study import input_contract, lineage
from headwater.study.archive import Archive, ndim_of, usual_window
from headwater.study.compute import Processes
from headwater.study.grid import Grid
from headwater.study.leaks import is_leak
from headwater.study.source import Source
from headwater.study.tracking import SERVICES

if TYPE_CHECKING:
    from headwater.study.config import Config


OWN_OF_A_SECOND_READING = {"name", "kind", "images_of", "projections", "view", "window", "intensity"}
"""Keys that an archive with `images_of` may set itself; all others come from the archive whose images it uses."""


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each mistake that pydantic, which sees one key at a time, cannot find."""
    checks = (
        _unknown_plugins,
        _bad_tracking,
        _undefined_names,
        _bad_second_readings,
        _bad_windows,
        _bad_probes,
        _bad_size_references,
        _bad_encoder_references,
        _unneeded_sources,
        _bad_recipes,
        _bad_excuses,
        _unknown_origins,
        _undeclared_overlaps,
        _duplicates,
        _uneven_ranks,
        _small_batches,
        _bad_controls,
        input_contract.mistakes,
    )
    return (line for check in checks for line in check(config))


def _unknown_plugins(config: "Config") -> Iterable[str]:
    """Plug-ins that do not exist, and options that they do not have."""
    for place, family, choice in _choices(config):
        try:
            registry.chosen(family, choice)
        except UserError as refusal:
            yield f"{place}: {refusal}"
    for name, source in config.sources.items():
        library, slash, model = source.backbone.partition("/")
        if not slash or not model:
            yield f"sources.{name}.backbone: must be library/model, such as timm/resnet50 (got {source.backbone!r})"
        elif library not in registry.names("backbones"):
            remedy = did_you_mean(library, registry.names("backbones"))
            yield f"sources.{name}.backbone: there is no library {library!r}; {remedy}"
        else:
            yield from _other_dimensions(config, source)
    for metric in config.comparison.metrics:
        yield from missing("comparison.metrics", metric, registry.names("metrics"))
    twins = registry.names("twins")
    for name, archive in config.archives.items():
        if archive.twin and archive.kind.name not in twins:
            remedy = did_you_mean(archive.kind.name, twins)
            yield f"archives.{name}.twin: {archive.kind.name} has no twin; {remedy}"


def _other_dimensions(config: "Config", source: Source) -> Iterable[str]:
    """A backbone for volumes where datasets hold pictures, and weights whose dimensions are not the backbone's."""
    by_hand = "remove the source; scripts/adopt.py converts weights for volumes by hand (config/README.md)"
    fitted = (dataset.archive for dataset in config.datasets.values() if dataset.takes(source.name))
    used = [*source.archives, *fitted]
    pictures = any(ndim_of(config.archives[name]) == 2 for name in used if name in config.archives)
    if source.dimensions != 2 and pictures:
        yield f"sources.{source.name}.backbone: {source.backbone} takes volumes, but datasets hold slices; {by_hand}"
    elif source.weights and source.weights.layout.name in registry.names("weights") and source.misfit:
        yield f"sources.{source.name}.weights.layout: {source.misfit}; {by_hand}"


def _choices(config: "Config") -> Iterable[tuple[str, str, Choice]]:
    """(place in the config, family, choice) for each plug-in that may have options."""
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
    """A line if a name is not among `names`, with the most similar one."""
    if name not in names:
        yield f"{place}: there is no {name!r}; {did_you_mean(name, names)}"


def _bad_tracking(config: "Config") -> Iterable[str]:
    """Trackers that no file stands for, or that a key of their own switches off, and what may not leave."""
    for tracker in config.tracking.also:
        yield from missing("tracking.also", tracker, registry.names("trackers"))
        if tracker in SERVICES and tracker not in config.tracking.services:
            yield f"tracking.also: {tracker} has a key of its own; set tracking.{tracker}: offline instead"
    if config.tracking.aggregates_only and "encoders" in config.tracking.artifacts:
        yield "tracking.artifacts: aggregates_only lets no encoder leave; remove encoders from the list"
    if config.tracking.artifacts and (config.results.startswith(("/", "~")) or ".." in config.results.split("/")):
        linked = f"link it (ln -s {config.results} results) and set results: results"
        yield f"tracking.artifacts: Weights & Biases would be told the folder {config.results}; {linked}"


def _undefined_names(config: "Config") -> Iterable[str]:
    """References to archives, reductions and sources that the config does not define."""
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
    """Archives with `images_of` an undefined archive, or that differ from it in more than the labels."""
    for name, archive in config.archives.items():
        if archive.images_of is None:
            continue
        yield from missing(f"archives.{name}.images_of", archive.images_of, config.archives)
        first = config.archives.get(archive.images_of)
        if first is None:
            continue
        if first.images_of is not None:
            yield f"archives.{name}.images_of: {first.name} itself has images_of {first.images_of}; name that archive"
        if first.kind.name != archive.kind.name:
            yield f"archives.{name}.kind: must be {first.kind.name} as in archives.{first.name}; remove it"
        for key in sorted(Archive.model_fields.keys() - OWN_OF_A_SECOND_READING):
            if getattr(archive, key) != getattr(first, key):
                yield f"archives.{name}.{key}: images and splits are taken from {first.name}; remove it"
        yield from _other_images(archive, first)


def _other_images(archive: Archive, first: Archive) -> Iterable[str]:
    """Options of a second reading that would give it other images or splits than the archive it takes them from."""
    kind = archive.kind.name
    if kind != first.kind.name or kind not in registry.names("datasets"):
        return
    try:
        ours, theirs = registry.chosen("datasets", archive.kind), registry.chosen("datasets", first.kind)
    except UserError:
        # reported by `_unknown_plugins`
        return
    free = registry.constant("datasets", kind, "LABEL_OPTIONS", default=())
    for key in sorted(type(ours).model_fields.keys() - set(free)):
        if getattr(ours, key) != (required := getattr(theirs, key)):
            place = f"archives.{archive.name}.kind.{key}"
            yield f"{place}: images and splits are taken from {first.name}; set {required!r}, or remove images_of"


def _bad_windows(config: "Config") -> Iterable[str]:
    """Windows of archives without Hounsfield units, and windows that are set elsewhere than at an archive."""
    for name, archive in config.archives.items():
        if archive.window and archive.kind.name in registry.names("datasets") and not usual_window(archive):
            yield f"archives.{name}.window: {archive.kind.name} holds grey values, not Hounsfield units; remove it"
    for section in ("sources", "datasets"):
        for name, entry in getattr(config, section).items():
            if "seen" in entry.model_fields_set:
                yield f"{section}.{name}.seen: cannot be set here; set `window` or `intensity` of the archive"
    for name, source in config.sources.items():
        for key, probe in source.probes.items():
            if "seen" in probe.model_fields_set:
                yield f"sources.{name}.{key}.seen: cannot be set here; set `window` or `intensity` of the archive"


def _bad_probes(config: "Config") -> Iterable[str]:
    """Probes on an archive that is undefined, that is also tested on, or whose images have another size."""
    # by the archive that holds the images: a second reading of a test set's images would leak as the test set does
    tested = {_images_of(config, dataset.archive): name for name, dataset in config.datasets.items()}
    probes = {
        f"sources.{name}.{key}.archive": (probe.archive, source.corpus)
        for name, source in config.sources.items()
        for key, probe in source.probes.items()
    }
    for place, (archive, corpus) in probes.items():
        yield from missing(place, archive, config.archives)
        if (dataset := tested.get(_images_of(config, archive))) is not None:
            yield (
                f"{place}: {archive} is also tested on (datasets.{dataset}), and would leak into the choice of the"
                " encoder; name another archive"
            )
        sizes = [config.archives[name].size for name in (archive, corpus) if name in config.archives]
        if len(set(sizes)) > 1:
            yield f"{place}: its images have {sizes[0]} pixels, those of the corpus {sizes[1]}; set one size for both"


def _images_of(config: "Config", archive: str) -> str:
    """The archive that the images of an archive belong to: itself, or its `images_of`."""
    return (config.archives[archive].images_of or archive) if archive in config.archives else archive


def _bad_size_references(config: "Config") -> Iterable[str]:
    """Reductions that keep as many images as an undefined one, or as one that itself refers to another."""
    references = list(_references(config, "reduction"))
    for place, reduction in references:
        yield from missing(place, reduction, {"everything", *config.reductions})
        if any(other.startswith(f"reductions.{reduction}.") for other, _ in references):
            yield f"{place}: {reduction} itself takes its size from another reduction; name that one"


def _references(config: "Config", meaning: str) -> Iterable[tuple[str, str]]:
    """(place, name) for each option of a reduction that its plug-in declares to hold a name of this meaning."""
    for name, reduction in config.reductions.items():
        if reduction.name in registry.names("reductions"):
            option = registry.option("reductions", reduction.name, means=meaning)
            if isinstance(referred := reduction.options.get(option), str):
                yield f"reductions.{name}.{option}", referred


def _has_undefined_names(config: "Config") -> bool:
    """Whether a reference is undefined: other checks report it, and no grid can be built until it is mended."""
    checks = (_unknown_plugins, _undefined_names, _bad_second_readings, _bad_controls, _bad_size_references)
    return any(line for check in checks for line in check(config))


def _bad_encoder_references(config: "Config") -> Iterable[str]:
    """Reductions by the features of an undefined source, or of one whose encoder depends on that reduction."""
    references = list(_references(config, "source"))
    for place, source in references:
        yield from missing(place, source, config.sources)
    if not references or _has_undefined_names(config):
        return
    grid, reported = config.grid(), set()
    for name in config.sources:
        cycle = _cycle(grid, [name])
        # each member of a cycle finds it again; it is reported once
        if cycle and not reported & set(cycle):
            reported |= set(cycle)
            yield f"reductions: {' -> '.join(cycle)} is a cycle of encoders that need each other; remove one reference"


def _unneeded_sources(config: "Config") -> Iterable[str]:
    """Sources that are fitted to no dataset, and that no other source needs."""
    idle = [name for name in config.sources if not any(dataset.takes(name) for dataset in config.datasets.values())]
    if idle and not _has_undefined_names(config):
        grid = config.grid()
        needed = {name for source in config.sources for name in grid.before(source)}
        for name in [name for name in idle if name not in needed]:
            yield f"sources.{name}: fitted to no dataset; add it to datasets.NAME.sources, or remove it"


def _bad_recipes(config: "Config") -> Iterable[str]:
    """Recipes of datasets that are undefined or listed twice, and recipes by which nothing is fitted."""
    for name, dataset in config.datasets.items():
        for recipe in dict.fromkeys(dataset.recipes):
            yield from missing(f"datasets.{name}.recipes", recipe, config.recipes)
        if len(set(dataset.recipes)) < len(dataset.recipes):
            yield f"datasets.{name}.recipes: a recipe is listed twice; remove one"
        if dataset.recipes and config.comparison.external:
            yield f"datasets.{name}.recipes: comparison.external uses all recipes on all datasets; remove one of them"
    for recipe in config.recipes:
        if not any(dataset.follows(recipe) for dataset in config.datasets.values()):
            yield f"recipes.{recipe}: nothing is fitted by it; add it to datasets.NAME.recipes, or remove it"


def _cycle(grid: Grid, path: list[str]) -> list[str]:
    """A cycle of prerequisites from the first source of `path` back to it; empty if there is none.

    Cycles of `start` alone are left out: `_bad_start` reports them.
    """
    for name in grid.before(path[-1]) if path[-1] in {source.name for source in grid.sources} else []:
        if name == path[0]:
            steps = zip(path, [*path[1:], name], strict=True)
            return [] if all(grid.source(later).start == earlier for later, earlier in steps) else [*path, name]
        if name not in path and (cycle := _cycle(grid, [*path, name])):
            return cycle
    return []


def _bad_excuses(config: "Config") -> Iterable[str]:
    """Excuses for parts that the grid does not have, or for overlaps that need none."""
    excused = config.leaks.excused
    if not excused or _has_undefined_names(config):
        return
    parts, declared = config.grid().overlaps.parts, lineage.declared(config.grid())
    for number, excuse in enumerate(excused):
        # declared overlaps may name a source with adopted weights, which is no part of the grid
        declared_parts = [name for overlap in declared for name in (overlap.learned, overlap.test)]
        excusable = declared_parts if excuse.kind == "declared" else parts
        for part in excuse.between:
            yield from missing(f"leaks.excused[{number}].between", part, excusable)
        if not is_leak(*excuse.between):
            yield f"leaks.excused[{number}].between: exactly one of the two must be a test split; remove the excuse"


def _unknown_origins(config: "Config") -> Iterable[str]:
    """Origins of weights that are not in the table of origins: a misspelt one would hide an overlap."""
    origins = lineage.origins(config.archives.values())
    for name, source in config.sources.items():
        for origin in source.weights.trained_on if source.weights else ():
            yield from missing(f"sources.{name}.weights.trained_on", origin, origins)


def _undeclared_overlaps(config: "Config") -> Iterable[str]:
    """Test splits with the same origin as training data, where the config does not excuse it."""
    if _has_undefined_names(config):
        return
    excused = [set(excuse.between) for excuse in config.leaks.excused if excuse.kind == "declared"]
    for overlap in lineage.declared(config.grid()):
        if {overlap.learned, overlap.test} not in excused:
            excuse = f"{{kind: declared, between: [{overlap.learned}, {overlap.test}], reason: ...}}"
            yield (
                f"leaks: {overlap.learned} and {overlap.test} both come from {' and '.join(overlap.origins)} and may"
                f" share patients, which no file can show; use other data, or excuse it: leaks.excused: [{excuse}]"
            )


def _duplicates(config: "Config") -> Iterable[str]:
    """Controls and metrics that are named more than once."""
    for control, names in config.controls:
        if len(set(names)) < len(names):
            yield f"controls.{control}: a source is listed twice; remove one"
    if len(set(config.comparison.metrics)) < len(config.comparison.metrics):
        yield "comparison.metrics: a metric is listed twice; remove one"


def _uneven_ranks(config: "Config") -> Iterable[str]:
    """Batches that are no multiple of the ranks, and ranks that are no multiple of the nodes."""
    trainings = {f"recipes.{name}": recipe for name, recipe in config.recipes.items()}
    trainings |= {f"sources.{name}": source for name, source in config.sources.items()}
    for place, entry in trainings.items():
        ranks, nodes = (processes := config.compute.of(entry.compute)).ranks, processes.nodes
        if entry.training is None:
            if entry.compute != Processes():
                yield f"{place}.compute: this source is not trained; remove it"
            continue
        compute = f"{place}.compute" if entry.compute != Processes() else "compute"
        if ranks % nodes:
            yield f"{compute}.ranks: must be a multiple of nodes (got {ranks} ranks on {nodes} nodes)"
        if entry.training.batch % ranks:
            batch = entry.training.batch
            yield f"{place}.training.batch: must be a multiple of {compute}.ranks ({ranks}, got {batch})"


def _small_batches(config: "Config") -> Iterable[str]:
    """Batches that are smaller than a method needs to compare images with each other."""
    for name, source in config.sources.items():
        if source.method is None or source.training is None or source.method.name not in registry.names("methods"):
            continue
        least = registry.constant("methods", source.method.name, "SMALLEST_BATCH", default=1)
        if source.training.batch < least:
            method, batch = source.method.name, source.training.batch
            yield (
                f"sources.{name}.training.batch: must be >= {least} for {method}, which compares images of a batch"
                f" (got {batch})"
            )


def _bad_start(config: "Config", name: str) -> Iterable[str]:
    """A start in a cycle, without weights, or of another backbone."""
    visited, here = [name], config.sources[name].start
    while here in config.sources:
        if here in visited:
            yield f"sources.{name}.start: {' -> '.join([*visited, here])} is a cycle; remove one start"
            return
        visited.append(here)
        here = config.sources[here].start
    start, backbone = config.sources.get(config.sources[name].start), config.sources[name].backbone
    if start and start.kind == "random":
        yield f"sources.{name}.start: {start.name} is a random start and has no weights; remove start"
    if start and start.backbone != backbone:
        yield f"sources.{name}.start: {start.name} is a {start.backbone}, not a {backbone}; use one backbone for both"


def _bad_controls(config: "Config") -> Iterable[str]:
    """Controls of undefined sources or with a name that is taken, and controls defined under `sources`."""
    for name, source in config.sources.items():
        for key in sorted(source.model_fields_set & {"control", "of"}):
            yield f"sources.{name}.{key}: cannot be set here; list the source under controls"
    for control, names in config.controls:
        for name in names:
            yield from missing(f"controls.{control}", name, config.sources)
            if f"{name}_{control}" in config.sources:
                yield f"controls.{control}: the name {name}_{control} is taken by a source; rename that source"
