"""Mistakes in what a config asks of networks: targets, their tasks and labels, and the metrics that must fit them."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.core.errors import did_you_mean
from headwater.study import target as targets
from headwater.study.archive import Dataset, is_flat, ndim_of
from headwater.study.checks import missing
from headwater.study.idle_keys import changed
from headwater.study.text_checks import unfit

if TYPE_CHECKING:
    from headwater.study.config import Config


def mistakes(config: "Config") -> Iterable[str]:
    """A line for each thing that is wrong with what networks are asked."""
    checks = (
        *(_unknown_tasks, _bad_targets, _unordered, _bad_names, _bad_selection, _misfitting_metrics, _outlines),
        *(_shallow, _without_volume),
    )
    return (line for check in checks for line in check(config))


def _unknown_tasks(config: "Config") -> Iterable[str]:
    """Tasks that no file stands for."""
    for name, dataset in config.datasets.items():
        for target, asked in dataset.asked.items():
            place = f"datasets.{name}.targets.{target}" if target else f"datasets.{name}"
            yield from missing(f"{place}.task", asked.task, registry.names("tasks"))


def _bad_targets(config: "Config") -> Iterable[str]:
    """Targets beside a task or labels of the dataset itself, without labels, or with a label that another one has."""
    for name, dataset in config.datasets.items():
        for key in sorted(dataset.model_fields_set & {"task", "labels"}) if dataset.targets else ():
            yield f"datasets.{name}.{key}: each target has its own; move it below targets, or remove targets"
        for target, asked in dataset.targets.items():
            if not asked.labels:
                yield f"datasets.{name}.targets.{target}.labels: lists no label; list one, or remove the target"
        for label, count in Counter(dataset.listed).items():
            if count > 1:
                yield f"datasets.{name}.{_holding(dataset, label)}: a label is listed twice; remove one"


def _unordered(config: "Config") -> Iterable[str]:
    """Targets that learn from the order of their labels, and list none or too few."""
    known = registry.names("tasks")
    for name, dataset in config.datasets.items():
        for target, asked in dataset.asked.items():
            place = f"datasets.{name}.targets.{target}" if target else f"datasets.{name}"
            least = targets.fewest(asked.task) if asked.task in known and (asked.labels or not target) else 0
            if len(asked.labels) < least:
                yield (
                    f"{place}.labels: the task {asked.task} needs {least} or more, in their order (got "
                    f"{len(asked.labels)}); list them all, from the lowest to the highest, or use the task "
                    "classification"
                )


def _holding(dataset: Dataset, label: str) -> str:
    """Where a dataset names a label: in its labels, or in those of which targets."""
    holding = [name for name, asked in dataset.targets.items() if label in asked.labels]
    return " and ".join(f"targets.{name}.labels" for name in holding) + f" ({label!r})" if holding else "labels"


def _bad_names(config: "Config") -> Iterable[str]:
    """Names of targets that a table cannot show, or that a subset of labels has already."""
    for name, dataset in config.datasets.items():
        for target in dataset.targets:
            place = f"datasets.{name}.targets.{target}"
            yield from (f"{place}: {why}" for why in unfit(target))
            if target in config.comparison.subsets:
                yield f"{place}: comparison.subsets has one of that name, and each gets a macro; rename one of them"


def _bad_selection(config: "Config") -> Iterable[str]:
    """Recipes that select steps by a score that no task of a dataset computes."""
    known = set(registry.names("tasks"))
    for name, recipe in config.recipes.items():
        asked = [known & set(dataset.tasks) for dataset in config.datasets.values() if dataset.follows(name)]
        for tasks in sorted({tuple(sorted(of)) for of in asked if of}):
            scores = ("loss", targets.SCORE, *(registry.constant("tasks", task, "SCORE", default="") for task in tasks))
            if recipe.select not in scores:
                remedy = did_you_mean(recipe.select, scores)
                yield f"recipes.{name}.select: the task {' and '.join(tasks)} has no score {recipe.select!r}; {remedy}"


def _outlines(config: "Config") -> Iterable[str]:
    """Keys without effect where nothing is outlined, and what cannot be done where something is."""
    tasks = {
        name: [task for task in of.tasks if task in registry.names("tasks")] for name, of in config.datasets.items()
    }
    outlining = {name: [task for task in of if targets.outlines(task)] for name, of in tasks.items()}
    for name, dataset in config.datasets.items():
        for key in changed(dataset, "write_outlines") if not outlining[name] else ():
            yield f"datasets.{name}.{key}: no task outlines structures here; remove it"
        if outlining[name] and dataset.archive in config.archives and ndim_of(config.archives[dataset.archive]) == 2:
            yield (
                f"datasets.{name}.task: {outlining[name][0]} needs masks; use the task classification, or"
                " kind: own_pictures_with_masks"
            )
    for name, recipe in config.recipes.items() if config.datasets else ():
        fitted = [of for of, dataset in config.datasets.items() if dataset.follows(name)]
        for key in changed(recipe, "foreground", "deep_supervision") if not any(map(outlining.get, fitted)) else ():
            yield f"recipes.{name}.{key}: no task outlines structures; remove it"
        if recipe.class_weights and fitted and all(len(outlining[of]) == len(tasks[of]) for of in fitted):
            yield f"recipes.{name}.class_weights: structures are not weighted, as Dice counts each alike; remove it"
    if config.controls.shuffled and any(outlining.values()):
        yield "controls.shuffled: an outline of another case fits no image; remove it, controls.again is the check here"


def _shallow(config: "Config") -> Iterable[str]:
    """Deep supervision of networks whose decoders have no output between the finest and the lowest, which is left out.

    Where an encoder is frozen the decoder is another one, and the training refuses what is too shallow.
    """
    known = set(registry.names("tasks"))
    outlined = [of for of in config.datasets.values() if any(map(targets.outlines, known.intersection(of.tasks)))]
    sources = [one for one in config.sources.values() if one.backbone.partition("/")[0] in registry.names("backbones")]
    for name, recipe in config.recipes.items():
        if not recipe.deep_supervision or recipe.kind != "finetune":
            continue
        fitted = [dataset for dataset in outlined if dataset.follows(name)]
        used = [source for source in sources if any(dataset.takes(source.name) for dataset in fitted)]
        for backbone in sorted({source.backbone for source in used if source.shallow}):
            why = f"the decoder of {backbone} has no output between its finest and its lowest one"
            yield f"recipes.{name}.deep_supervision: {why}; remove it, or choose a deeper backbone"


def _without_volume(config: "Config") -> Iterable[str]:
    """Metrics of volumes where pictures are outlined."""
    known = registry.names("metrics")
    metrics = [name for name in config.comparison.metrics if name in known]
    for name, dataset in config.datasets.items():
        archive = config.archives.get(dataset.archive)
        if archive is None or not is_flat(archive) or not set(dataset.tasks) <= set(registry.names("tasks")):
            continue
        for metric in dataset.fitting(metrics):
            if registry.constant("metrics", metric, "VOLUME", default=False):
                yield f"comparison.metrics: {metric} is of volumes, but datasets.{name} has pictures; remove it"


def _misfitting_metrics(config: "Config") -> Iterable[str]:
    """Metrics that fit no dataset, datasets that no metric fits, and metrics that take log-odds for probabilities."""
    known = set(registry.names("tasks"))
    metrics = [name for name in config.comparison.metrics if name in registry.names("metrics")]
    datasets = [dataset for dataset in config.datasets.values() if known.issuperset(dataset.tasks)]
    fitting = {dataset.name: dataset.fitting(metrics) for dataset in datasets}
    for metric in metrics:
        for dataset in datasets:
            # a study may ask for labels in one dataset and for outlines in another, each with metrics of its own
            alone = not fitting[dataset.name] or not any(metric in of for of in fitting.values())
            if metric in fitting[dataset.name] or alone:
                yield from (f"comparison.metrics: {metric} {reason}" for reason in _misfit(metric, dataset))


def _misfit(metric: str, dataset: Dataset) -> Iterable[str]:
    """Why a metric cannot be computed for a dataset, and what to do."""
    place = f"dataset {dataset.name} ({', '.join(dataset.tasks)})"
    fitting = [task for task in dataset.tasks if targets.fits(metric, task)]
    if not fitting:
        given = ", ".join(targets.evidence(dataset.tasks))
        yield f"needs {', '.join(targets.needed(metric))}; {place} gives {given}; choose another metric"
    wants_chances = registry.constant("metrics", metric, "PROBABILITIES", default=False)
    if wants_chances and any(targets.log_odds(task) for task in fitting):
        yield (
            f"needs probabilities; {place} gives log-odds; remove it; calibration.csv of the report has it "
            "for every study"
        )
