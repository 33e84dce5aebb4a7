"""The job graph: inputs and outputs of the jobs of each rule, for the workflow and for planning.

The method of `JobGraph` with a rule's name gives the inputs of its jobs. It takes only the wildcards on which these
depend, so that thousands of runs share one cached result.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property, partial
from itertools import chain
from typing import Any, Literal

from headwater.study import shared_labels
from headwater.study.archive import Archive, ndim_of, seen_of, view_of
from headwater.study.config import Config
from headwater.study.grid import Grid, Run
from headwater.study.jobs import Job, by_seed, in_order, of_runs, place
from headwater.study.paths import Paths
from headwater.study.rules import NAMES, PREPARED_BY, TABLES, flat, rules
from headwater.study.source import Source

Inputs = dict[str, str | list[str]]
"""The input files of a job, by their names in its command."""


class JobGraph:
    """The job graph of one study: the inputs of the jobs of each rule, and all jobs."""

    def __init__(self, config: Config, *, label_files: Callable[[Archive], list[str]] = lambda archive: []):
        """`label_files` gives the files that an archive is read from; planning, to which only jobs matter, omits it."""
        self.config, self.grid, self.paths = config, config.grid(), Paths(config.results)
        resolved = [learned.archive for learned in self.grid.overlaps.archives] if self.grid.leaks.resolve else []
        self.rules = rules(self.paths, seeds=self.grid.seeds, resolved=resolved)
        self.label_files = label_files
        self.exchanges = cache(partial(_exchanges, self.grid))
        self._look_ups = {rule: cache(getattr(self, rule)) for rule in self.rules if hasattr(self, rule)}
        self._depends_on = {rule: tuple(inspect.signature(getattr(self, rule)).parameters) for rule in self._look_ups}

    def looked_up(self, rule: str, wildcards: Any) -> Inputs:
        """Inputs of a job besides the templates of its rule; `wildcards` has each as an attribute."""
        return self._look_ups[rule](*[getattr(wildcards, name) for name in self._depends_on[rule]])

    # inputs of the jobs of each rule: named as in their commands, in the order in which Snakemake prints them

    def twin(self) -> Inputs:
        """Nothing: a synthetic archive follows from its settings."""
        return {}

    def prepare(self, archive: str) -> Inputs:
        """The label files of an archive, or the stamp of its twin."""
        record = self.grid.archive(archive)
        origin = [self.paths.twin(self.grid.images_of(archive))] if record.twin else self.label_files(record)
        return {"origin": origin}

    prepare_volumes = prepare

    def relabel(self, archive: str) -> Inputs:
        """The same, and cases and rejects of the archive whose images it uses."""
        first = self.grid.images_of(archive)
        return {
            **self.prepare(archive),
            "first": self.paths.cases(first),
            "first_rejects": self.paths.rejects(first),
        }

    def ledger(self) -> Inputs:
        """The cases of all archives that the grid uses, and their hashes."""
        archives = [learned.archive for learned in self.grid.overlaps.archives]
        return {
            "cases": [self.paths.cases(archive) for archive in archives],
            "hashes": [self.paths.hashes(archive) for archive in archives],
        }

    def embed(self, archive: str, source: str) -> Inputs:
        """The images of a corpus, and the encoder that computes their features."""
        return {**self._material(archive), "encoder": self._first_weights(source), **self._dropped(archive)}

    def reduce(self, archive: str, reduction: str) -> Inputs:
        """A corpus, and what its reduction requires: the rows of another reduction, or an encoder's features."""
        like, source = self.grid.like(reduction), self.grid.looked_at_by(reduction)
        return {
            **self._material(archive),
            "hashes": self.paths.hashes(self.grid.images_of(archive)),
            "like": [self.paths.rows(archive, like)] if like else [],
            "features": [self.paths.features(archive, source)] if source else [],
            **self._dropped(archive),
        }

    def adopt(self, source: str) -> Inputs:
        """The weights file, unless it comes from a hub."""
        return {"weights": self.grid.source(source).weights.path or []}

    def pretrain(self, source: str) -> Inputs:
        """The corpus, the rows of its reduction, and if there are any, initial weights and the archives of probes."""
        record = self.grid.source(source)
        archives = [probe.archive for probe in record.probes.values()]
        probes = [{**self._material(archive), **self._dropped(archive)} for archive in archives]
        return {
            **self._material(record.corpus),
            "rows": self.paths.rows(record.corpus, record.reduction),
            "start": [self.paths.encoder(record.start)] if record.start else [],
            "probe": [file for files in probes for file in files.values()],
            **self._dropped(record.corpus),
        }

    def finetune(self, dataset: str, source: str) -> Inputs:
        """The images of a dataset, and the encoder that a run starts from."""
        archive = self.grid.dataset(dataset).archive
        return {**self._material(archive), "encoder": self._first_weights(source), **self._dropped(archive)}

    def predict(self, dataset: str) -> Inputs:
        """The cases of a dataset."""
        # the job that makes the cases makes the images, so listing those would only slow plans of thousands of runs
        archive = self.grid.dataset(dataset).archive
        return {"cases": self.paths.cases(archive), **self._dropped(archive)}

    def transport(self, dataset: str) -> Inputs:
        """The cases of the other datasets that share a finding with this one."""
        return {"cases": [self.paths.cases(archive) for archive in self.archives_of("abroad", dataset)]}

    def compare(self, dataset: str) -> Inputs:
        """The predictions of all runs on a dataset's test cases, and its labels; of folds they are in its cases."""
        record = self.grid.dataset(dataset)
        return {
            "predictions": [self.paths.predictions(run.path) for run in self.grid.runs(dataset)],
            "labels": (self.paths.cases if record.splits else self.paths.labels)(record.archive),
        }

    def examine(self, dataset: str) -> Inputs:
        """The same, predictions on validation cases, and predictions of networks that were fitted to other datasets."""
        compared, guests = self.compare(dataset), list(self._guests(dataset))
        return {
            "predictions": compared["predictions"],
            "validation": [self.paths.validation(run.path) for run in self.grid.runs(dataset)],
            "labels": compared["labels"],
            "cases": self.paths.cases(self.grid.dataset(dataset).archive),
            "elsewhere": [self.paths.elsewhere(run.path) for run in guests],
            "validation_elsewhere": [self.paths.validation(run.path) for run in guests],
            "labels_elsewhere": [self.paths.labels(archive) for archive in self.archives_of("guests", dataset)],
        }

    def cross(self, dataset: str) -> Inputs:
        """Predictions and labels to compare networks on a dataset that they were not fitted to."""
        examined = self.examine(dataset)
        return {name: examined[name] for name in ("predictions", "elsewhere", "labels", "labels_elsewhere")}

    def overlay(self, dataset: str) -> Inputs:
        """The predictions of all runs, beside which the outlines lie, and the cases."""
        return {
            "predictions": self.compare(dataset)["predictions"],
            "cases": self.paths.cases(self.grid.dataset(dataset).archive),
        }

    def report(self) -> Inputs:
        """All tables of all comparisons, and those of the archives."""
        paths, datasets = self.paths, list(self.config.datasets)
        archives = [dataset.archive for dataset in self.grid.datasets]
        # the last table of either rule goes into `provenance` below; `settled`, the one before it, is not reported
        # datasets in folds are not examined
        about = dict.fromkeys(TABLES["compare"][:-1], datasets)
        about |= dict.fromkeys(TABLES["examine"][:-2], self.grid.with_test_split)
        tables = {
            NAMES.get(table, table): [paths.compared(name, table) for name in names] for table, names in about.items()
        }
        origins = [paths.compared(name, table) for name in datasets for table in self.origins(name)]
        corpora = self.grid.corpora if self.grid.reduced else ()
        return {
            **tables,
            "provenance": origins,
            "labels": [paths.labels(archive) for archive in archives],
            "cases": [paths.cases(archive) for archive in archives],
            "rejects": [paths.rejects(archive) for archive in self.archives_used],
            "ledger": paths.ledger(),
            **({"dropped": self.rules["ledger"].outputs["dropped"]} if self.grid.leaks.resolve else {}),
            "crossed": [paths.compared(name, "crossed") for name in datasets if self.exchanged("guests", name)],
            "manifests": [paths.manifest(*corpus) for corpus in corpora],
            **({"overlays": overlays} if (overlays := list(map(paths.overlays, self.overlaid))) else {}),
        }

    # shared by several rules and by commands

    @property
    def overlaid(self) -> list[str]:
        """The datasets whose outlines are shown beside each other: those whose outlines are written."""
        return [dataset.name for dataset in self.grid.datasets if dataset.write_outlines]

    @cached_property
    def archives_used(self) -> list[str]:
        """The archives used for training, testing or probes."""
        return self.grid.archives_used

    def origins(self, dataset: str) -> list[str]:
        """The tables that name the files behind a dataset's numbers."""
        return ["provenance", *(["examined"] if dataset in self.grid.with_test_split else [])]

    def exchanged(self, way: Literal["abroad", "guests"], dataset: str) -> tuple[Any, ...]:
        """The other datasets of `exchanges`; none in a study without external validation."""
        return self.exchanges(way, dataset).others if self.config.comparison.external else ()

    def archives_of(self, way: Literal["abroad", "guests"], dataset: str) -> list[str]:
        """The archives of those datasets."""
        return [self.grid.dataset(other.dataset).archive for other in self.exchanged(way, dataset)]

    def progress(self) -> dict[str, str]:
        """The product of each training, by the file of its checkpoint."""
        runs = chain.from_iterable(self.grid.runs(dataset.name) for dataset in self.grid.datasets)
        products = {source.digest: self.paths.encoder(source.name) for source in self.grid.sources}
        products |= {run.digest: self.paths.model(run.path) for run in runs}
        return {self.paths.progress_of(digest): product for digest, product in products.items()}

    def images(self, archive: str) -> str:
        """The prepared images of an archive, which may be those of another."""
        return self.paths.images(self.grid.images_of(archive))

    def looking_at(self, archive: str, source: str) -> Source:
        """The record of a source that sees an archive's images in the archive's window or intensity, and its view."""
        record = self.grid.archive(archive)
        return self.grid.source(source).model_copy(update={"seen": seen_of(record), "view": view_of(record)})

    def _material(self, archive: str) -> Inputs:
        """Cases and images of an archive."""
        return {"cases": self.paths.cases(archive), "images": self.images(archive)}

    def _dropped(self, archive: str) -> Inputs:
        """The list of an archive's cases that are dropped from training; nothing in a study that resolves no leaks."""
        return {"dropped": self.paths.dropped(self.grid.images_of(archive))} if self.grid.leaks.resolve else {}

    def _first_weights(self, source: str) -> list[str]:
        """The encoder that a run starts from: for a control that of its source; none for a random start."""
        original = self.grid.source(source).original
        return [] if original.kind == "random" else [self.paths.encoder(original.name)]

    def records(self, dataset: str) -> list[str]:
        """The digests of a dataset's runs, in the order of their predictions."""
        return [run.digest for run in self.grid.runs(dataset)]

    def records_of_guests(self, dataset: str) -> list[str]:
        """The digests of the runs on other datasets whose networks are also tested on this one, in their order."""
        return [run.digest for run in self._guests(dataset)]

    def _guests(self, dataset: str) -> Iterator[Run]:
        """The runs on other datasets whose networks are also tested on this one."""
        for other in self.exchanged("guests", dataset):
            yield from shared_labels.runs(self.grid, other.dataset)

    # all jobs

    def jobs(self) -> Iterator[Job]:
        """Every job of the study, each after those that it depends on."""
        return self._linked(self._listed())

    def upstream(self) -> Iterator[Job]:
        """The jobs that make archives, the ledger and encoders, each after those that it depends on."""
        return self._linked(chain(self._of_archives(), self._of_sources()))

    def _linked(self, jobs: Iterable[tuple[str, tuple[str, ...], dict[str, Any]]]) -> Iterator[Job]:
        """Jobs of the form that `_listed` gives, each after those among them that it depends on."""
        listed = [(rule, wildcards, self.named(rule, wildcards), more) for rule, wildcards, more in jobs]
        # any product of a job, mapped to its first product, which identifies the job
        maker: dict[str, str] = {}
        for rule, _, named, _ in listed:
            products = [template.format_map(named) for template in self.rules[rule].products]
            maker.update(dict.fromkeys(products, products[0]))
        yield from in_order(
            [
                Job(
                    rule=rule,
                    wildcards=wildcards,
                    product=self.rules[rule].product.format_map(named),
                    needs=tuple(dict.fromkeys(maker[file] for file in self._inputs(rule, named) if file in maker)),
                    **more,
                )
                for rule, wildcards, named, more in listed
            ]
        )

    def named(self, rule: str, wildcards: tuple[str, ...]) -> dict[str, str]:
        """The wildcards of a job by name."""
        return dict(zip(self.rules[rule].wildcards, wildcards, strict=True))

    def _inputs(self, rule: str, wildcards: dict[str, str]) -> Iterator[str]:
        """Every input file of a job."""
        if rule in self._look_ups:
            for files in self._look_ups[rule](*[wildcards[name] for name in self._depends_on[rule]]).values():
                yield from [files] if isinstance(files, str) else files
        for template in flat(self.rules[rule].inputs.values()):
            yield template.format_map(wildcards)

    def _listed(self) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
        """(rule, wildcards, further fields of `Job`) for each job, in the order of the workflow."""
        yield from self._of_archives()
        yield from self._of_sources()
        for dataset in self.grid.datasets:
            for runs in by_seed(self.grid.runs(dataset.name)):
                ranks = self.config.compute.of(runs[0].recipe.compute).ranks
                for run in runs:
                    yield "finetune", (*place(run), str(run.seed)), of_runs((run,), ranks=ranks)
                # a prediction is short: one process for all seeds
                yield "predict", place(runs[0]), of_runs(runs, ranks=1)
        for dataset in self.grid.datasets if self.config.comparison.external else ():
            for runs in by_seed(shared_labels.runs(self.grid, dataset.name)):
                yield "transport", place(runs[0]), of_runs(runs, ranks=1)
        for dataset in self.config.datasets:
            left_out = set() if self.exchanged("guests", dataset) else {"cross"}
            left_out |= set() if dataset in self.grid.with_test_split else {"examine"}
            for rule in TABLES:
                if rule not in left_out:
                    yield rule, (dataset,), {"kind": dataset}
            if dataset in self.overlaid:
                yield "overlay", (dataset,), {"kind": dataset}
        yield "report", (), {}

    def _of_archives(self) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
        """Jobs that make twins, prepare and relabel archives, and write the ledger."""
        for name in sorted({self.grid.images_of(archive) for archive in self.archives_used}):
            if self.grid.archive(name).twin:
                yield "twin", (name,), {"kind": name}
            yield PREPARED_BY[ndim_of(self.grid.archive(name))], (name,), {"kind": name}
        for name in self.archives_used:
            if self.grid.archive(name).images_of:
                yield "relabel", (name,), {"kind": name}
        yield "ledger", (), {}

    def _of_sources(self) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
        """Jobs that compute features, reduce corpora, and make adopted and pre-trained encoders."""
        for corpus, source_of_features in self.grid.looked_at:
            kind = f"{corpus}, {self.grid.source(source_of_features).backbone}"
            yield "embed", (corpus, source_of_features), {"kind": kind, "ranks": 1}
        for corpus, reduction in self.grid.corpora:
            yield "reduce", (corpus, reduction), {"kind": corpus}
        for source in self.config.sources.values():
            if source.kind == "adopted":
                yield "adopt", (source.name,), {"kind": source.name}
            if source.kind == "pretrained":
                ranks = self.config.compute.of(source.compute).ranks
                yield "pretrain", (source.name,), {"kind": source.name, "source": source, "ranks": ranks}


def jobs(config: Config) -> Iterator[Job]:
    """Every job of a study, each after those that it depends on."""
    return JobGraph(config).jobs()


def _exchanges(grid: Grid, way: Literal["abroad", "guests"], dataset: str) -> Any:
    """The datasets on which a dataset's networks are also tested (`abroad`), or whose networks are tested on it."""
    return getattr(shared_labels, way)(grid, dataset)
