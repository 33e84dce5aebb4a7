"""Mistakes in a config with datasets in folds: what such a dataset has no meaning for, or what would leak."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from headwater.core import registry
from headwater.study.archive import Dataset
from headwater.study.idle_keys import changed
from headwater.study.text_checks import LONGEST_NAME

if TYPE_CHECKING:
    from headwater.study.config import Config

OF_RESAMPLES = ("resamples", "seed", "pairing", "specificity")
"""Keys of a comparison that have an effect only where there is a test split."""


def mistakes(config: "Config") -> Iterable[str]:
    """One line for each key that does not go with folds."""
    in_folds = {name: dataset for name, dataset in config.datasets.items() if dataset.splits}
    for name, dataset in in_folds.items():
        if dataset.archive in config.archives:
            yield from _of_archive(config, name, dataset)
        if dataset.write_outlines:
            yield f"datasets.{name}.write_outlines: outlines are not written of datasets in folds; remove it"
        if len(longest := dataset.parts[-1].name) > LONGEST_NAME:
            yield f"datasets.{name}: {longest} has {len(longest)} characters; use at most {LONGEST_NAME}"
    if in_folds:
        yield from _of_comparison(config, next(iter(in_folds)))


def _of_archive(config: "Config", name: str, dataset: Dataset) -> Iterable[str]:
    """Archives with a test split of their own, and images that are learned from or tested in another way as well."""
    place, archive = f"datasets.{name}.splits", config.archives[dataset.archive]
    kind = archive.kind.name
    known = kind in registry.names("datasets")
    if known and "test" in registry.constant("datasets", kind, "OFFICIAL", default=()):
        yield f"{place}: {kind} has an official test split; remove it"
    if archive.images_of:
        yield f"{place}: {archive.name} is a second reading of {archive.images_of}, which folds cannot be of; remove it"
    for other, further in config.datasets.items():
        shared = further.archive in config.archives and _images(config, further.archive) == archive.name
        if shared and further.splits != dataset.splits:
            yield f"{place}: datasets.{other} has the same images and other splits; give both the same"
    for source in config.sources.values():
        if source.corpus in config.archives and _images(config, source.corpus) == archive.name:
            why = f"its encoder would have seen cases of {archive.name}, which are all tested in the folds of {name}"
            yield f"sources.{source.name}.corpus: {why}; use another corpus, or remove {place}"


def _images(config: "Config", archive: str) -> str:
    return config.archives[archive].images_of or archive


def _of_comparison(config: "Config", name: str) -> Iterable[str]:
    """What is resampled, predicted elsewhere or dropped, where there is no test split."""
    comparison, why = config.comparison, f"datasets.{name} is in folds"
    if comparison.external:
        yield f"comparison.external: {why}, whose networks are tested on their own fold only; remove one of them"
    for key, usual in {"method": "obuchowski_rockette", "correction": "holm"}.items():
        if (set_to := getattr(comparison, key)) != usual:
            yield f"comparison.{key}: {why}, which {set_to} cannot compare; use {usual}"
    if config.leaks.resolve:
        yield f"leaks.resolve: {why}, whose cases are all tested, so that none can be dropped; remove one of them"
    for key in changed(comparison, *OF_RESAMPLES) if all(one.splits for one in config.datasets.values()) else ():
        yield f"comparison.{key}: all datasets are in folds, and no test split needs it; remove it"
