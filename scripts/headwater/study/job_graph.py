"""Jobs: every job of a study as the rules of the workflow have it, told from the config alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.study.config import Config
from headwater.study.grid import Grid, Run
from headwater.study.source import Source

COMPARED = {"compare": ".parquet", "examine": ".calibration.parquet", "cross": ".crossed.parquet"}
"""What is done with all runs of a dataset, and how its first product ends."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of the workflow, known by its first product; jobs of one kind are taken to last equally long."""

    rule: str
    product: str
    wildcards: tuple[str, ...] = ()
    """What tells it from the others of its rule, in the order of the rule's first output."""
    kind: str = ""
    needs: tuple[str, ...] = ()
    ranks: int = 0
    """Processes of a training job, each with a GPU where there is one; 0 for all other jobs."""
    run: Run | None = None
    """The run that a fine-tuning or a prediction, at home or elsewhere, belongs to."""
    source: Source | None = None
    """The source that a pre-training makes."""

    @property
    def log(self) -> str:
        """The file that its command writes to, below the folder in which Snakemake was started."""
        *folders, last = self.wildcards or (self.rule,)
        if self.run:
            last = f"seed{last}"
        return "/".join(["logs", *([self.rule] if self.wildcards else []), *folders, f"{last}.log"])

    @property
    def lease(self) -> str:
        """What a training is called in the record of leases; empty for all other jobs."""
        record = self.run if self.rule == "finetune" else self.source
        return record.digest if record else ""

    @property
    def comment(self) -> str:
        """What Snakemake writes into the comment field of its SLURM job."""
        return f"rule_{self.rule}" + (f"_wildcards_{'_'.join(self.wildcards)}" if self.wildcards else "")

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.rule} {'/'.join(self.wildcards)}".rstrip()


def jobs(plan: Config) -> Iterator[Job]:
    """Every job of a study, each after those that it needs."""
    grid = plan.grid()
    yield from _of_archives(grid, plan.results)
    yield from _in_order([*_of_corpora(plan), *_of_sources(plan)])
    predictions: dict[str, tuple[str, ...]] = {}
    for dataset in grid.datasets:
        predicted = []
        for run in grid.runs(dataset.name):
            for job in _of_run(run, plan):
                yield job
            predicted.append(job.product)
        predictions[dataset.name] = tuple(predicted)
    transports = list(_transports(plan)) if plan.comparison.external else []
    yield from (job for job, _ in transports)
    compared = []
    for dataset in grid.datasets:
        foreign = tuple(job.product for job, tested in transports if dataset.name in tested)
        needs = {"compare": (), "examine": foreign, **({"cross": foreign} if foreign else {})}
        for rule, others in needs.items():
            compared.append(f"{plan.results}/comparisons/{dataset.name}{COMPARED[rule]}")
            told = {"wildcards": (dataset.name,), "kind": dataset.name}
            yield Job(rule=rule, product=compared[-1], needs=(*predictions[dataset.name], *others), **told)
    yield Job(rule="report", product=f"{plan.results}/report/index.html", needs=tuple(compared))


def _of_archives(grid: Grid, results: str) -> Iterator[Job]:
    """Twins, prepared archives and corpora that are trained or tested on."""
    used = {dataset.archive for dataset in grid.datasets} | {corpus for corpus, _ in grid.corpora}
    used |= {archive for source in grid.sources for archive in source.archives}
    for name in sorted({grid.images_of(archive) for archive in used}):
        twin = f"{results}/twins/{name}.json"
        if grid.archive(name).twin:
            yield Job(rule="twin", product=twin, wildcards=(name,), kind=name)
        needs = (twin,) if grid.archive(name).twin else ()
        yield Job(rule="prepare", product=cases_of(name, results), wildcards=(name,), kind=name, needs=needs)
    for name in sorted(archive for archive in used if grid.archive(archive).images_of):
        first = cases_of(grid.images_of(name), results)
        yield Job(rule="relabel", product=cases_of(name, results), wildcards=(name,), kind=name, needs=(first,))
    learned = tuple(cases_of(learned.archive, results) for learned in grid.overlaps.archives)
    yield Job(rule="ledger", product=ledger_of(results), needs=learned)


def _of_corpora(plan: Config) -> Iterator[Job]:
    """What encoders see of corpora, and which images reductions keep of them."""
    grid, results = plan.grid(), plan.results
    for corpus, looker in grid.looked_at:
        source = grid.source(looker)
        encoder = () if source.kind == "random" else (encoder_of(looker, results),)
        told = {"wildcards": (corpus, looker), "kind": f"{corpus}, {source.backbone}", "ranks": 1}
        needs = (cases_of(corpus, results), *encoder)
        yield Job(rule="embed", product=features_of(corpus, looker, results), needs=needs, **told)
    for corpus, reduction in grid.corpora:
        like, looker = grid.like(reduction), grid.looked_at_by(reduction)
        before = [rows_of(corpus, like, results)] if like else []
        before += [features_of(corpus, looker, results)] if looker else []
        yield Job(
            rule="reduce",
            product=rows_of(corpus, reduction, results),
            wildcards=(corpus, reduction),
            kind=corpus,
            needs=(cases_of(corpus, results), *before),
        )


def _in_order(found: list[Job]) -> Iterator[Job]:
    """The jobs as they come, but each behind those of them that it needs."""
    by_product, done = {job.product: job for job in found}, set()

    def behind(job: Job) -> Iterator[Job]:
        for need in job.needs:
            if need in by_product and need not in done:
                yield from behind(by_product[need])
        if job.product not in done:
            done.add(job.product)
            yield job

    for job in found:
        yield from behind(job)


def _of_sources(plan: Config) -> Iterator[Job]:
    """Adopted and pre-trained encoders; what another continues from comes first."""
    ordered = sorted(plan.sources.values(), key=lambda source: _generation(source.name, plan))
    for source in ordered:
        named = {"product": encoder_of(source.name, plan.results), "wildcards": (source.name,), "kind": source.name}
        if source.kind == "adopted":
            yield Job(rule="adopt", **named)
        if source.kind == "pretrained":
            rows = rows_of(source.corpus, source.reduction, plan.results)
            start = (encoder_of(source.start, plan.results),) if source.start else ()
            probed = (cases_of(source.probe.archive, plan.results),) if source.probe else ()
            yield Job(
                rule="pretrain",
                **named,
                source=source,
                needs=(rows, *start, *probed, ledger_of(plan.results)),
                ranks=plan.compute.of(source.compute).ranks,
            )


def _generation(name: str, plan: Config) -> int:
    """How many encoders come before a source's own."""
    start = plan.sources[name].start
    return 1 + _generation(start, plan) if start else 0


def _of_run(run: Run, plan: Config) -> Iterator[Job]:
    """The fine-tuning of a run and its prediction."""
    folder = f"{plan.results}/runs/{run.path}"
    told = _told(run)
    original = run.source.original
    needs = (cases_of(run.dataset.archive, plan.results), ledger_of(plan.results))
    if original.kind != "random":
        needs += (encoder_of(original.name, plan.results),)
    model = f"{folder}/model.safetensors"
    yield Job(rule="finetune", product=model, needs=needs, ranks=plan.compute.of(run.recipe.compute).ranks, **told)
    # a prediction is short: one process
    yield Job(rule="predict", product=f"{folder}/predictions.parquet", needs=(model,), ranks=1, **told)


def _transports(plan: Config) -> Iterator[tuple[Job, list[str]]]:
    """What networks say of other datasets' test cases: each job, and those datasets."""
    # reading labels takes a moment, which a study without external validation need not wait for
    from headwater.study import shared_labels

    grid = plan.grid()
    for dataset in grid.datasets:
        others = [other.dataset for other in shared_labels.abroad(grid, dataset.name).others]
        cases = tuple(cases_of(grid.dataset(other).archive, plan.results) for other in others)
        for run in shared_labels.runs(grid, dataset.name):
            product = f"{plan.results}/runs/{run.path}/elsewhere.parquet"
            model = f"{plan.results}/runs/{run.path}/model.safetensors"
            yield Job(rule="transport", product=product, needs=(model, *cases), ranks=1, **_told(run)), others


def _told(run: Run) -> dict[str, Any]:
    """What a run's jobs have in common."""
    return {
        "wildcards": (run.dataset.name, run.source.name, run.recipe.name, str(run.seed)),
        "kind": f"{run.dataset.name}, {run.recipe.name}, {run.source.backbone}",
        "run": run,
    }


def cases_of(archive: str, results: str) -> str:
    """The table of an archive's prepared cases."""
    return f"{results}/archives/{archive}/cases.parquet"


def rows_of(corpus: str, reduction: str, results: str) -> str:
    """The table of the images that a reduction keeps."""
    return f"{results}/corpora/{corpus}/{reduction}.parquet"


def features_of(corpus: str, source: str, results: str) -> str:
    """What the encoder of a source sees in the training images of a corpus."""
    return f"{results}/corpora/{corpus}/{source}.features.npy"


def ledger_of(results: str) -> str:
    """The table of what the parts of the grid share."""
    return f"{results}/ledger.parquet"


def images_of(archive: str, plan: Config) -> str:
    """The prepared images of an archive, which may be those of another."""
    return f"{plan.results}/archives/{plan.archives[archive].images_of or archive}/images.npy"


def encoder_of(source: str, results: str) -> str:
    """A source's first weights."""
    return f"{results}/encoders/{source}.safetensors"


def missing(found: list[Job], *, folder: Path) -> list[Job]:
    """The jobs whose product is not there."""
    return [job for job in found if not (folder / job.product).is_file()]
