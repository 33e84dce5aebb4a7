"""The grid of a study: sources fitted to datasets by every recipe, once per seed."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study.archive import Archive, Dataset, ndim_of, view_of
from headwater.study.comparison import Comparing, Comparison
from headwater.study.folds import apart
from headwater.study.leaks import Leaks, Learned, Overlaps
from headwater.study.paths import run_path
from headwater.study.recipe import Recipe
from headwater.study.source import PROBED, Source
from headwater.study.wording import Wording

EVERYTHING = Choice(name="everything")
"""The reduction `everything`, which every config has without listing it."""


class Run(Record):
    """A run: a source fitted to a dataset by a recipe with one seed."""

    dataset: Dataset
    source: Source
    recipe: Recipe
    seed: int = Field(ge=0)

    @property
    def path(self) -> str:
        """The folder of its products below `runs/`."""
        return run_path(self.dataset.name, self.source.name, self.recipe.name, self.seed)

    @property
    def drawn_under(self) -> int:
        """The seed of first weights: that of the run, or another for each of its folds.

        Folds with the same draws would share the noise of a training, which their differences would then not show.
        """
        fold = self.dataset.fold
        return self.seed if fold is None else _number(f"fold{fold.number}/{self.seed}")

    @property
    def stream(self) -> int:
        """The seed of the fitting's random numbers: the same for every source, another for an A/A control."""
        if self.source.control != "again":
            return self.drawn_under
        # a control with the random numbers of its source would repeat that run, and its difference would be 0
        return _number(f"again/{self.drawn_under}")


class Grid(Record):
    """The whole plan: archives, sources, datasets, recipes, seeds, and how they are compared."""

    archives: tuple[Archive, ...]
    reductions: dict[str, Choice]
    sources: tuple[Source, ...]
    datasets: tuple[Dataset, ...]
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    comparing: Comparing
    leaks: Leaks = Leaks()
    wording: Wording = Wording()
    """What sources, datasets, recipes and labels are called; no run depends on it."""

    def archive(self, name: str) -> Archive:
        """The archive of that name."""
        return _named(self.archives, name)

    def seen_in(self, entry: Source | Dataset) -> Archive:
        """The archive of a dataset, or the corpus of a source, with the view in which its pictures are seen there."""
        archive = self.archive(entry.archive if isinstance(entry, Dataset) else entry.corpus)
        return archive.model_copy(update={"view": entry.view})

    def images_of(self, archive: str) -> str:
        """The archive whose prepared images an archive uses: itself, unless it is a second reading of another."""
        return self.archive(archive).images_of or archive

    @property
    def overlaps(self) -> Overlaps:
        """What the ledger compares: all splits of datasets, training splits of corpora, and the splits of probes."""
        # the order matters: an archive with several uses keeps the last entry, the one with the most splits
        used = {self.images_of(source.corpus): ("train",) for source in self.sources if source.corpus}
        probes = [probe for source in self.sources for probe in source.probes.values()]
        used |= {self.images_of(probe.archive): PROBED for probe in probes}
        used |= {self.images_of(dataset.archive): ("train", "validation", "test") for dataset in self.datasets}
        folds = {self.images_of(dataset.archive): dataset.splits for dataset in self.datasets if dataset.splits}
        used |= {archive: dealt.names for archive, dealt in folds.items()}
        return Overlaps(
            leaks=self.leaks,
            archives=tuple(
                Learned(
                    archive=name,
                    splits=splits,
                    numbering=self.archive(name).numbering,
                    labels=self._needed_of(name) if self.leaks.resolve else (),
                    folds=folds.get(name),
                )
                for name, splits in sorted(used.items())
            ),
        )

    def _needed_of(self, archive: str) -> tuple[str, ...]:
        """The labels that datasets of these images learn; none where one learns all that the archive has."""
        listed = [dataset.listed for dataset in self.datasets if self.images_of(dataset.archive) == archive]
        return tuple(sorted({label for labels in listed for label in labels})) if all(listed) else ()

    @property
    def archives_used(self) -> list[str]:
        """The archives used for training, testing or probes."""
        learned = {archive for source in self.sources for archive in source.archives}
        return sorted({dataset.archive for dataset in self.datasets} | learned)

    def like(self, reduction: str) -> str | None:
        """The reduction whose number of kept images this one copies, if any."""
        return self._referred(reduction, "reduction")

    def looked_at_by(self, reduction: str) -> str | None:
        """The source whose encoder computes the features for a reduction, if any."""
        return self._referred(reduction, "source")

    def _referred(self, reduction: str, meaning: str) -> str | None:
        """The value of the option of a reduction that its plug-in declares to have this meaning, if it has one."""
        choice = self.reductions[reduction]
        option = registry.option("reductions", choice.name, means=meaning)
        return choice.options.get(option) if option else None

    def before(self, source: str) -> list[str]:
        """The sources whose encoders a pre-training needs: its start, and those that compute features for reducing."""
        record = self.source(source)
        reductions = [record.reduction, self.like(record.reduction)]
        feature_sources = [self.looked_at_by(reduction) for reduction in reductions if reduction]
        return [name for name in [record.start, *feature_sources] if name]

    @property
    def corpora(self) -> list[tuple[str, str]]:
        """(corpus, reduction) of all pre-trainings; reductions that copy a size come after those that they copy."""
        learned = {(source.corpus, source.reduction) for source in self.sources if source.kind == "pretrained"}
        copied = {(corpus, self.like(reduction)) for corpus, reduction in learned if self.like(reduction)}
        return sorted(learned | copied, key=lambda corpus: (self.like(corpus[1]) is not None, *corpus))

    @property
    def reduced(self) -> bool:
        """Whether a pre-training learns from a part of its corpus only."""
        return any(reduction != "everything" for _, reduction in self.corpora)

    @property
    def looked_at(self) -> list[tuple[str, str]]:
        """(corpus, source) for each encoder that computes features of a corpus for a reduction."""
        pairs = {(corpus, self.looked_at_by(reduction)) for corpus, reduction in self.corpora}
        return sorted((corpus, source) for corpus, source in pairs if source)

    def source(self, name: str) -> Source:
        """The source of that name."""
        return _named(self.sources, name)

    def size_of_encoder(self, source: str) -> int | tuple[int, ...]:
        """The image size that a source's network is built for: its corpus's, or the largest of the datasets'."""
        if corpus := self.source(source).corpus:
            # filled in from the corpus where the source sets none
            return self.source(source).view or self._whole(corpus, source=source)
        original = self.source(source).original.name
        sizes = [self.size_in(dataset, source=source) for dataset in self.datasets if dataset.takes(original)]
        # what only others start from, or look at a corpus with, sees what those see
        looked_at = [corpus for corpus, looking in self.looked_at if looking == source]
        sizes = sizes or [self.size_of(corpus, source=source) for corpus in looked_at]
        sizes = sizes or [self.size_of_encoder(further.name) for further in self.sources if further.start == source]
        return max(sizes, key=lambda size: size**2 if isinstance(size, int) else math.prod(size))

    def size_of(self, archive: str, *, source: str) -> int | tuple[int, int, int]:
        """The pixels of pictures across, or of volumes the patch that a source's networks see of an archive."""
        return view_of(self.archive(archive)) or self._whole(archive, source=source)

    def size_in(self, dataset: Dataset, *, source: str) -> int | tuple[int, int, int]:
        """The same of a dataset, which may have a view of its own."""
        return dataset.view or self._whole(dataset.archive, source=source)

    def _whole(self, archive: str, *, source: str) -> int | tuple[int, int, int]:
        """The same where nothing is reduced: pictures as they are stored."""
        record = self.archive(archive)
        return record.size if ndim_of(record) == 2 else self.source(source).shown(record.patch)

    def learned_by(self, source: Source) -> set[str]:
        """The archives on which a source was pre-trained here, including those of the sources that it starts from."""
        before = self.learned_by(self.source(source.start)) if source.start else set()
        return before | ({self.images_of(source.corpus)} if source.corpus else set())

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name, or one of its folds."""
        whole, fold = apart(name)
        dataset = _named(self.datasets, whole)
        return dataset if fold is None else dataset.in_fold(fold)

    def run(self, dataset: str, source: str, recipe: str, seed: int | str) -> Run:
        """The run of these names and this seed."""
        return Run(
            # which other sources are fitted beside it, and by which other recipes, changes no run
            dataset=self.dataset(dataset).model_copy(update={"sources": (), "recipes": ()}),
            source=self.source(source),
            recipe=_named(self.recipes, recipe),
            seed=int(seed),
        )

    def fitted_to(self, dataset: str) -> tuple[Source, ...]:
        """The sources that are fitted to a dataset, controls among them."""
        record = self.dataset(dataset)
        return tuple(source for source in self.sources if record.takes(source.original.name))

    def recipes_of(self, dataset: str) -> tuple[Recipe, ...]:
        """The recipes by which networks are fitted to a dataset."""
        record = self.dataset(dataset)
        return tuple(recipe for recipe in self.recipes if record.follows(recipe.name))

    def runs(self, dataset: str) -> Iterator[Run]:
        """All runs of one dataset, ordered by fold, recipe, source and seed."""
        for part in self.dataset(dataset).parts:
            for recipe in self.recipes_of(dataset):
                for source in self.fitted_to(dataset):
                    for seed in self.seeds:
                        yield self.run(part.name, source.name, recipe.name, seed)

    @property
    def with_test_split(self) -> tuple[str, ...]:
        """The datasets that have a test split, which others than those in folds have."""
        return tuple(dataset.name for dataset in self.datasets if dataset.splits is None)

    @property
    def in_folds(self) -> tuple[str, ...]:
        """The datasets in folds."""
        return tuple(dataset.name for dataset in self.datasets if dataset.splits)

    @property
    def further_macros(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """What is averaged besides all labels, for each dataset: the labels of each target, and declared subsets.

        The mean over a single label would only repeat it, so a target of one label has none.
        """
        of_targets: dict[str, dict[str, tuple[str, ...]]] = {}
        for dataset in self.datasets:
            for name, asked in dataset.asked.items():
                if name and len(asked.labels) > 1:
                    of_targets.setdefault(name, {})[dataset.name] = asked.labels
        return of_targets | self.comparing.subsets

    def comparison(self, dataset: str) -> Comparison:
        """What is compared on one dataset."""
        asked, sources = self.dataset(dataset), self.fitted_to(dataset)
        subsets = {name: {dataset: of[dataset]} for name, of in self.further_macros.items() if dataset in of}
        return Comparison(
            # external validation changes no comparison on the own test split, so switching it on repeats none
            **{**self.comparing.model_dump(exclude={"external", "reference", "metrics"}), "subsets": subsets},
            metrics=asked.fitting(self.comparing.metrics),
            reference=self.comparing.reference_on(dataset),
            dataset=dataset,
            splits=asked.splits,
            fractions=self._fractions(dataset) if asked.splits else {},
            task=asked.task,
            targets=asked.targets,
            sources=tuple(source.name for source in sources),
            recipes=tuple(recipe.name for recipe in self.recipes_of(dataset)),
            seeds=self.seeds,
            again={source.name: source.of for source in sources if source.control == "again"},
            shuffled=tuple(source.name for source in sources if source.control == "shuffled"),
        )

    def _fractions(self, dataset: str) -> dict[str, float]:
        """The recipes that learn from a share of the patients, and their shares."""
        return {recipe.name: recipe.fraction for recipe in self.recipes_of(dataset) if recipe.fraction < 1}


def _number(text: str) -> int:
    """A seed that follows from a text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def _named(records: tuple[Any, ...], name: str) -> Any:
    return next(record for record in records if record.name == name)
