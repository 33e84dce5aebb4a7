"""Mistakes in how recipes fit networks: what a dataset's tasks, the networks or the processes cannot be given."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study import target as targets
from headwater.study.idle_keys import changed
from headwater.study.recipe import MIXED, Recipe
from headwater.study.source import Source

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each thing that is wrong with how networks are fitted."""
    return (
        line
        for check in (_unsoft, _unchosen, _unmixed, _parted, _without_layers, _inattentive)
        for line in check(config)
    )


def _followed(config: "Config", recipe: Recipe) -> Iterator[tuple[str, list[str]]]:
    """Each dataset that a recipe fits networks to, and its tasks."""
    known = registry.names("tasks")
    for name, dataset in config.datasets.items():
        if dataset.follows(recipe.name) and set(dataset.tasks) <= set(known):
            yield name, list(dataset.tasks)


def _unlike(config: "Config", keys: Iterable[str], *, lacks: Callable[[list[str]], bool], why: str) -> Iterable[str]:
    """A line for each of the keys that a recipe sets for a dataset with tasks that it does not fit."""
    for name, recipe in config.recipes.items():
        for key in changed(recipe, *keys):
            for dataset, tasks in _followed(config, recipe):
                if lacks(tasks):
                    elsewhere = f"remove it, or list other recipes under datasets.{dataset}.recipes"
                    yield f"recipes.{name}.{key}: {why} (datasets.{dataset}: {', '.join(tasks)}); {elsewhere}"


def _unsoft(config: "Config") -> Iterable[str]:
    """Label smoothing where no task has labels to smooth."""
    why = "there are no labels of findings or classes to smooth"
    return _unlike(config, ("label_smoothing",), lacks=lambda tasks: not any(map(targets.soft, tasks)), why=why)


def _unchosen(config: "Config") -> Iterable[str]:
    """A loss where no task has one to choose."""
    why = "there are no findings or classes whose loss it could be"
    return _unlike(config, ("loss",), lacks=lambda tasks: not any(map(targets.losses, tasks)), why=why)


def _unmixed(config: "Config") -> Iterable[str]:
    """Mixed images where what is asked of one of them cannot be mixed."""
    why = "images are mixed only where all that is asked of them are findings or classes"
    return _unlike(config, MIXED, lacks=lambda tasks: not all(map(targets.soft, tasks)), why=why)


def _parted(config: "Config") -> Iterable[str]:
    """Batches whose pairs would be parted by processes or parts of a batch."""
    for name, recipe in config.recipes.items():
        ranks, parts = config.compute.of(recipe.compute).ranks, recipe.training.parts
        whole, batch = 2 * ranks * parts, recipe.training.batch
        if changed(recipe, *MIXED) and batch % whole:
            yield (
                f"recipes.{name}.training.batch: must be a multiple of {whole}, as images are mixed in pairs that stay "
                f"together on {ranks} ranks in {parts} parts (got {batch})"
            )


def _without_layers(config: "Config") -> Iterable[str]:
    """Keys about the layers of networks that do not tell them apart."""
    trained = [
        (f"sources.{name}.training", source.training, [source])
        for name, source in config.sources.items()
        if source.training
    ]
    trained += [(f"recipes.{name}.training", of.training, _fitted(config, of)) for name, of in config.recipes.items()]
    for place, record, sources in trained:
        for key in changed(record, "layer_decay"):
            yield from _ungrouped(f"{place}.{key}", sources)
    for name, recipe in config.recipes.items():
        for key in changed(recipe, "trained_blocks"):
            yield from _ungrouped(f"recipes.{name}.{key}", _fitted(config, recipe))


def _ungrouped(place: str, sources: list[Source]) -> Iterable[str]:
    """A line for each network of the sources that does not tell its layers apart."""
    for backbone in sorted({source.backbone for source in sources if not _grouped(source)}):
        remedy = "remove it, or choose a network of timm or vit3d"
        yield f"{place}: {backbone} does not tell its layers apart; {remedy}"


def _fitted(config: "Config", recipe: Recipe) -> list[Source]:
    """The sources that are fitted by a recipe."""
    datasets = [dataset for dataset in config.datasets.values() if dataset.follows(recipe.name)]
    return [source for source in config.sources.values() if any(dataset.takes(source.name) for dataset in datasets)]


def _grouped(source: Source) -> bool:
    """Whether a source's network tells its layers apart; of an unknown library others tell."""
    library = source.backbone.partition("/")[0]
    known = library in registry.names("backbones")
    return not known or registry.constant("backbones", library, "GROUPED", default=False)


def _inattentive(config: "Config") -> Iterable[str]:
    """Low-rank adaptation of networks without attention."""
    for name, recipe in config.recipes.items():
        adapted = {source.backbone for source in _fitted(config, recipe)} if recipe.lora else set()
        for backbone in sorted(adapted):
            library, _, model = backbone.partition("/")
            known = library in registry.names("backbones")
            if known and not model.startswith(registry.constant("backbones", library, "ATTENTIVE", default=())):
                remedy = "remove it, or choose a vision transformer"
                yield f"recipes.{name}.lora: {backbone} has no attention that it adapts; {remedy}"
