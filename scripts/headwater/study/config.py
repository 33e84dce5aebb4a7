"""The config model: what a config file may say, every mistake in it told at once, and the grid it stands for."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import Field

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Choice, Record
from headwater.study import checks, comparison_checks, target_checks
from headwater.study import source_matrix as source_grids
from headwater.study.archive import Archive, Dataset, window_of
from headwater.study.checks import NAMED
from headwater.study.comparison import Comparing
from headwater.study.compute import Compute
from headwater.study.grid import EVERYTHING, Grid
from headwater.study.leaks import Leaks
from headwater.study.recipe import Recipe
from headwater.study.source import Controls, Probe, Source
from headwater.study.source_matrix import SourceGrid
from headwater.study.tracking import Tracking

USUAL_DECAY = {"adam": 0.0, "sgd": 0.0, "lars": 1e-6}
"""Weight decay that is not stated, where papers and libraries have another than that of adamw (SwAV, SimCLR: 1e-6)."""


UNWRITTEN = ("name", "control", "of", "seen")
"""Fields of records that follow from where an entry stands; no config writes them."""


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

    def _seeing(self, entry: Source | Dataset | Probe) -> Source | Dataset | Probe:
        """A source, dataset or probe that knows the window of its archive, if that is one of Hounsfield units."""
        if isinstance(entry, Source) and entry.probe:
            entry = entry.model_copy(update={"probe": self._seeing(entry.probe)})
        archive = self.archives.get((entry.corpus if isinstance(entry, Source) else entry.archive) or "")
        window = archive and window_of(archive)
        return entry.model_copy(update={"seen": window}) if window else entry

    def _control_sources(self) -> Iterable[Source]:
        """The sources that `controls` adds."""
        for control, names in self.controls:
            for name in names:
                yield self.sources[name].as_control(control)


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
    wrong = [*checks.mistakes(config), *target_checks.mistakes(config), *comparison_checks.mistakes(config)]
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
