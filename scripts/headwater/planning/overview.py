"""Study: the whole plan of a study on one page, before anything runs: jobs, hours, disk, licences, what is missing."""

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
from headwater.planning import cost, preflight, runtime_estimate, timing_profile
from headwater.planning.runtime_estimate import Estimate
from headwater.planning.timing_profile import Calibration
from headwater.study import config as study_config
from headwater.study import shared_labels
from headwater.study.archive import Archive
from headwater.study.config import Config
from headwater.study.job_graph import Job
from headwater.study.paths import Paths

DEMO = Path("config/config.yaml")

WIDTH = 120

SIDE_BY_SIDE = (1, 2, 4, 8, 16, 32)
"""How many trainings at a time the page tells the time of, besides the number asked for."""

CARD = ("title", "licence", "where")

PROGRESS = 3
"""A progress file holds the weights, two moments of each, and a copy of the best ones where that is not yet written."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What some files take on the disk: bytes, or none where nobody can know, and where that is known from."""

    what: str
    bytes: float | None
    how: str


def study(*, config: Path = DEMO, trainings: int = 1, folder: Path = Path()) -> None:
    """Print the whole plan of a study: jobs per rule, hours, disk, licences, and what is missing (then exit 2).

    --config     the study; the demo where none is named
    --trainings  how many training jobs run side by side, each on GPUs of its own where there are any (1)
    --folder     where Snakemake is started
    """
    if trainings < 1:
        raise UserError(f"--trainings: {trainings} cannot train anything", remedy="say 1 or more")
    plan = study_config.read(config)
    missing = preflight.wanting(plan)
    known = runtime_estimate.estimated(plan, folder=folder)
    print(f"{config}: {_size(plan)}\n")
    print(text.as_text(by_rule(known)), end="\n\n")
    print(textwrap.fill(runtime_estimate.explained(known, trainings=trainings), width=WIDTH), end="\n\n")
    if known.each:
        print(text.as_text(wall_times(known, trainings=trainings)), end="\n\n")
    print(text.as_text(disk_table(disk(plan, known, trainings=trainings, folder=folder))), end="\n\n")
    print("\n".join(licences(plan)), end="\n\n")
    if not missing and plan.comparison.external:
        shared = [f"  {line}" for line in shared_labels.told(plan.grid())]
        print("\n".join(["Findings that a dataset shares with others:", *shared]), end="\n\n")
    print("Missing: nothing" if not missing else "Missing:\n" + "\n".join(f"  {line}" for line in missing))
    if missing:
        raise UserError(f"{len(missing)} things are missing", file=config, remedy="the page above names each remedy")


def _size(plan: Config) -> str:
    grid = plan.grid()
    controls = sum(source.control is not None for source in grid.sources)
    several = (len(grid.datasets), len(grid.sources), len(grid.recipes), len(grid.seeds))
    said = "{} datasets x {} sources (controls: " + str(controls) + ") x {} recipes x {} seeds"
    return f"{said.format(*several)} = {math.prod(several)} runs, below {plan.results}"


def by_rule(known: Estimate) -> pd.DataFrame:
    """One row per rule: its jobs, those finished, and process-hours as far as known."""
    alike: dict[str, list[Job]] = {}
    for job in known.jobs:
        alike.setdefault(job.rule, []).append(job)
    return pd.DataFrame(
        {
            "Rule": rule,
            "Jobs": str(len(jobs)),
            "Finished": str(sum(job.product in known.finished for job in jobs)),
            "Process-hours": cost.number(_hours(jobs, known), "{:.3f}"),
            "To go": cost.number(_hours([job for job in jobs if job.product not in known.finished], known), "{:.3f}"),
        }
        for rule, jobs in alike.items()
    )


def _hours(jobs: list[Job], known: Estimate) -> float | None:
    """Hours of jobs by their number of processes; none where one is not known."""
    each = [known.each.get(runtime_estimate.kind_of(job)) for job in jobs]
    if None in each:
        return None
    return sum(seconds * max(1, job.ranks) for seconds, job in zip(each, jobs, strict=True)) / 3600


def wall_times(known: Estimate, *, trainings: int) -> pd.DataFrame:
    """The least hours by how many trainings run at a time, from the beginning and from here."""
    rows = []
    for number in sorted({*SIDE_BY_SIDE, trainings}):
        whole = runtime_estimate.wall(known.jobs, known.takes, trainings=number)
        rest = runtime_estimate.wall(known.to_come(), known.takes, trainings=number)
        told = {"Hours at least": f"{whole / 3600:.3f}", "From here": f"{rest / 3600:.3f}"}
        rows.append({"Trainings at a time": str(number), **told})
    return pd.DataFrame(rows)


# disk


def disk(plan: Config, known: Estimate, *, trainings: int, folder: Path) -> list[Room]:
    """What the study takes on the disk in the end, and its progress files while it runs."""
    told = timing_profile.read(plan, folder=folder)
    rooms = [_images(archive, plan=plan, folder=folder) for archive in _archives_used(known, plan)]
    sizes = {}
    for job in known.jobs:
        if job.rule in ("finetune", "pretrain", "adopt"):
            backbone = (job.run.source if job.run else plan.sources[job.wildcards[0]]).backbone
            sizes.setdefault((job.rule, backbone), []).append(job)
    weights = {key: _weights(jobs, plan=plan, told=told, folder=folder) for key, jobs in sizes.items()}
    for (rule, backbone), jobs in sizes.items():
        each, how = weights[rule, backbone]
        what = f"{len(jobs)} {'models' if rule == 'finetune' else 'encoders'} ({rule}) of {backbone}"
        rooms.append(Room(what=what, bytes=None if each is None else each * len(jobs), how=how))
    largest = [each for (rule, _), (each, _) in weights.items() if rule != "adopt"]
    rooms.append(
        Room(
            what=f"progress of {trainings} trainings at a time",
            bytes=None if None in largest or not largest else PROGRESS * max(largest) * trainings,
            how=f"about {PROGRESS} times the largest network; more where a method trains several",
        )
    )
    return rooms


def _archives_used(known: Estimate, plan: Config) -> Iterator[Archive]:
    for job in known.jobs:
        if job.rule == "prepare":
            yield plan.archives[job.wildcards[0]]


def _images(archive: Archive, *, plan: Config, folder: Path) -> Room:
    """An archive's prepared images: as they lie there, else reckoned from the cases that are promised."""
    file = folder / Paths(plan.results).images(archive.name)
    what = f"images of {archive.name}"
    if file.is_file():
        return Room(what=what, bytes=file.stat().st_size, how="prepared")
    have = timing_profile.counts(archive, plan=plan, folder=folder)
    if have is None:
        return Room(what=what, bytes=None, how="how many cases it has is not known before it is prepared")
    planes, deep = timing_profile.channels(archive), timing_profile.pixel_bytes(archive)
    how = f"{have.all:,} cases x {planes} x {archive.size} x {archive.size}; promised, not counted"
    return Room(what=what, bytes=have.all * planes * deep * archive.size**2, how=how)


def _weights(jobs: list[Job], *, plan: Config, told: Calibration | None, folder: Path) -> tuple[float | None, str]:
    """(bytes of one weights file of some jobs on one network, how that is known)."""
    there = [file.stat().st_size for job in jobs if (file := folder / job.product).is_file()]
    if there:
        return mean(there), f"mean of the {len(there)} that are there"
    for job in jobs if told else ():
        rehearsal = timing_profile.rehearsal_of(job, plan)
        if rehearsal and rehearsal.key in told.trainings:
            return told.trainings[rehearsal.key].bytes, "calibrated"
    return None, "not known before one is finished, or calibrated"


def disk_table(rooms: list[Room]) -> pd.DataFrame:
    """The rooms and their sum, in MB."""
    rows = [{"Disk": room.what, "MB": _megabytes(room.bytes), "Note": room.how} for room in rooms]
    total = sum(room.bytes for room in rooms if room.bytes is not None)
    unknown = sum(room.bytes is None for room in rooms)
    note = f"without the {unknown} that are not known" if unknown else "tables, figures and curves are small beside"
    return pd.DataFrame([*rows, {"Disk": "together", "MB": _megabytes(total), "Note": note}])


def _megabytes(count: float | None) -> str:
    return cost.number(None if count is None else count / 1e6, "{:,.1f}")


# licences


def licences(plan: Config) -> list[str]:
    """Under which licences the study's images and weights come, and what has to be fetched."""
    lines = []
    used = {dataset.archive for dataset in plan.datasets.values()}
    used |= {archive for source in plan.sources.values() for archive in source.archives}
    for name in sorted(used):
        archive = plan.archives[name]
        card = cards.card(archive)
        made = "synthetic, in the layout of " if archive.twin else ""
        licence = "no licence needed for what is made here" if archive.twin else card.licence
        lines.append(f"  {name}: {made}{card.title}: {licence}")
    for source in plan.sources.values():
        if source.weights:
            title, licence, where = (_on_card(source.weights.layout.name, part) for part in CARD)
            fetched = "" if source.weights.path else "; fetched from its library's hub when first asked for"
            lines.append(f"  {source.name}: {title}: {licence} ({where}){fetched}")
    return ["Licences:", *lines]


def _on_card(layout: str, part: str) -> str:
    """What the card of published weights says, read without importing them."""
    return registry.constant("weights", layout, f"CARD.{part}", default="not said")
