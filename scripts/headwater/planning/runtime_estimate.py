"""Runtime estimate: how long the jobs of a study take, from finished jobs of the same kind or from a timing profile."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from headwater.cluster import run_lock, schedulers, snakemake_state
from headwater.cluster.schedulers import COMPLETED
from headwater.core.progress import clock
from headwater.core.text import many
from headwater.planning import memory_forecast, timing_profile, volume_sizes
from headwater.study.archive import ndim_of
from headwater.study.config import Config
from headwater.study.job_graph import jobs
from headwater.study.jobs import Job
from headwater.study.paths import Paths
from headwater.study.rules import PREPARED_BY

Kind = tuple[str, str]
"""(rule, `Job.kind`): jobs of one kind are assumed to take equally long."""


SIDE_BY_SIDE = (1, 4, 16)
"""Numbers of parallel trainings for which `price` states the duration."""

GROUPED = {
    **{"predict": "predictions", "transport": "transports"},
    **dict.fromkeys(("compare", "examine", "cross", "overlay", "report"), "comparisons"),
}
"""Rules whose jobs may share a job of the scheduler, and the name of their group in the profile."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The jobs of a study, how long the finished ones took, and the estimate for each kind."""

    jobs: list[Job]
    finished: dict[str, float | None]
    """Seconds of finished jobs by product; none if they were not recorded."""
    each: dict[Kind, float]
    """Estimated seconds of one job of a kind."""
    from_profile: set[Kind]
    """The kinds that are estimated from the timing profile, as no job of them has finished."""
    memory: dict[Kind, int] = field(default_factory=dict)
    """Most bytes of a GPU that a job of a kind needs, by the timing profile of one, or else by the memory profile."""
    volumes: dict[str, str] = field(default_factory=dict)
    """Of each archive of volumes: how many there are, how large, and in how many windows each is scored."""

    def takes(self, job: Job) -> float:
        """Estimated seconds of a job; 0 if its kind has no estimate."""
        return self.each.get(kind_of(job), 0.0)

    def process_hours(self, jobs: Iterable[Job]) -> float:
        """Hours of training and prediction, counted once for each process."""
        return sum(self.takes(job) * job.ranks for job in jobs) / 3600

    def to_come(self) -> list[Job]:
        """The jobs that are not finished."""
        return [job for job in self.jobs if job.product not in self.finished]


def kind_of(job: Job) -> Kind:
    """The kind of a job."""
    return job.rule, job.kind


def estimated(plan: Config, *, folder: Path) -> Estimate:
    """The estimated durations of a study's jobs."""
    listed = list(jobs(plan))
    done = (job for job in listed if (folder / job.product).is_file())
    finished = recorded(done, plan=plan, folder=folder)
    each = means(listed, finished)
    unknown = [job for job in listed if kind_of(job) not in each]
    from_profile = _from_profile(unknown, plan=plan, folder=folder)
    return Estimate(
        jobs=listed,
        finished=finished,
        each=each | from_profile,
        from_profile=set(from_profile),
        memory=_memory(listed, plan=plan, folder=folder),
        volumes=_volumes(listed, plan=plan, folder=folder),
    )


def _memory(listed: list[Job], *, plan: Config, folder: Path) -> dict[Kind, int]:
    """Bytes of a GPU by kind of job, from the timing profile, or else as forecast."""
    profile = timing_profile.read(plan, folder=folder)
    needed = {(each.rule, each.of): each.bytes for each in memory_forecast.forecasts(plan, folder=folder)}
    for job in {kind_of(job): job for job in listed if profile and job.ranks}.values():
        rehearsal = timing_profile.rehearsal_of(job, plan)
        timed = profile.trainings.get(rehearsal.key) if rehearsal else None
        if timed and timed.memory is not None:
            needed[kind_of(job)] = timed.memory
    return needed


def _volumes(listed: list[Job], *, plan: Config, folder: Path) -> dict[str, str]:
    """What is known of the volumes of each archive, in words."""
    told = {}
    for archive, job in _readers(listed, plan).items():
        sizes = volume_sizes.of(plan.archives[archive], plan=plan, folder=folder)
        if sizes:
            told[archive] = f"{sizes.cases:,} volumes of {sizes.voxels:,.0f} voxels on average ({sizes.how})"
            if job.run:
                rehearsal = timing_profile.rehearsal_of(job, plan)
                windows = mean(map(rehearsal.scored_in, sizes.prepared))
                told[archive] += f", each scored in {windows:.1f} windows of {' x '.join(map(str, rehearsal.size))}"
    return told


def _readers(listed: list[Job], plan: Config) -> dict[str, Job]:
    """A job that reads each archive of volumes: one that scores them if there is any."""
    readers: dict[str, Job] = {}
    for job in listed:
        archive = archive_of(job)
        if archive and ndim_of(plan.archives[archive]) == 3 and (job.run or archive not in readers):
            readers[archive] = job
    return readers


def archive_of(job: Job) -> str:
    """The archive that a training or prediction reads, or that a job prepares; empty for all other jobs."""
    if job.rule in PREPARED_BY.values():
        return job.wildcards[0]
    return job.run.dataset.archive if job.run else (job.source.corpus or "") if job.source else ""


def _from_profile(unknown: list[Job], *, plan: Config, folder: Path) -> dict[Kind, float]:
    """Seconds by kind from the timing profile, for kinds of which no job has finished."""
    profile = timing_profile.read(plan, folder=folder)
    if profile is None:
        return {}
    examples = {kind_of(job): job for job in unknown if job.ranks}
    seconds = {
        kind: timing_profile.job_seconds(job, plan=plan, profile=profile, folder=folder)
        for kind, job in examples.items()
    }
    return {kind: number for kind, number in seconds.items() if number is not None}


def recorded(finished: Iterable[Job], *, plan: Config, folder: Path) -> dict[str, float | None]:
    """Seconds of finished jobs by product; none if they were not recorded.

    Snakemake's records have no duration of a job on a cluster, or one that begins with a failed first attempt. There
    trainings are therefore timed by their leases, and all other jobs by the scheduler's accounting. Jobs of one group
    share its time.
    """
    finished = list(finished)
    seconds = {job.product: snakemake_state.seconds(job.product, folder=folder) for job in finished}
    scheduler = schedulers.used_in(folder)
    if scheduler is None:
        return seconds
    trained = run_lock.trained(folder / Paths(plan.results).progress())
    attempts = [
        attempt
        for attempt in scheduler.accounting(folder, since=snakemake_state.begun(folder)) or ()
        if attempt.state == COMPLETED
    ]
    by_comment = {attempt.comment: attempt.seconds for attempt in attempts}
    grouped: dict[str, list[Job]] = {}
    for job in finished:
        if job.lease in trained:
            seconds[job.product] = trained[job.lease]
        elif job.comment in by_comment:
            seconds[job.product] = by_comment[job.comment]
        elif job.rule in GROUPED:
            grouped.setdefault(GROUPED[job.rule], []).append(job)
    for name, members in grouped.items():
        together = [attempt.seconds for attempt in attempts if attempt.comment.startswith(f"rule_{name}_")]
        if together:
            seconds |= dict.fromkeys((job.product for job in members), sum(together) / len(members))
    return seconds


def means(finished: Iterable[Job], seconds: dict[str, float | None]) -> dict[Kind, float]:
    """The mean of the recorded seconds of each kind; kinds without any are left out.

    The mean and not the median, because estimates are summed over jobs.
    """
    by_kind: dict[Kind, list[float]] = {}
    for job in finished:
        if (value := seconds.get(job.product)) is not None:
            by_kind.setdefault(kind_of(job), []).append(value)
    return {kind: mean(values) for kind, values in by_kind.items()}


def longest_chain(ordered: Iterable[Job], takes: Callable[[Job], float]) -> tuple[int, float]:
    """(jobs, seconds) of the longest chain of dependent jobs; `ordered` has each job after those that it needs."""
    jobs_until: dict[str, int] = {}
    seconds_until: dict[str, float] = {}
    for job in ordered:
        before = [need for need in job.needs if need in jobs_until]
        jobs_until[job.product] = 1 + max((jobs_until[need] for need in before), default=0)
        waited = max((seconds_until[need] for need in before), default=0.0)
        seconds_until[job.product] = waited + takes(job)
    return max(jobs_until.values(), default=0), max(seconds_until.values(), default=0.0)


def wall(ordered: list[Job], takes: Callable[[Job], float], *, trainings: int) -> float:
    """Lower bound of the seconds that jobs take with so many parallel trainings: total work, or the longest chain."""
    work = sum(takes(job) for job in ordered if job.ranks)
    return max(longest_chain(ordered, takes)[1], work / trainings)


def explained(estimate: Estimate, *, trainings: int) -> str:
    """The sums of an estimate, in sentences."""
    jobs, each, takes = estimate.jobs, estimate.each, estimate.takes
    chain, chain_seconds = longest_chain(jobs, takes)
    unknown = sum(kind_of(job) not in each for job in jobs)
    gpu_jobs = sum(bool(job.ranks) for job in jobs)
    words = [f"{many(len(jobs), 'job')}, {gpu_jobs} of them on GPUs if there are any. The longest chain of jobs that"]
    words.append(f"wait for each other has {many(chain, 'job')}.")
    if each:
        hours, left = wall(jobs, takes, trainings=trainings) / 3600, estimate.to_come()
        parallel = many(trainings, "parallel training")
        words.append(
            f"Training and prediction take {estimate.process_hours(jobs):.3f} process-hours (GPU-hours if there"
        )
        words.append(
            f"are GPUs). The longest chain takes {chain_seconds / 3600:.3f} hours. With {parallel} the whole study"
        )
        words.append(f"takes at least {hours:.3f} hours; {wall(left, takes, trainings=trainings) / 3600:.3f} remain.")
    if estimate.memory:
        (rule, kind), most = max(estimate.memory.items(), key=lambda pair: pair[1])
        words.append(f"A GPU needs {most / 1e9:.2f} GB of memory or more, for {rule} of {kind}.")
    words += [f"{archive}: {told}." for archive, told in estimate.volumes.items()]
    if estimate.from_profile:
        words.append("Seconds marked c come from the timing profile, all others from finished jobs.")
    if unknown:
        words.append(f"{many(unknown, 'job')} of unknown duration (–) not included.")
        words.append("Measure their steps by headwater plan calibrate, or finish one of each kind.")
    return " ".join(words)


def price(estimate: Estimate, products: set[str]) -> str:
    """The cost of the jobs that make these products, in sentences: jobs per rule, hours, and their longest chain."""
    priced = [job for job in estimate.jobs if job.product in products]
    rules = Counter(job.rule for job in priced)
    chain, chain_seconds = longest_chain(priced, estimate.takes)
    unknown = sum(kind_of(job) not in estimate.each for job in priced)
    words = [f"Price of this plan: {', '.join(f'{count} {rule}' for rule, count in rules.items())};"]
    words.append(f"the longest chain has {many(chain, 'job')}.")
    if unknown < len(priced):
        walls = [f"{clock(wall(priced, estimate.takes, trainings=number))} at {number}" for number in SIDE_BY_SIDE]
        words.append(f"{estimate.process_hours(priced):.3f} process-hours (GPU-hours if there are GPUs);")
        words.append(f"at least {', '.join(walls)} parallel trainings, {clock(chain_seconds)} for the longest chain.")
    shown = dict.fromkeys(map(archive_of, priced))
    words += [f"{archive}: {told}." for archive, told in estimate.volumes.items() if archive in shown]
    if unknown:
        words.append(
            f"{many(unknown, 'job')} of unknown duration not included: finish one of each kind, or measure it by"
        )
        words.append("headwater plan calibrate.")
    return " ".join(words)
