"""The grid of a study: every source fitted to every dataset by every recipe, once per seed."""

import hashlib
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from headwater.core import registry
from headwater.core.records import Choice, Record
from headwater.study.archive import Archive, Dataset
from headwater.study.comparison import Comparing, Comparison
from headwater.study.leaks import Leaks, Learned, Overlaps
from headwater.study.paths import run_path
from headwater.study.recipe import Recipe
from headwater.study.source import PROBED, Source

EVERYTHING = Choice(name="everything")
"""What `everything` stands for, whether a config says so or not."""


class Run(Record):
    """One cell of the grid: a source fitted to a dataset by a recipe, once."""

    dataset: Dataset
    source: Source
    recipe: Recipe
    seed: int = Field(ge=0)

    @property
    def path(self) -> str:
        """Where its products lie below the runs folder."""
        return run_path(self.dataset.name, self.source.name, self.recipe.name, self.seed)

    @property
    def stream(self) -> int:
        """Which random numbers the fitting draws: the seed's, the same for every source; an A/A control has its own."""
        if self.source.control != "again":
            return self.seed
        return int(hashlib.sha256(f"again/{self.seed}".encode()).hexdigest()[:15], 16)


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

    def archive(self, name: str) -> Archive:
        """The archive of that name."""
        return _named(self.archives, name)

    def images_of(self, archive: str) -> str:
        """The archive that an archive's images were prepared for: itself, unless it reads another's labels anew."""
        return self.archive(archive).images_of or archive

    @property
    def overlaps(self) -> Overlaps:
        """What the ledger looks at: all splits of datasets, training splits of corpora, and what probes look at."""
        used = {self.images_of(source.corpus): ("train",) for source in self.sources if source.corpus}
        used |= {self.images_of(source.probe.archive): PROBED for source in self.sources if source.probe}
        used |= {self.images_of(dataset.archive): ("train", "validation", "test") for dataset in self.datasets}
        return Overlaps(
            leaks=self.leaks,
            archives=tuple(
                Learned(
                    archive=name,
                    splits=splits,
                    numbering=self.archive(name).numbering,
                )
                for name, splits in sorted(used.items())
            ),
        )

    def like(self, reduction: str) -> str | None:
        """The reduction that this one keeps as many images as, if it asks for that."""
        return self._meant(reduction, "reduction")

    def looked_at_by(self, reduction: str) -> str | None:
        """The source whose encoder tells a reduction what images show, if it asks for one."""
        return self._meant(reduction, "source")

    def _meant(self, reduction: str, meaning: str) -> str | None:
        """What a reduction says by the option that its plug-in declares to mean this, if it does."""
        choice = self.reductions[reduction]
        option = registry.option("reductions", choice.name, means=meaning)
        return choice.options.get(option) if option else None

    def before(self, source: str) -> list[str]:
        """The sources whose encoders must be there before a source can be pre-trained: its start, and who looks."""
        record = self.source(source)
        reductions = [record.reduction, self.like(record.reduction)]
        lookers = [self.looked_at_by(reduction) for reduction in reductions if reduction]
        return [name for name in [record.start, *lookers] if name]

    @property
    def corpora(self) -> list[tuple[str, str]]:
        """Each archive with each reduction that is learned from, behind those that others keep as many images as."""
        learned = {(source.corpus, source.reduction) for source in self.sources if source.kind == "pretrained"}
        likes = {(corpus, self.like(reduction)) for corpus, reduction in learned if self.like(reduction)}
        return sorted(learned | likes, key=lambda corpus: (self.like(corpus[1]) is not None, *corpus))

    @property
    def reduced(self) -> bool:
        """Whether a pre-training learns from a part of its corpus only."""
        return any(reduction != "everything" for _, reduction in self.corpora)

    @property
    def looked_at(self) -> list[tuple[str, str]]:
        """Each corpus with each source whose encoder tells a reduction of it what the images show."""
        pairs = {(corpus, self.looked_at_by(reduction)) for corpus, reduction in self.corpora}
        return sorted((corpus, looker) for corpus, looker in pairs if looker)

    def source(self, name: str) -> Source:
        """The source of that name."""
        return _named(self.sources, name)

    def learned_by(self, source: Source) -> set[str]:
        """The archives that a source's weights were pre-trained on here, by itself or by what it starts from."""
        before = self.learned_by(self.source(source.start)) if source.start else set()
        return before | ({self.images_of(source.corpus)} if source.corpus else set())

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name."""
        return _named(self.datasets, name)

    def run(self, dataset: str, source: str, recipe: str, seed: int | str) -> Run:
        """One cell of the grid."""
        return Run(
            dataset=self.dataset(dataset),
            source=self.source(source),
            recipe=_named(self.recipes, recipe),
            seed=int(seed),
        )

    def runs(self, dataset: str) -> Iterator[Run]:
        """All cells of one dataset: recipes, then sources, then seeds."""
        for recipe in self.recipes:
            for source in self.sources:
                for seed in self.seeds:
                    yield self.run(dataset, source.name, recipe.name, seed)

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
        asked = self.dataset(dataset)
        subsets = {name: {dataset: of[dataset]} for name, of in self.further_macros.items() if dataset in of}
        return Comparison(
            # what networks do elsewhere changes no comparison at home, and repeats none
            **{**self.comparing.model_dump(exclude={"external"}), "subsets": subsets},
            dataset=dataset,
            task=asked.task,
            targets=asked.targets,
            sources=tuple(source.name for source in self.sources),
            recipes=tuple(recipe.name for recipe in self.recipes),
            seeds=self.seeds,
            again={source.name: source.of for source in self.sources if source.control == "again"},
            shuffled=tuple(source.name for source in self.sources if source.control == "shuffled"),
        )


def _named(records: tuple[Any, ...], name: str) -> Any:
    return next(record for record in records if record.name == name)
