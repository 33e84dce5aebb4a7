"""Cost: how many jobs a study has, and how many hours they take, judged by those of them that are finished."""

import json
import textwrap
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from headwater import preflight, settings, tables
from headwater.grid import Grid, Run
from headwater.refusals import Refusal
from headwater.settings import Config

LONGEST_NAME = 254
"""Snakemake cuts the names of its records into pieces of that length, one below the other."""


@dataclass(frozen=True)
class Job:
    """One job of the workflow, known by its first product; jobs of one kind are taken to last equally long."""

    rule: str
    product: str
    kind: str = ""
    needs: tuple[str, ...] = ()
    ranks: int = 0
    """Processes of a training job, each with a GPU where there is one; 0 for all other jobs."""


def cost(*, config: Path, trainings: int = 1, folder: Path = Path()) -> None:
    """Print the jobs of a study by kind, their hours as far as finished ones tell, and how long all of it takes.

    --trainings  how many training jobs run side by side (1), as in `snakemake --resources trainings=1`
    --folder     where Snakemake was started: its records of finished jobs lie there
    """
    if trainings < 1:
        raise Refusal(f"--trainings: {trainings} cannot train anything", remedy="say 1 or more")
    plan = settings.read(config)
    preflight.check(plan)
    found = list(jobs(plan))
    done = {job.product for job in found if (folder / job.product).is_file()}
    seconds = {product: recorded(product, folder=folder) for product in done}
    print(tables.as_text(by_kind(found, seconds)), end="\n\n")
    print(_explained(found, seconds, trainings=trainings))


# the jobs, as the rules of the workflow have them


def jobs(plan: Config) -> Iterator[Job]:
    """Every job of a study, each after those that it needs."""
    grid = plan.grid()
    yield from _of_archives(grid, plan.results)
    yield from _of_sources(plan)
    for dataset in grid.datasets:
        predicted = []
        for run in grid.runs(dataset.name):
            for job in _of_run(run, plan.results, ranks=plan.compute.of(run.recipe.compute).ranks):
                yield job
            predicted.append(job.product)
        yield Job("compare", f"{plan.results}/comparisons/{dataset.name}.parquet", dataset.name, tuple(predicted))
    compared = tuple(f"{plan.results}/comparisons/{dataset.name}.parquet" for dataset in grid.datasets)
    yield Job("report", f"{plan.results}/report/index.html", "", compared)


def _of_archives(grid: Grid, results: str) -> Iterator[Job]:
    """Twins, prepared archives and corpora that are trained or tested on."""
    corpora = {(source.corpus, source.reduction) for source in grid.sources if source.kind == "pretrained"}
    for name in sorted({dataset.archive for dataset in grid.datasets} | {corpus for corpus, _ in corpora}):
        twin = f"{results}/twins/{name}.json"
        if grid.archive(name).twin:
            yield Job("twin", twin, name)
        yield Job("prepare", _cases(name, results), name, (twin,) if grid.archive(name).twin else ())
    for corpus, reduction in sorted(corpora):
        yield Job("reduce", f"{results}/corpora/{corpus}/{reduction}.parquet", corpus, (_cases(corpus, results),))


def _of_sources(plan: Config) -> Iterator[Job]:
    """Adopted and pre-trained encoders; what another continues from comes first."""
    ordered = sorted(plan.sources.values(), key=lambda source: _generation(source.name, plan))
    for source in ordered:
        product = _encoder(source.name, plan.results)
        if source.kind == "adopted":
            yield Job("adopt", product, source.name)
        if source.kind == "pretrained":
            rows = f"{plan.results}/corpora/{source.corpus}/{source.reduction}.parquet"
            start = (_encoder(source.start, plan.results),) if source.start else ()
            yield Job("pretrain", product, source.name, (rows, *start), plan.compute.of(source.compute).ranks)


def _generation(name: str, plan: Config) -> int:
    """How many encoders come before a source's own."""
    start = plan.sources[name].start
    return 1 + _generation(start, plan) if start else 0


def _of_run(run: Run, results: str, *, ranks: int) -> Iterator[Job]:
    """The fine-tuning of a run and its prediction."""
    folder = f"{results}/runs/{run.path}"
    kind = f"{run.dataset.name}, {run.recipe.name}, {run.source.backbone}"
    original = run.source.original
    needs = (_cases(run.dataset.archive, results),)
    if original.kind != "random":
        needs += (_encoder(original.name, results),)
    yield Job("finetune", f"{folder}/model.safetensors", kind, needs, ranks)
    yield Job("predict", f"{folder}/predictions.parquet", kind, (f"{folder}/model.safetensors",), 1)


def _cases(archive: str, results: str) -> str:
    return f"{results}/archives/{archive}/cases.parquet"


def _encoder(source: str, results: str) -> str:
    return f"{results}/encoders/{source}.safetensors"


# what they take


def recorded(product: str, *, folder: Path) -> float | None:
    """Seconds that the last attempt at a finished product took by Snakemake's record; none if there is none."""
    name = urlsafe_b64encode(product.encode()).decode()
    pieces = [name[at : at + LONGEST_NAME] for at in range(0, len(name), LONGEST_NAME)]
    file = folder.joinpath(".snakemake", "metadata", *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Refusal(f"Snakemake's record cannot be read: {error}", file=file, remedy="delete it") from None
    start, end = record.get("starttime"), record.get("endtime")
    return max(0.0, end - start) if start and end and not record.get("incomplete") else None


def typical(found: list[Job], seconds: dict[str, float | None]) -> dict[tuple[str, str], float]:
    """The median of the recorded seconds of each (rule, kind); kinds without any are left out."""
    taken: dict[tuple[str, str], list[float]] = {}
    for job in found:
        if (value := seconds.get(job.product)) is not None:
            taken.setdefault((job.rule, job.kind), []).append(value)
    return {kind: median(values) for kind, values in taken.items()}


def by_kind(found: list[Job], seconds: dict[str, float | None]) -> pd.DataFrame:
    """One row per rule and kind: its jobs, those in `seconds` (finished), and what one, all and the rest take."""
    each = typical(found, seconds)
    rows = []
    for kind in dict.fromkeys((job.rule, job.kind) for job in found):
        alike = [job for job in found if (job.rule, job.kind) == kind]
        finished = sum(job.product in seconds for job in alike)
        hours = each[kind] * max(1, alike[0].ranks) / 3600 if kind in each else None
        rows.append(
            {
                "Rule": kind[0],
                "Of": kind[1],
                "Jobs": str(len(alike)),
                "Finished": str(finished),
                "Seconds each": _number(each.get(kind), "{:.1f}"),
                "Process-hours": _number(None if hours is None else hours * len(alike), "{:.3f}"),
                "To go": _number(None if hours is None else hours * (len(alike) - finished), "{:.3f}"),
            }
        )
    return pd.DataFrame(rows)


def _number(value: float | None, form: str) -> str:
    return tables.NONE if value is None else form.format(value)


def longest_chain(found: list[Job], each: dict[tuple[str, str], float]) -> tuple[int, float]:
    """(jobs, seconds) of the longest chain of jobs that wait for one another; kinds not measured count nothing."""
    jobs_until: dict[str, int] = {}
    seconds_until: dict[str, float] = {}
    for job in found:
        before = [need for need in job.needs if need in jobs_until]
        jobs_until[job.product] = 1 + max((jobs_until[need] for need in before), default=0)
        waited = max((seconds_until[need] for need in before), default=0.0)
        seconds_until[job.product] = waited + each.get((job.rule, job.kind), 0.0)
    return max(jobs_until.values()), max(seconds_until.values())


def _explained(found: list[Job], seconds: dict[str, float | None], *, trainings: int) -> str:
    """The sums, in sentences."""
    each = typical(found, seconds)
    chain, chain_seconds = longest_chain(found, each)
    unknown = sum((job.rule, job.kind) not in each for job in found)
    training = sum(each.get((job.rule, job.kind), 0.0) for job in found if job.ranks)
    processes = sum(each.get((job.rule, job.kind), 0.0) * job.ranks for job in found)
    said = [f"{len(found)} jobs, {sum(bool(job.ranks) for job in found)} of them on GPUs where there are any;"]
    said.append(f"the longest chain has {chain} jobs.")
    if each:
        wall = max(chain_seconds, training / trainings) / 3600
        said.append(f"Training and prediction take {processes / 3600:.3f} process-hours, GPU-hours where there are")
        said.append(f"GPUs. The longest chain takes {chain_seconds / 3600:.3f} hours; with {trainings} at a time the")
        said.append(f"whole study takes at least {wall:.3f} hours from its beginning.")
    if unknown:
        said.append(f"{unknown} jobs are of kinds of which no time is recorded ({tables.NONE}): they are in no sum.")
    return textwrap.fill(" ".join(said), width=120)
