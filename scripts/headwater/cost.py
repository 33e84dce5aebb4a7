"""Cost: how many hours the jobs of a study take, told by those that are finished, or else by a calibration."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd

from headwater import accounts, calibration, chronicle, preflight, settings, tables
from headwater.jobs import Job, jobs
from headwater.refusals import Refusal
from headwater.settings import Config

Kind = tuple[str, str]
"""(rule, of what): jobs of one kind are taken to last equally long."""


def cost(*, config: Path, trainings: int = 1, folder: Path = Path()) -> None:
    """Print the jobs of a study by kind, their hours as far as known, and how long all of it takes.

    Finished jobs tell of others of their kind; of kinds without any, the calibration tells, if there is one.
    --trainings  how many training jobs run side by side (1), as in `snakemake --resources trainings=1`
    --folder     where Snakemake was started: its records of finished jobs lie there
    """
    if trainings < 1:
        raise Refusal(f"--trainings: {trainings} cannot train anything", remedy="say 1 or more")
    plan = settings.read(config)
    preflight.check(plan)
    known = reckoned(plan, folder=folder)
    print(tables.as_text(by_kind(known)), end="\n\n")
    print(textwrap.fill(explained(known, trainings=trainings), width=120))


@dataclass(frozen=True, kw_only=True)
class Reckoning:
    """The jobs of a study, what the finished ones took (none where nobody noted it), and what one of a kind takes."""

    jobs: list[Job]
    finished: dict[str, float | None]
    """Seconds by product."""
    each: dict[Kind, float]
    calibrated: set[Kind]
    """The kinds of which only the calibration tells."""

    def seconds(self, job: Job) -> float | None:
        """What a job takes or took; none where nothing tells."""
        taken = self.finished.get(job.product)
        return self.each.get(kind_of(job)) if taken is None else taken

    def to_come(self) -> list[Job]:
        """The jobs that are not finished."""
        return [job for job in self.jobs if job.product not in self.finished]


def kind_of(job: Job) -> Kind:
    """What kind of job it is."""
    return job.rule, job.kind


def reckoned(plan: Config, *, folder: Path) -> Reckoning:
    """What is known of the time that a study's jobs take."""
    found = list(jobs(plan))
    finished = taken((job for job in found if (folder / job.product).is_file()), folder=folder)
    each = typical(found, finished)
    told = calibration.read(plan, folder=folder)
    calibrated = set()
    for job in found if told else ():
        if kind_of(job) not in each and job.ranks:
            seconds = calibration.foretold(job, plan=plan, told=told, folder=folder)
            if seconds is not None:
                each[kind_of(job)] = seconds
                calibrated.add(kind_of(job))
    return Reckoning(jobs=found, finished=finished, each=each, calibrated=calibrated)


def taken(finished: Iterable[Job], *, folder: Path) -> dict[str, float | None]:
    """Seconds of finished jobs by product: of SLURM's accounts where it ran them, else of Snakemake's records."""
    found = {job.product: (job, chronicle.record(job.product, folder=folder)) for job in finished}
    seconds = {product: chronicle.seconds(product, folder=folder) for product in found}
    unknown = [job for product, (job, record) in found.items() if record and seconds[product] is None]
    if unknown:
        begun = min(found[job.product][1].get("endtime") or 0.0 for job in unknown)
        for attempt in accounts.in_books(folder, since=begun - 30 * 86400) or ():
            for job in unknown if attempt.state == "COMPLETED" else ():
                if job.comment == attempt.comment:
                    seconds[job.product] = attempt.seconds
    return seconds


def typical(found: Iterable[Job], seconds: dict[str, float | None]) -> dict[Kind, float]:
    """The mean of the known seconds of each kind; kinds without any are left out.

    The mean and not the median, because sums are what is asked for.
    """
    told: dict[Kind, list[float]] = {}
    for job in found:
        if (value := seconds.get(job.product)) is not None:
            told.setdefault(kind_of(job), []).append(value)
    return {kind: mean(values) for kind, values in told.items()}


def by_kind(known: Reckoning) -> pd.DataFrame:
    """One row per rule and kind: its jobs, those finished, and what one, all and the rest take."""
    rows = []
    alike: dict[Kind, list[Job]] = {}
    for job in known.jobs:
        alike.setdefault(kind_of(job), []).append(job)
    for kind, members in alike.items():
        finished = sum(job.product in known.finished for job in members)
        hours = known.each[kind] * max(1, members[0].ranks) / 3600 if kind in known.each else None
        rows.append(
            {
                "Rule": kind[0],
                "Of": kind[1],
                "Jobs": str(len(members)),
                "Finished": str(finished),
                "Seconds each": number(known.each.get(kind), "{:.1f}") + (" c" if kind in known.calibrated else ""),
                "Process-hours": number(None if hours is None else hours * len(members), "{:.3f}"),
                "To go": number(None if hours is None else hours * (len(members) - finished), "{:.3f}"),
            }
        )
    return pd.DataFrame(rows)


def number(value: float | None, form: str) -> str:
    """A number in a form; a dash where it is not known."""
    return tables.NONE if value is None else form.format(value)


def longest_chain(found: Iterable[Job], each: dict[Kind, float]) -> tuple[int, float]:
    """(jobs, seconds) of the longest chain of jobs that wait for one another; kinds not known count nothing."""
    jobs_until: dict[str, int] = {}
    seconds_until: dict[str, float] = {}
    for job in found:
        before = [need for need in job.needs if need in jobs_until]
        jobs_until[job.product] = 1 + max((jobs_until[need] for need in before), default=0)
        waited = max((seconds_until[need] for need in before), default=0.0)
        seconds_until[job.product] = waited + each.get(kind_of(job), 0.0)
    return max(jobs_until.values(), default=0), max(seconds_until.values(), default=0.0)


def wall(found: list[Job], each: dict[Kind, float], *, trainings: int) -> float:
    """Seconds that jobs take at least, so many trainings side by side: as their work or their longest chain asks."""
    work = sum(each.get(kind_of(job), 0.0) for job in found if job.ranks)
    return max(longest_chain(found, each)[1], work / trainings)


def process_hours(found: Iterable[Job], each: dict[Kind, float]) -> float:
    """Hours of training and prediction, counted once for each process."""
    return sum(each.get(kind_of(job), 0.0) * job.ranks for job in found) / 3600


def explained(known: Reckoning, *, trainings: int) -> str:
    """The sums, in sentences."""
    found, each = known.jobs, known.each
    chain, chain_seconds = longest_chain(found, each)
    unknown = sum(kind_of(job) not in each for job in found)
    said = [f"{len(found)} jobs, {sum(bool(job.ranks) for job in found)} of them on GPUs where there are any;"]
    said.append(f"the longest chain has {chain} jobs.")
    if each:
        hours, left = wall(found, each, trainings=trainings) / 3600, known.to_come()
        said.append(
            f"Training and prediction take {process_hours(found, each):.3f} process-hours, GPU-hours where there"
        )
        said.append(
            f"are GPUs. The longest chain takes {chain_seconds / 3600:.3f} hours; with {trainings} at a time the"
        )
        said.append(f"whole study takes at least {hours:.3f} hours from its beginning,")
        said.append(f"{wall(left, each, trainings=trainings) / 3600:.3f} from here.")
    if known.calibrated:
        said.append("Seconds with a c come from the calibration; all others from finished jobs.")
    if unknown:
        said.append(f"{unknown} jobs are of kinds of which no time is known ({tables.NONE}): they are in no sum.")
    return " ".join(said)
