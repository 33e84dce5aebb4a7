"""Overview: a whole study on one page before anything runs: jobs, hours, disk use, licences and what is missing."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import pandas as pd

from headwater.core import registry, text
from headwater.core.errors import UserError
from headwater.data import cards
from headwater.planning import cost, outdated, preflight, runtime_estimate, timing_profile, volume_sizes
from headwater.planning.runtime_estimate import Estimate
from headwater.planning.timing_profile import TimingProfile
from headwater.planning.volume_sizes import VolumeSizes
from headwater.study import config as study_config
from headwater.study import shared_labels
from headwater.study.archive import Archive, ndim_of
from headwater.study.config import Config
from headwater.study.job_graph import JobGraph
from headwater.study.jobs import Job
from headwater.study.paths import Paths
from headwater.study.rules import PREPARED_BY

DEMO = Path("config/config.yaml")

WIDTH = 120

SIDE_BY_SIDE = (1, 2, 4, 8, 16, 32)
"""Numbers of parallel trainings for which the page shows the duration, besides the number asked for."""

CARD = ("title", "licence", "where")

MASKED = ("images", "masks", "references")
"""The prepared files of volumes; pictures have the first one only."""

PROGRESS = 3
"""Size of a checkpoint in units of the weights: the weights and two moments of the optimiser (Adam) for each."""


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Disk use of some files: bytes, or none if unknown, and where the number comes from."""

    what: str
    bytes: float | None
    how: str


def overview(config: Path = DEMO, *, trainings: int = 1, folder: Path = Path()) -> None:
    """Show a whole study on one page: jobs per rule, hours, what is replaced, disk, licences and what is missing.

    Exits with 2 if anything is missing.

    Args:
        config: Config file of the study; by default the demo's.
        trainings: Number of trainings that run in parallel, each on GPUs of its own if there are GPUs.
        folder: Folder where Snakemake is started.
    """
    cost.check_parallel(trainings)
    plan = study_config.read(config)
    outcome = preflight.examined(plan)
    missing = outcome.mistakes
    runtimes = runtime_estimate.estimated(plan, folder=folder)
    print(f"{config}: {_size(plan)}\n")
    print(text.as_text(by_rule(runtimes)), end="\n\n")
    print(textwrap.fill(runtime_estimate.explained(runtimes, trainings=trainings), width=WIDTH), end="\n\n")
    if runtimes.each:
        print(text.as_text(wall_times(runtimes, trainings=trainings)), end="\n\n")
    if words := _replaced(plan, runtimes, folder=folder):
        print(textwrap.fill(words, width=WIDTH, break_on_hyphens=False), end="\n\n")
    print(text.as_text(disk_table(disk(plan, runtimes, trainings=trainings, folder=folder))), end="\n\n")
    print("\n".join(licences(plan)), end="\n\n")
    if not missing and plan.comparison.external:
        shared = [f"  {line}" for line in shared_labels.as_lines(plan.grid())]
        print("\n".join(["Findings that a dataset shares with others:", *shared]), end="\n\n")
    print("Missing: nothing" if not missing else "Missing:\n" + "\n".join(f"  {line}" for line in missing))
    print("".join(f"Note: {note}\n" for note in outcome.notes), end="")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        what = f"{text.many(len(missing), 'thing')} {verb} missing"
        raise UserError(what, file=config, remedy="see the end of the page")


def _replaced(plan: Config, runtimes: Estimate, *, folder: Path) -> str:
    """A sentence on finished products that the next start of Snakemake replaces; empty if there are none."""
    products = outdated.to_be_replaced(JobGraph(plan), runtimes.jobs, folder=folder)
    return outdated.replaced(runtimes, products)


def _size(plan: Config) -> str:
    grid = plan.grid()
    controls = sum(source.control is not None for source in grid.sources)
    counts = (len(grid.datasets), len(grid.sources), len(grid.recipes), len(grid.seeds))
    datasets, sources, recipes, seeds = map(text.many, counts, ("dataset", "source", "recipe", "seed"))
    size = f"{datasets} x {sources} ({text.many(controls, 'control')} among them) x {recipes} x {seeds}"
    runs = sum(1 for dataset in grid.datasets for _ in grid.runs(dataset.name))
    # not all sources are fitted to all datasets
    told = f"{size} = {text.many(runs, 'run')}" if runs == math.prod(counts) else f"{text.many(runs, 'run')} of {size}"
    folds = [f", {name} in {dataset.splits.folds} folds" for name, dataset in plan.datasets.items() if dataset.splits]
    return f"{told}{''.join(folds)}, in {plan.results}"


def by_rule(runtimes: Estimate) -> pd.DataFrame:
    """One row per rule: its jobs, those finished, and process-hours if known."""
    jobs_of: dict[str, list[Job]] = {}
    for job in runtimes.jobs:
        jobs_of.setdefault(job.rule, []).append(job)
    return pd.DataFrame(
        {
            "Rule": rule,
            "Jobs": str(len(jobs)),
            "Finished": str(sum(job.product in runtimes.finished for job in jobs)),
            "Process-hours": cost.number(_hours(jobs, runtimes), "{:.3f}"),
            "Remaining": cost.number(
                _hours([job for job in jobs if job.product not in runtimes.finished], runtimes), "{:.3f}"
            ),
        }
        for rule, jobs in jobs_of.items()
    )


def _hours(jobs: list[Job], runtimes: Estimate) -> float | None:
    """Process-hours of jobs; none if the duration of one of them is unknown."""
    each = [runtimes.each.get(runtime_estimate.kind_of(job)) for job in jobs]
    if None in each:
        return None
    # jobs without ranks train nothing and run as one process
    return sum(seconds * max(1, job.ranks) for seconds, job in zip(each, jobs, strict=True)) / 3600


def wall_times(runtimes: Estimate, *, trainings: int) -> pd.DataFrame:
    """Duration in hours for several numbers of parallel trainings, of the whole study and of what remains."""
    rows = []
    for number in sorted({*SIDE_BY_SIDE, trainings}):
        whole = runtime_estimate.wall(runtimes.jobs, runtimes.takes, trainings=number)
        rest = runtime_estimate.wall(runtimes.to_come(), runtimes.takes, trainings=number)
        hours = {"Hours at least": f"{whole / 3600:.3f}", "Remaining": f"{rest / 3600:.3f}"}
        rows.append({"Parallel trainings": str(number), **hours})
    return pd.DataFrame(rows)


# disk


def disk(plan: Config, runtimes: Estimate, *, trainings: int, folder: Path) -> list[DiskUse]:
    """The disk use of the finished study, and of the checkpoints while it runs."""
    profile = timing_profile.read(plan, folder=folder)
    uses = [use for archive in _archives_used(runtimes, plan) for use in _images(archive, plan=plan, folder=folder)]
    jobs_of: dict[tuple[str, str], list[Job]] = {}
    for job in runtimes.jobs:
        if job.rule in ("finetune", "pretrain", "adopt"):
            backbone = (job.run.source if job.run else plan.sources[job.wildcards[0]]).backbone
            jobs_of.setdefault((job.rule, backbone), []).append(job)
    weights = {key: _weights(jobs, plan=plan, profile=profile, folder=folder) for key, jobs in jobs_of.items()}
    for (rule, backbone), jobs in jobs_of.items():
        each, how = weights[rule, backbone]
        what = f"{text.many(len(jobs), 'model' if rule == 'finetune' else 'encoder')} ({rule}) of {backbone}"
        uses.append(DiskUse(what=what, bytes=None if each is None else each * len(jobs), how=how))
    # adopted weights are only rewritten, without a training that could be interrupted
    trained = [each for (rule, _), (each, _) in weights.items() if rule != "adopt"]
    uses.append(
        DiskUse(
            what=f"progress of {text.many(trainings, 'parallel training')}",
            # checkpoints are deleted when their training ends, so no more exist than run in parallel
            bytes=None if None in trained or not trained else PROGRESS * max(trained) * trainings,
            how=f"about {PROGRESS} times the largest network; more if a method trains several",
        )
    )
    return uses


def _archives_used(runtimes: Estimate, plan: Config) -> Iterator[Archive]:
    """The archives that are prepared; those with `images_of` have no images of their own."""
    for job in runtimes.jobs:
        if job.rule in PREPARED_BY.values():
            yield plan.archives[job.wildcards[0]]


def _images(archive: Archive, *, plan: Config, folder: Path) -> Iterator[DiskUse]:
    """An archive's prepared images, and of volumes its masks: their files, else estimated from the number of cases."""
    paths = Paths(plan.results)
    names = MASKED if ndim_of(archive) == 3 else MASKED[:1]
    products = {name: folder / getattr(paths, name)(archive.name) for name in names}
    if all(file.is_file() for file in products.values()):
        for name, file in products.items():
            yield DiskUse(what=f"{name} of {archive.name}", bytes=file.stat().st_size, how="prepared")
    elif ndim_of(archive) == 3:
        yield from _volumes(archive, plan=plan, folder=folder)
    else:
        yield _pictures(archive, plan=plan, folder=folder)


def _pictures(archive: Archive, *, plan: Config, folder: Path) -> DiskUse:
    """The expected size of images that are not prepared yet."""
    what = f"images of {archive.name}"
    if not archive.stored:
        return DiskUse(what=what, bytes=0, how="decoded from its files whenever they are used")
    cases = timing_profile.counts(archive, plan=plan, folder=folder)
    if cases is None:
        return DiskUse(what=what, bytes=None, how="number of cases unknown until it is prepared")
    channels, pixel_bytes = timing_profile.channels(archive), timing_profile.pixel_bytes(archive)
    how = f"{cases.all:,} cases x {channels} x {archive.size} x {archive.size}; expected, not counted"
    return DiskUse(what=what, bytes=cases.all * channels * pixel_bytes * archive.size**2, how=how)


def _volumes(archive: Archive, *, plan: Config, folder: Path) -> Iterator[DiskUse]:
    """The expected sizes of the files of volumes that are not prepared yet: 16 bits a voxel, and 8 of masks."""
    sizes = volume_sizes.of(archive, plan=plan, folder=folder)
    voxels = dict.fromkeys(MASKED) if sizes is None else _voxels(sizes)
    for name, each in voxels.items():
        what, width = f"{name} of {archive.name}", 2 if name == "images" else 1
        if each is None:
            yield DiskUse(what=what, bytes=None, how="unknown until it is prepared: no header of it can be read")
        else:
            how = f"{sizes.cases:,} cases x {each:,.0f} voxels; {sizes.how}"
            yield DiskUse(what=what, bytes=sizes.cases * each * width, how=how)


def _voxels(sizes: VolumeSizes) -> dict[str, float]:
    """The mean number of voxels of a case in each file."""
    return dict(zip(MASKED, (sizes.voxels, sizes.voxels, sizes.source_voxels), strict=True))


def _weights(jobs: list[Job], *, plan: Config, profile: TimingProfile | None, folder: Path) -> tuple[float | None, str]:
    """(bytes of one weights file of jobs with the same backbone, where the number comes from)."""
    sizes = [file.stat().st_size for job in jobs if (file := folder / job.product).is_file()]
    if sizes:
        return mean(sizes), f"mean of the {text.many(len(sizes), 'finished job')}"
    for job in jobs if profile else ():
        rehearsal = timing_profile.rehearsal_of(job, plan)
        if rehearsal and rehearsal.key in profile.trainings:
            return profile.trainings[rehearsal.key].bytes, "from the timing profile"
    return None, "unknown until one is finished; headwater plan calibrate measures it"


def disk_table(uses: list[DiskUse]) -> pd.DataFrame:
    """The files and their sum, in MB."""
    rows = [{"Disk": use.what, "MB": _megabytes(use.bytes), "Note": use.how} for use in uses]
    total = sum(use.bytes for use in uses if use.bytes is not None)
    unknown = sum(use.bytes is None for use in uses)
    note = f"without the {unknown} of unknown size" if unknown else "tables, figures and curves are small in comparison"
    return pd.DataFrame([*rows, {"Disk": "total", "MB": _megabytes(total), "Note": note}])


def _megabytes(count: float | None) -> str:
    return cost.number(None if count is None else count / 1e6, "{:,.1f}")


# licences


def licences(plan: Config) -> list[str]:
    """The licences of the study's images and weights, and which weights are downloaded."""
    lines = []
    used = {dataset.archive for dataset in plan.datasets.values()}
    used |= {archive for source in plan.sources.values() for archive in source.archives}
    for name in sorted(used):
        archive = plan.archives[name]
        card = cards.card(archive)
        synthetic = "synthetic, in the layout of " if archive.twin else ""
        licence = "made here, no licence needed" if archive.twin else card.licence
        lines.append(f"  {name}: {synthetic}{card.title}: {licence}")
    for source in plan.sources.values():
        if source.weights:
            title, licence, where = (_on_card(source.weights.layout.name, part) for part in CARD)
            download = "" if source.weights.path else "; downloaded by its library on first use"
            lines.append(f"  {source.name}: {title}: {licence} ({where}){download}")
    return ["Licences:", *lines]


def _on_card(layout: str, part: str) -> str:
    """An entry on the card of published weights, read without importing their module, which needs torch."""
    return registry.constant("weights", layout, f"CARD.{part}", default="not stated")
