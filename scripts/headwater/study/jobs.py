"""Jobs: what a job of the workflow is to plans, and the order in which the jobs of a study can run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from headwater.study.folds import apart
from headwater.study.grid import Run
from headwater.study.rules import job_logs
from headwater.study.source import Source


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of the workflow, identified by its first product; jobs of one kind are assumed to take equally long."""

    rule: str
    product: str
    wildcards: tuple[str, ...] = ()
    """The values of its wildcards, in the order of the rule's first output."""
    kind: str = ""
    needs: tuple[str, ...] = ()
    """The first products of the jobs that it depends on."""
    ranks: int = 0
    """Processes of a training job, each with a GPU where there is one; 0 for all other jobs."""
    runs: tuple[Run, ...] = ()
    """The run of a fine-tuning; for `predict` and `transport` those of all seeds."""
    source: Source | None = None
    """The source of a pre-training."""

    @property
    def run(self) -> Run | None:
        """The first of its runs."""
        return self.runs[0] if self.runs else None

    @property
    def log(self) -> str:
        """Its log file, below the folder in which Snakemake was started."""
        seeds = tuple(run.seed for run in self.runs) if len(self.wildcards) == 3 else ()
        return job_logs(self.rule, self.wildcards, seeds=seeds)[0]

    @property
    def lease(self) -> str:
        """The key of a training in the record of leases; empty for all other jobs."""
        record = self.run if self.rule == "finetune" else self.source
        return record.digest if record else ""

    @property
    def comment(self) -> str:
        """The comment that Snakemake gives its job on a cluster."""
        return f"rule_{self.rule}" + (f"_wildcards_{'_'.join(self.wildcards)}" if self.wildcards else "")

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"{self.rule} {'/'.join(self.wildcards)}".rstrip()


def by_seed(runs: Iterable[Run]) -> list[tuple[Run, ...]]:
    """The runs grouped by cell: those of one group differ in their seed only."""
    cells: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        cells.setdefault(place(run), []).append(run)
    return [tuple(cell) for cell in cells.values()]


def place(run: Run) -> tuple[str, str, str]:
    """The wildcards of a run besides its seed."""
    return run.dataset.name, run.source.name, run.recipe.name


def of_runs(runs: tuple[Run, ...], *, ranks: int) -> dict[str, Any]:
    """The fields of a job of runs besides its rule and wildcards."""
    first = runs[0]
    # all folds of a dataset take equally long
    kind = f"{apart(first.dataset.name)[0]}, {first.recipe.name}, {first.source.backbone}"
    return {"kind": kind, "runs": runs, "ranks": ranks}


def in_order(listed: list[Job]) -> Iterator[Job]:
    """The jobs in the given order, but each after those that it depends on (a depth-first topological sort)."""
    by_product, done = {job.product: job for job in listed}, set()

    def with_needs(job: Job) -> Iterator[Job]:
        for need in job.needs:
            if need not in done:
                yield from with_needs(by_product[need])
        if job.product not in done:
            done.add(job.product)
            yield job

    for job in listed:
        yield from with_needs(job)
