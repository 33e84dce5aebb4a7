"""The config model: the keys of a config file, a check that reports all mistakes at once, and the grid it defines."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from headwater.core import registry
from headwater.core.errors import together
from headwater.core.records import Choice, Record
from headwater.study import (
    checks,
    comparison_checks,
    config_text,
    crops,
    fitting_checks,
    fold_checks,
    idle_keys,
    overrides,
    split_checks,
    target_checks,
    text_checks,
    view_checks,
    volume_checks,
    wording_checks,
)
from headwater.study import source_matrix as source_grids
from headwater.study.archive import Archive, Dataset, seen_of, view_of
from headwater.study.comparison import Comparing
from headwater.study.compute import Compute
from headwater.study.grid import EVERYTHING, Grid
from headwater.study.initialisation import zeroable
from headwater.study.leaks import Leaks
from headwater.study.recipe import Recipe
from headwater.study.source import Controls, Probe, Source
from headwater.study.source_matrix import SourceGrid
from headwater.study.text_checks import NAMED
from headwater.study.tracking import Tracking
from headwater.study.wording import Wording, Words

USUAL_DECAY = {"adam": 0.0, "sgd": 0.0, "lars": 1e-6}
"""Default weight decay of optimisers for which papers and libraries use another than for adamw (SwAV, SimCLR: 1e-6)."""


UNWRITTEN = ("name", "control", "of", "seen", "study", "inputs")
"""Fields of records that are filled in from other parts of the config; no config sets them."""


CHECKS = (
    *(text_checks, checks, target_checks, comparison_checks, idle_keys, fitting_checks, split_checks),
    *(volume_checks, view_checks, fold_checks),
    wording_checks,
)


class Config(Record):
    """A config file; each key is explained in config/README.md."""

    results: str = Field("results", pattern=r"^[\w./~+-]+$")
    """Folder of all products."""
    backbone: str = "timm/resnet50"
    """The network of every source that does not set its own."""
    seeds: tuple[int, ...] = Field(min_length=1)
    """One fine-tuning per seed; more seeds show the spread between trainings better, and cost more."""
    archives: dict[str, Archive] = Field(min_length=1)
    """Folders of images, by a name of your choice; if it is the name of a file in datasets/, `kind` can be omitted."""
    reductions: dict[str, Choice] = {}
    """Ways to keep a part of a corpus, by name; `everything` is always there."""
    sources: dict[str, Source] = Field(min_length=1)
    """Where first weights come from, which is what a study compares; at least two. `{}` is a random start."""
    source_grids: dict[str, SourceGrid] = {}
    """Further sources: all combinations of a few lists, instead of one entry each."""
    controls: Controls = Controls()
    """Sources run once more to validate the comparison; they cost fine-tunings, and are in no other test."""
    datasets: dict[str, Dataset] = Field(min_length=1)
    """What is fine-tuned on and tested; if the name is that of an archive, `archive` can be omitted."""
    recipes: dict[str, Recipe] = Field(min_length=1)
    """How networks are fitted; each recipe is applied to every source."""
    labels: dict[str, Words] = {}
    """What labels are called in tables and figures, by their name in the archive; see the table of `labels.NAME`."""
    comparison: Comparing = Comparing()
    """What is compared and how, declared before any result is seen."""
    leaks: Leaks = Leaks()
    """Which overlaps with a test split stop the grid, and which are known and accepted."""
    tracking: Tracking = Tracking()
    """Where training curves go besides metrics.csv and TensorBoard."""
    compute: Compute = Compute()
    """What each training job requests from the machine; it changes results by rounding at most."""

    def grid(self) -> Grid:
        """The grid that this config defines."""
        return Grid(
            archives=tuple(self.archives.values()),
            reductions={"everything": EVERYTHING, **self.reductions},
            sources=tuple(self._as_seen(source) for source in (*self.sources.values(), *self._control_sources())),
            datasets=tuple(self._as_seen(dataset) for dataset in self.datasets.values()),
            recipes=tuple(self.recipes.values()),
            seeds=self.seeds,
            comparing=self.comparison,
            leaks=self.leaks,
            wording=self._wording(),
        )

    def _wording(self) -> Wording:
        """What everything is called that has a title or a short name; a control is called after its source."""
        sections = {
            section: {
                entry.name: Words(title=entry.title, short=entry.short)
                for entry in getattr(self, section).values()
                if entry.title or entry.short
            }
            for section in ("sources", "datasets", "recipes")
        }
        sources = sections["sources"]
        of_controls = {
            source.name: sources[source.of].of_control(source.control)
            for source in self._control_sources()
            if source.of in sources
        }
        return Wording(**sections | {"sources": sources | of_controls}, labels=self.labels)

    def _as_seen(self, entry: Source | Dataset | Probe) -> Source | Dataset | Probe:
        """A source, dataset or probe with its archive's window or intensity in `seen`, and its `view`, if it has them.

        They are excluded from the archive's own record, so that a new one repeats trainings, but no `prepare`. A probe
        is seen in the view of the pre-training that it belongs to.
        """
        if isinstance(entry, Source) and entry.probes:
            further = tuple(self._as_seen(probe) for probe in entry.further_probes)
            update = {"further_probes": further} | ({"probe": self._as_seen(entry.probe)} if entry.probe else {})
            entry = entry.model_copy(update=update)
        archive = self.archives.get((entry.corpus if isinstance(entry, Source) else entry.archive) or "")
        if not archive:
            return entry
        views = {} if isinstance(entry, Probe) else {"view": view_of(archive, own=entry.view)}
        told = {"seen": seen_of(archive), **views}
        return entry.model_copy(update={key: value for key, value in told.items() if value != getattr(entry, key)})

    def _control_sources(self) -> Iterable[Source]:
        """The sources that `controls` adds."""
        for control, names in self.controls:
            for name in names:
                yield self.sources[name].as_control(control)


def read(path: Path) -> Config:
    """The config in a YAML file."""
    return load(config_text.read(path), file=path)


def load(content: dict[str, Any], *, file: Path | str = "config") -> Config:
    """The config in a dictionary as YAML or Snakemake gives it; one error lists all its mistakes."""
    whole, places = source_grids.expanded(overrides.applied(content, file=file))
    try:
        config = Config.model_validate(_filled_in(whole))
    except pydantic.ValidationError as error:
        raise together(source_grids.located(registry.mistakes(error, Config), places), file=file) from None
    mistakes = [line for check in CHECKS for line in check.mistakes(config)]
    mistakes += source_grids.clashes(config.source_grids, sources=config.sources, places=places)
    if mistakes:
        raise together(source_grids.located(mistakes, places), file=file)
    return config


def _filled_in(content: dict[str, Any]) -> dict[str, Any]:
    """The content with each entry's key as its `name`, and with defaults that come from other parts of the config."""
    filled = dict(content)
    for section in NAMED:
        entries = content.get(section)
        if isinstance(entries, dict):
            filled[section] = {name: _with_name(name, entry) for name, entry in entries.items()}
    for section in ("sources", "recipes"):
        for name, entry in _dicts(filled.get(section)):
            filled[section][name] = crops.settled(_with_decay(entry))
    for name, source in _dicts(filled.get("sources")):
        whole = {"backbone": content.get("backbone", "timm/resnet50"), **source}
        filled["sources"][name] = _drawn(_normalised(whole))
    for name, dataset in _dicts(filled.get("datasets")):
        filled["datasets"][name] = {"archive": name, **dataset}
    archives = _dicts(filled.get("archives"))
    for name, archive in archives:
        filled["archives"][name] = {"kind": name, **archive}
    # after the loop above, since a second reading inherits the filled-in `kind` of an archive that may come later
    for name, archive in archives:
        images_of = archive.get("images_of")
        first = filled["archives"].get(images_of) if isinstance(images_of, str) else None
        filled["archives"][name] = {**first, **archive} if isinstance(first, dict) else filled["archives"][name]
    return filled


def _with_decay(entry: dict[str, Any]) -> dict[str, Any]:
    """A source or recipe whose training has the usual weight decay of its optimiser, unless it sets one.

    The value is written into the record instead of changing the record's default, that of adamw: a new default would
    change the digests of finished jobs.
    """
    training = entry.get("training")
    if not isinstance(training, dict) or training.get("optimiser") not in USUAL_DECAY:
        return entry
    return {**entry, "training": {"weight_decay": USUAL_DECAY[training["optimiser"]], **training}}


def _drawn(source: dict[str, Any]) -> dict[str, Any]:
    """A source that says how its first weights are drawn, where they are drawn and there is a choice.

    It is written into the record, though it is the default, because trainings of an earlier version started with
    residual branches at zero: their digests must be others.
    """
    weights = source.get("weights")
    # what a weights file lacks is drawn
    whole = bool(weights) and not (isinstance(weights, dict) and weights.get("coverage", 1) != 1)
    if whole or source.get("start") or not zeroable(str(source["backbone"])):
        return source
    return {"initialisation": "full_residual", **source}


def _normalised(source: dict[str, Any]) -> dict[str, Any]:
    """A source whose network takes volumes, or their slices, as they are shown, unless its weights or it say otherwise.

    The record's default is that of photographs, in three colours.
    """
    library = str(source["backbone"]).partition("/")[0]
    known = library in registry.names("backbones")
    of_volumes = known and registry.constant("backbones", library, "DIMENSIONS", default=2) == 3
    if source.get("weights") or source.get("start") or not (of_volumes or source.get("slices")):
        return source
    return {"mean": (0.0,), "std": (1.0,), **source}


def _with_name(name: Any, entry: Any) -> Any:
    """An entry of a section with its key as its name; `key:` alone is an empty entry."""
    entry = {} if entry is None else entry
    return {"name": str(name), **entry} if isinstance(entry, dict) else entry


def _dicts(section: Any) -> list[tuple[str, dict]]:
    """The well-formed entries of a section."""
    return (
        [(key, entry) for key, entry in section.items() if isinstance(entry, dict)] if isinstance(section, dict) else []
    )
