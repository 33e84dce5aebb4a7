"""The config model: what a config file may say, every mistake in it told at once, and the grid it stands for."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import Field

from headwater.core import registry
from headwater.core.errors import UserError, did_you_mean
from headwater.core.records import Choice, Record
from headwater.study import lineage
from headwater.study import source_matrix as source_grids
from headwater.study.ct_windows import SLICE, WINDOWS, Window
from headwater.study.grid import (
    Archive,
    Comparing,
    Controls,
    Dataset,
    Grid,
    Leaks,
    Probe,
    Processes,
    Recipe,
    Source,
    Tracking,
)
from headwater.study.source_matrix import SourceGrid

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"
"""Names become folder names and Snakemake wildcards."""

NAMED = ("archives", "sources", "datasets", "recipes")
"""Sections whose entries know their own name."""

USUAL_DECAY = {"adam": 0.0, "sgd": 0.0, "lars": 1e-6}
"""Weight decay that is not stated, where papers and libraries have another than that of adamw (SwAV, SimCLR: 1e-6)."""

UNWRITTEN = ("name", "control", "of", "seen")
"""Fields of records that follow from where an entry stands; no config writes them."""

OWN_OF_A_SECOND_READING = {"name", "kind", "images_of", "projections", "window"}
"""What an archive that takes another's images may say of itself."""

EVERYTHING = Choice(name="everything")
"""What `everything` stands for, whether a config says so or not."""

FEWEST_FOR_AN_ERROR = 1000
"""Replicates from which a standard error is exact to about two per cent."""


class Compute(Record):
    """What each training job asks of the machine."""

    ranks: int = Field(1, ge=1)
    """Processes per training over all nodes, one per GPU; the global batch stays as the recipe says."""
    nodes: int = Field(1, ge=1)
    """Nodes that share the processes of a training evenly; more than one needs SLURM."""
    threads: int = Field(1, ge=1)
    """CPU threads per training process."""
    workers: int = Field(2, ge=1)
    """Processes that decode images in `prepare`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What trains: `auto` takes GPUs where there are any, `cuda` nothing else; `cpu` asks SLURM for none."""

    def of(self, own: Processes) -> Processes:
        """The processes of a training: its own, and what it leaves out from here."""
        return Processes(
            ranks=own.ranks or self.ranks, nodes=own.nodes or self.nodes, threads=own.threads or self.threads
        )


class Config(Record):
    """A config file; each key is explained in config/README.md."""

    results: str = Field("results", pattern=r"^[\w./~+-]+$")
    """Folder of all products."""
    backbone: str = "timm/resnet50"
    """The network of every source that names none itself."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """One fine-tuning per seed; five tell more of the spread than two, and cost more."""
    archives: dict[str, Archive] = Field(min_length=1)
    """Folders of images, by a name of your choice; the name of a file in datasets/ spares the key `kind`."""
    reductions: dict[str, Choice] = {}
    """Ways to keep a part of a corpus, by name; `everything` is always there."""
    sources: dict[str, Source] = Field(min_length=1)
    """Where first weights come from: the things compared; at least two. `{}` is a random start."""
    source_grids: dict[str, SourceGrid] = {}
    """Further sources by the lists of what they differ in, so that not each has to be written down."""
    controls: Controls = Controls()
    """Sources run once more to test the comparison itself; they cost fine-tunings, and take part in no other test."""
    datasets: dict[str, Dataset] = Field(min_length=1)
    """What is fine-tuned on and tested; the name of an archive spares the key `archive`."""
    recipes: dict[str, Recipe] = Field(min_length=1)
    """How networks are fitted; each recipe is applied to every source."""
    comparison: Comparing = Comparing()
    """What is compared with what, declared before any result is seen."""
    leaks: Leaks = Leaks()
    """Which overlaps with a test split stop the grid, and which are known and accepted."""
    tracking: Tracking = Tracking()
    """Where training curves go besides metrics.csv and TensorBoard."""
    compute: Compute = Compute()
    """What each training job asks of the machine; it changes results by rounding at most."""

    def grid(self) -> Grid:
        """The grid that this config lays out."""
        return Grid(
            archives=tuple(self.archives.values()),
            reductions={"everything": EVERYTHING, **self.reductions},
            sources=tuple(self._seeing(source) for source in (*self.sources.values(), *self._control_sources())),
            datasets=tuple(self._seeing(dataset) for dataset in self.datasets.values()),
            recipes=tuple(self.recipes.values()),
            seeds=self.seeds,
            comparing=self.comparison,
            leaks=self.leaks,
        )

    def _seeing(self, one: Source | Dataset | Probe) -> Source | Dataset | Probe:
        """A source, dataset or probe that knows the window of its archive, if that is one of Hounsfield units."""
        if isinstance(one, Source) and one.probe:
            one = one.model_copy(update={"probe": self._seeing(one.probe)})
        archive = self.archives.get((one.corpus if isinstance(one, Source) else one.archive) or "")
        window = archive and window_of(archive)
        return one.model_copy(update={"seen": window}) if window else one

    def _control_sources(self) -> Iterable[Source]:
        """The sources that `controls` adds."""
        for control, names in self.controls:
            for name in names:
                yield self.sources[name].as_control(control)


def usual_window(archive: Archive) -> str:
    """What is seen of an archive unless its config says otherwise; "" for one that holds no Hounsfield units."""
    if archive.kind.name not in registry.names("datasets"):
        return ""
    return registry.constant("datasets", archive.kind.name, "CARD.window", default="")


def window_of(archive: Archive) -> Window | None:
    """What is seen of an archive; none for one that holds no Hounsfield units."""
    usual = usual_window(archive)
    return (archive.window or Window.model_validate(usual)) if usual else None


def read(path: Path) -> Config:
    """The config in a YAML file."""
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise UserError(
            "there is no such config file", file=path, remedy="give the path of your study's config"
        ) from None
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"the config cannot be read: {error}", file=path, remedy="mend the YAML") from None
    if not isinstance(content, dict):
        raise UserError("the config is not a list of `key: value`", file=path, remedy="see config/README.md")
    return load(content, file=path)


def load(content: dict[str, Any], *, file: Path | str = "config") -> Config:
    """The config in a dictionary as YAML or Snakemake gives it; one refusal tells all that is wrong with it."""
    whole, places = source_grids.expanded(content)
    try:
        config = Config.model_validate(_filled_in(whole))
    except pydantic.ValidationError as error:
        wrong = registry.mistakes(error, Config)
        raise _many(source_grids.told(wrong, places), file) from None
    checks = (
        _bad_names,
        _unknown_plugins,
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
        _unguessable,
        _bad_comparison,
        _bad_subsets,
        _bad_method,
        _too_few_resamples,
    )
    wrong = [line for check in checks for line in check(config)]
    wrong += source_grids.clashes(config.source_grids, sources=config.sources, places=places)
    if wrong:
        raise _many(source_grids.told(wrong, places), file)
    return config


def _many(wrong: list[str], file: Path | str) -> UserError:
    many = f"{len(wrong)} mistakes: " if len(wrong) > 1 else ""
    return UserError(many + "; ".join(wrong), file=file)


def _filled_in(content: dict[str, Any]) -> dict[str, Any]:
    """The content with each entry knowing its own name, and sources and datasets the defaults they left out."""
    filled = dict(content)
    for section in NAMED:
        entries = content.get(section)
        if isinstance(entries, dict):
            filled[section] = {name: _with_name(name, entry) for name, entry in entries.items()}
    for section in ("sources", "recipes"):
        for name, entry in _dicts(filled.get(section)):
            filled[section][name] = _with_decay(entry)
    for name, source in _dicts(filled.get("sources")):
        filled["sources"][name] = {"backbone": content.get("backbone", "timm/resnet50"), **source}
    for name, dataset in _dicts(filled.get("datasets")):
        filled["datasets"][name] = {"archive": name, **dataset}
    archives = _dicts(filled.get("archives"))
    for name, archive in archives:
        filled["archives"][name] = {"kind": name, **archive}
    for name, archive in archives:
        named = archive.get("images_of")
        first = filled["archives"].get(named) if isinstance(named, str) else None
        filled["archives"][name] = {**first, **archive} if isinstance(first, dict) else filled["archives"][name]
    return filled


def _with_decay(entry: dict[str, Any]) -> dict[str, Any]:
    """A source or recipe whose training, where it says nothing of weight decay, has that of its optimiser.

    It is written into the record, whose own default is that of adamw: records of finished jobs read as they did.
    """
    training = entry.get("training")
    if not isinstance(training, dict) or training.get("optimiser") not in USUAL_DECAY:
        return entry
    return {**entry, "training": {"weight_decay": USUAL_DECAY[training["optimiser"]], **training}}


def _with_name(name: Any, entry: Any) -> Any:
    """An entry of a section with its key as its name; `key:` alone is an entry that says nothing."""
    entry = {} if entry is None else entry
    return {"name": str(name), **entry} if isinstance(entry, dict) else entry


def _dicts(section: Any) -> list[tuple[str, dict]]:
    """The well-formed entries of a section."""
    return (
        [(key, entry) for key, entry in section.items() if isinstance(entry, dict)] if isinstance(section, dict) else []
    )


def _bad_names(config: Config) -> Iterable[str]:
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


def _unknown_plugins(config: Config) -> Iterable[str]:
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
        yield from _missing("comparison.metrics", metric, registry.names("metrics"))
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


def _choices(config: Config) -> Iterable[tuple[str, str, Choice]]:
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


def _missing(place: str, name: str, known: Iterable[str]) -> Iterable[str]:
    """The complaint about a name that is not known, if it is not."""
    if name not in known:
        yield f"{place}: there is no {name!r}; {did_you_mean(name, known)}"


def _dangling(config: Config) -> Iterable[str]:
    """Names that point nowhere."""
    for name, dataset in config.datasets.items():
        yield from _missing(f"datasets.{name}.archive", dataset.archive, config.archives)
    for name, source in config.sources.items():
        if source.corpus:
            yield from _missing(f"sources.{name}.corpus", source.corpus, config.archives)
        yield from _missing(f"sources.{name}.reduction", source.reduction, {"everything", *config.reductions})
        if source.start:
            yield from _missing(f"sources.{name}.start", source.start, config.sources)
            yield from _bad_start(config, name)


def _bad_second_readings(config: Config) -> Iterable[str]:
    """Archives that take the images of one that is not there, or that differ from it in more than the labels."""
    for name, archive in config.archives.items():
        if archive.images_of is None:
            continue
        yield from _missing(f"archives.{name}.images_of", archive.images_of, config.archives)
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


def _bad_windows(config: Config) -> Iterable[str]:
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


def _bad_probes(config: Config) -> Iterable[str]:
    """Probes of an archive that is not there, that is compared on, or whose images have another size."""
    compared = {_images_of(config, dataset.archive): name for name, dataset in config.datasets.items()}
    for name, source in config.sources.items():
        if source.probe is None:
            continue
        place, archive = f"sources.{name}.probe.archive", source.probe.archive
        yield from _missing(place, archive, config.archives)
        if (dataset := compared.get(_images_of(config, archive))) is not None:
            yield (
                f"{place}: {archive} is compared on (datasets.{dataset}), and what chooses a source's step must be"
                " no test of it; name another archive"
            )
        sizes = [config.archives[one].size for one in (archive, source.corpus) if one in config.archives]
        if len(set(sizes)) > 1:
            yield f"{place}: its images have {sizes[0]} pixels, those of the corpus {sizes[1]}; give both one size"


def _images_of(config: Config, archive: str) -> str:
    """The archive whose images these are."""
    return (config.archives[archive].images_of or archive) if archive in config.archives else archive


def _bad_likes(config: Config) -> Iterable[str]:
    """Reductions that keep as many images as one that is not there, or that itself looks at another."""
    for name, reduction in config.reductions.items():
        like = reduction.options.get("like")
        if not isinstance(like, str):
            continue
        yield from _missing(f"reductions.{name}.like", like, {"everything", *config.reductions})
        if like in config.reductions and "like" in config.reductions[like].options:
            yield f"reductions.{name}.like: {like} itself keeps as many as another; name that, or one that measures"


def _leads_nowhere(config: Config) -> bool:
    """Whether a name stands for nothing: that is told elsewhere, and without it there is no grid to look at."""
    checks = (_unknown_plugins, _dangling, _bad_second_readings, _bad_controls, _bad_likes)
    return any(line for check in checks for line in check(config))


def _bad_lookers(config: Config) -> Iterable[str]:
    """Reductions by what the encoder of a source sees that is not there, or that itself waits for the reduction."""
    for name, reduction in config.reductions.items():
        looker = reduction.options.get("source")
        if isinstance(looker, str):
            yield from _missing(f"reductions.{name}.source", looker, config.sources)
    looking = any("source" in reduction.options for reduction in config.reductions.values())
    if not looking or _leads_nowhere(config):
        return
    grid, told = config.grid(), set()
    for name in config.sources:
        circle = _circle(grid, [name])
        if circle and not told & set(circle):
            told |= set(circle)
            yield f"reductions: {' -> '.join(circle)} is a circle of encoders that wait for each other; break it"


def _circle(grid: Grid, path: list[str]) -> list[str]:
    """A way from a source over what must be there before it back to itself; none of starts alone, told elsewhere."""
    for name in grid.before(path[-1]) if path[-1] in {source.name for source in grid.sources} else []:
        if name == path[0]:
            steps = zip(path, [*path[1:], name], strict=True)
            return [] if all(grid.source(one).start == other for one, other in steps) else [*path, name]
        if name not in path and (found := _circle(grid, [*path, name])):
            return found
    return []


def _bad_excuses(config: Config) -> Iterable[str]:
    """Excuses for parts that the grid does not have, or for what no excuse is needed."""
    excused = config.leaks.excused
    if not excused or _leads_nowhere(config):
        return
    parts, declared = config.grid().overlaps.parts, lineage.declared(config.grid())
    for number, excuse in enumerate(excused):
        known = parts if excuse.kind != "declared" else [name for one in declared for name in (one.learned, one.test)]
        for part in excuse.between:
            yield from _missing(f"leaks.excused[{number}].between", part, known)
        if sum(part.endswith(" test") for part in excuse.between) != 1:
            yield f"leaks.excused[{number}].between: one of the two must be a test split; nothing else needs an excuse"


def _unknown_origins(config: Config) -> Iterable[str]:
    """Origins that nobody knows: a slip of the pen would hide what is declared."""
    known = lineage.known(config.archives.values())
    for name, source in config.sources.items():
        for origin in source.weights.trained_on if source.weights else ():
            yield from _missing(f"sources.{name}.weights.trained_on", origin, known)


def _undeclared(config: Config) -> Iterable[str]:
    """Test splits that stem from the same scans as what is learned from, where nothing excuses it."""
    if _leads_nowhere(config):
        return
    excused = [set(excuse.between) for excuse in config.leaks.excused if excuse.kind == "declared"]
    for one in lineage.declared(config.grid()):
        if {one.learned, one.test} not in excused:
            excuse = f"{{kind: declared, between: [{one.learned}, {one.test}], reason: ...}}"
            yield (
                f"leaks: {one.learned} and {one.test} both stem from {' and '.join(one.origins)}, and no file can show"
                f" which patients they share; take another, or excuse it: leaks.excused: [{excuse}]"
            )


def _twice(config: Config) -> Iterable[str]:
    """Labels and metrics that are named more than once."""
    for name, dataset in config.datasets.items():
        if len(set(dataset.labels)) < len(dataset.labels):
            yield f"datasets.{name}.labels: a label stands there twice; take one out"
    for control, names in config.controls:
        if len(set(names)) < len(names):
            yield f"controls.{control}: a source stands there twice; take one out"
    if len(set(config.comparison.metrics)) < len(config.comparison.metrics):
        yield "comparison.metrics: a metric stands there twice; take one out"


def _uneven_shares(config: Config) -> Iterable[str]:
    """Batches that the ranks cannot share evenly, and ranks that the nodes cannot."""
    trainings = {f"recipes.{name}": recipe for name, recipe in config.recipes.items()}
    trainings |= {f"sources.{name}": source for name, source in config.sources.items()}
    for place, one in trainings.items():
        ranks, nodes = (processes := config.compute.of(one.compute)).ranks, processes.nodes
        if one.training is None:
            if one.compute != Processes():
                yield f"{place}.compute: nothing is trained for this source itself; leave it out"
            continue
        said = f"{place}.compute" if one.compute != Processes() else "compute"
        if ranks % nodes:
            yield f"{said}: {ranks} ranks cannot be shared evenly by {nodes} nodes; make ranks a multiple of nodes"
        if one.training.batch % ranks:
            yield f"{place}.training.batch: {one.training.batch} is no multiple of {said}.ranks ({ranks}); make it one"


def _small_batches(config: Config) -> Iterable[str]:
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


def _bad_start(config: Config, name: str) -> Iterable[str]:
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


def _unguessable(config: Config) -> Iterable[str]:
    """Shuffled labels without a metric of which it is known what guessing reaches."""
    metrics = [name for name in config.comparison.metrics if name in registry.names("metrics")]
    known = [name for name in metrics if registry.constant("metrics", name, "CHANCE", default=None) is not None]
    if config.controls.shuffled and metrics and not known:
        yield (
            f"controls.shuffled: nobody knows what guessing reaches in {', '.join(metrics)}; "
            "add auroc to comparison.metrics"
        )


def _bad_controls(config: Config) -> Iterable[str]:
    """Controls of no source or under a taken name, and controls that stand among the sources."""
    for name, source in config.sources.items():
        for key in sorted(source.model_fields_set & {"control", "of"}):
            yield f"sources.{name}.{key}: a control is no source of its own; name it under controls"
    for control, names in config.controls:
        for name in names:
            yield from _missing(f"controls.{control}", name, config.sources)
            if f"{name}_{control}" in config.sources:
                yield f"controls.{control}: a source is called {name}_{control} already; rename that source"


def _bad_comparison(config: Config) -> Iterable[str]:
    """A comparison that has nothing to compare, or a reference that it cannot have."""
    reference = config.comparison.reference
    controls = {f"{name}_{control}": name for control, names in config.controls for name in names}
    if reference in controls and reference not in config.sources:
        yield f"comparison.reference: {reference} is a control; compare with {controls[reference]}"
    elif reference is not None:
        yield from _missing("comparison.reference", reference, config.sources)
    if len(config.sources) < 2:
        yield "sources: one source cannot be compared; name at least two"


def _bad_subsets(config: Config) -> Iterable[str]:
    """Subsets that cannot be named in a table, of datasets that are not there, or of labels that are not asked for."""
    for name, by_dataset in config.comparison.subsets.items():
        place = f"comparison.subsets.{name}"
        if not re.fullmatch(NAME, name):
            yield f"{place}: use letters, digits, _ and - in names"
        for dataset, labels in by_dataset.items():
            yield from _missing(place, dataset, config.datasets)
            known = config.datasets[dataset].labels if dataset in config.datasets else ()
            if not labels:
                yield f"{place}.{dataset}: names no label; leave {dataset} out"
            for label in labels if known else ():
                yield from _missing(f"{place}.{dataset}", label, known)


def _bad_method(config: Config) -> Iterable[str]:
    """A method that does not fit the seeds or the metrics, and bounds that contradict each other."""
    comparison = config.comparison
    if comparison.method == "delong" and len(config.seeds) != 1:
        yield (
            f"comparison.method: delong knows one training of each source (got {len(config.seeds)} seeds); "
            "use obuchowski_rockette"
        )
    if comparison.method == "delong" and comparison.metrics != ("auroc",):
        yield f"comparison.method: delong is for auroc alone (got {', '.join(comparison.metrics)}); use percentile"
    if comparison.few_positive < comparison.fewest_positive:
        yield (
            f"comparison.few_positive: {comparison.few_positive} is below fewest_positive "
            f"({comparison.fewest_positive}); raise it"
        )


def _too_few_resamples(config: Config) -> Iterable[str]:
    """Resamples from which the correction can never reject, or a standard error is too rough."""
    fewest, why = max(_floors(config), default=(0, ""))
    if config.comparison.resamples < fewest:
        yield f"comparison.resamples: {why} below {fewest} resamples (got {config.comparison.resamples}); raise it"


SPELT = {"holm": "Holm", "max_t": "max_t"}
"""How corrections are called in a sentence."""


def _floors(config: Config) -> Iterable[tuple[int, str]]:
    """(fewest resamples, what is wrong with fewer) for each thing that is made from them."""
    comparison = config.comparison
    if comparison.correction == "max_t":
        # the smallest adjusted p is 1 / (resamples + 1), however many tests there are
        yield math.ceil(1 / comparison.level), "max_t can reject nothing"
    if comparison.method == "percentile":
        # the smallest p is 2 / (resamples + 1); it must be rejected over the whole confirmatory family
        tests = _tests(config)
        yield (
            math.ceil(2 * tests / comparison.level) - 1,
            f"with {tests} tests {SPELT[comparison.correction]} can reject nothing",
        )
    if comparison.method in ("obuchowski_rockette", "published"):
        yield FEWEST_FOR_AN_ERROR, "a standard error is too rough"


def _tests(config: Config) -> int:
    """How many tests the confirmatory family has; controls are not in it."""
    sources = len(config.sources)
    pairs = sources - 1 if config.comparison.reference else sources * (sources - 1) // 2
    return pairs * len(config.datasets) * len(config.recipes) * len(config.comparison.metrics)


def schema() -> dict[str, Any]:
    """The JSON schema of a config file as people write it, for editors and the workflow catalogue."""
    content = Config.model_json_schema()
    forms = content["$defs"]
    methods = forms["SourceGrid"]["properties"]["methods"]
    names = {"type": "array", "items": {"type": "string"}}
    forms["SourceGrid"]["properties"]["methods"] = {
        "description": methods["description"],
        "anyOf": [names, {"type": "object", "additionalProperties": {"type": ["object", "string", "null"]}}],
    }
    forms["Choice"] = {
        "description": forms["Choice"]["description"],
        "anyOf": [
            {"type": "string"},
            {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        ],
    }
    forms["Window"] = {
        "description": forms["Window"]["description"],
        "anyOf": [
            {"enum": [SLICE, *WINDOWS]},
            {
                "type": "object",
                "properties": {"centre": {"type": "number"}, "width": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["centre", "width"],
                "additionalProperties": False,
            },
        ],
    }
    # what `_filled_in` adds need not be written
    for form, added in (("Archive", "kind"), ("Source", "backbone"), ("Dataset", "archive"), ("Recipe", "")):
        for key in UNWRITTEN:
            forms[form]["properties"].pop(key, None)
        forms[form]["required"] = [key for key in forms[form]["required"] if key not in ("name", added)]
    for section in ("archives", "sources", "datasets"):
        entries = content["properties"][section]
        entries["additionalProperties"] = {"anyOf": [entries["additionalProperties"], {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **content}
