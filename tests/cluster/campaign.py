"""A campaign: whole small grids on a real SLURM, with faults at random times, held against an undisturbed run.

    python tests/cluster/campaign.py --seed 1 [--injections 30] [--at-once 2] [--folder FOLDER]

Every grid must end, with the bytes of the undisturbed one; no run may be trained twice at once; and after a fault a
training may repeat no more steps than lie between two saves. A fault counts only if it met a job that ran.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from random import Random

import slurm
from faults import KINDS, Missed
from grids import TABLE, Attempt, Grid, Job, Stretch, config

from workflow_made import snakemake

PARTITIONS = {"preempt": "preemption, requeue", "preemptcancel": "preemption, cancel"}
"""The partitions of the grids, and what preemption is called in each."""
SHAPES = [{}, {"ranks": 2}, {"ranks": 2, "nodes": 2}]
"""How the trainings of the grids are spread: one process, two, two on two nodes."""
STEPS, PRETRAINING = 600, 400
BETWEEN_SAVES = 10
"""Steps: with save_minutes 0 a training saves its progress at each look at its losses."""
PAUSE = 2, 12
"""Seconds between two faults of a grid, at least and at most."""
AMID, LATER = 0.8, 5
"""The share of faults that come amid the steps of a training, at most so many seconds later."""
MOST = 12
"""Faults of one grid; then it is left to end."""
PATIENCE = 3600
"""Seconds in which a grid must end."""
KILL_WAIT = 12
"""Seconds that a job's processes may live after its end, by slurm.conf and a little more."""
ROUNDING = 1.5
"""Seconds by which two times may differ, because SLURM's accounts know whole seconds only."""


@dataclass(kw_only=True)
class Injection:
    """One fault, and what came of it."""

    when: float
    kind: str
    met: list[str]
    target: str = ""
    said: str = ""
    counts: bool = False
    redone: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Outcome:
    """How one grid went."""

    name: str
    injections: list[Injection] = field(default_factory=list)
    seconds: float = 0
    jobs: int = 0
    put_back: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def campaign(*, seed: int, injections: int, at_once: int, folder: Path, kinds: list[str]) -> list[Outcome]:
    """Run grids until so many faults have met a job, and print what came of each."""
    references = {ranks: folder / f"undisturbed-{ranks}" for ranks in (1, 2)}
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(at_once + len(references)) as pool:
        undisturbed: dict[int, Future] = {}
        numbers = count()
        at_work: set[Future] = set()
        while (
            counted := sum(injection.counts for outcome in outcomes for injection in outcome.injections)
        ) < injections:
            # no more grids than are needed if each takes all its faults
            while not at_work or (len(at_work) < at_once and counted + MOST * len(at_work) < injections):
                number = next(numbers)
                at_work.add(pool.submit(_disturbed, folder, number=number, seed=seed, kinds=kinds))
                ranks = SHAPES[number % len(SHAPES)].get("ranks", 1)
                if ranks not in undisturbed:
                    undisturbed[ranks] = pool.submit(_undisturbed, references[ranks], ranks=ranks)
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            outcomes += [_told(future.result()) for future in done]
        outcomes += [_told(future.result()) for future in at_work]
        for future in undisturbed.values():
            future.result()
    for outcome in outcomes:
        outcome.violations += _differences(folder / outcome.name, references)
    return outcomes


def _undisturbed(folder: Path, *, ranks: int) -> None:
    """The same grid without SLURM and without a fault."""
    if (folder / TABLE).exists():
        return
    folder.mkdir(exist_ok=True)
    shape = {"ranks": ranks} if ranks > 1 else {}
    snakemake(folder, config=config(steps=STEPS, pretraining=PRETRAINING, **shape), timeout=PATIENCE)


def _disturbed(folder: Path, *, number: int, seed: int, kinds: list[str]) -> Outcome:
    """One grid with faults."""
    chance = Random(f"{seed} {number}")
    partition = list(PARTITIONS)[number % len(PARTITIONS)]
    shape = SHAPES[number % len(SHAPES)]
    name = f"grid{number}-{partition}-{shape.get('ranks', 1)}x{shape.get('nodes', 1)}"
    place = folder / name
    (place / "results").mkdir(parents=True)
    grid = Grid(
        folder=place,
        prefix=f"campaign{os.getpid()}n{number}",
        config=config(steps=STEPS, pretraining=PRETRAINING, **shape),
        partition=partition,
        gpus=0 if "nodes" in shape else shape.get("ranks", 1),
        retries=12,
    )
    mounted = _own_disk(place / "results")
    began = time.time()
    try:
        grid.start()
        outcome = Outcome(name=name)
        _disturb(grid, outcome, chance=chance, kinds=kinds)
        _judge(grid, outcome)
    finally:
        _end(grid)
        if mounted:
            _keep(place / "results")
    outcome.seconds = time.time() - began
    return outcome


def _own_disk(results: Path) -> bool:
    """Give the results a small disk of their own, which can be filled; false where that is forbidden."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "headwater-campaign", results]
    return subprocess.run(mount, capture_output=True).returncode == 0


def _keep(results: Path) -> None:
    """Take the results from their own disk, which goes."""
    kept = results.with_name("kept")
    shutil.copytree(results, kept)
    subprocess.run(["umount", results], check=True)
    results.rmdir()
    kept.rename(results)


def _end(grid: Grid) -> None:
    """Leave nothing behind, whatever has happened."""
    if grid.process.poll() is None:
        grid.kill()
    if left := grid.queued():
        subprocess.run(["scancel", *left], check=True)
        slurm.until(lambda: not grid.queued(), "the end of the grid's jobs", seconds=120)


def _disturb(grid: Grid, outcome: Outcome, *, chance: Random, kinds: list[str]) -> None:
    """Disturb the grid until it has ended, or until its time is over."""
    deadline = time.monotonic() + PATIENCE
    gone: set[str] = set()
    while grid.process.poll() is None and time.monotonic() < deadline:
        following, amid = _next(chance)
        while grid.process.poll() is None and time.monotonic() < min(following, deadline):
            time.sleep(1)
        gone = _put_back(grid, outcome, gone=gone)
        if len(outcome.injections) < MOST and (among := _amid(grid) if amid else grid.running()):
            time.sleep(chance.uniform(0, LATER))
            outcome.injections += _injected(grid, outcome.injections, among=among, chance=chance, kinds=kinds)


def _injected(
    grid: Grid, before: list[Injection], *, among: list[Job], chance: Random, kinds: list[str]
) -> list[Injection]:
    """One fault, of a kind that this grid has seen least; none where nothing can be hit."""
    seen = Counter(injection.kind for injection in before)
    called = {kind: PARTITIONS[grid.partition] if kind == "preemption" else kind for kind in kinds}
    for kind in sorted(kinds, key=lambda kind: (seen[called[kind]], chance.random())):
        now = time.time()
        try:
            met = KINDS[kind](grid, among=among, chance=chance)
        except Missed:
            continue
        print(f"  {grid.folder.name}: {called[kind]}: {' '.join(met)}", file=sys.stderr, flush=True)
        return [Injection(when=now, kind=called[kind], met=met)]
    return []


def _put_back(grid: Grid, outcome: Outcome, *, gone: set[str]) -> set[str]:
    """Do by hand what profiles/README.md says of jobs that were preempted for good; those seen for the second time."""
    now = grid.preempted()
    for number in sorted(gone & now):
        slurm.output("scontrol", "requeue", number)
        outcome.put_back.append(number)
    return now - gone


def _next(chance: Random) -> tuple[float, bool]:
    """(the next fault's earliest time, whether it is to come amid the steps of a training)."""
    return time.monotonic() + chance.uniform(*PAUSE), chance.random() < AMID


def _amid(grid: Grid) -> list[Job]:
    """The jobs in which a training has taken some steps and is alive."""
    begun = {stretch.process for stretches in grid.stretches().values() for stretch in stretches}
    stepping = {training.job for training in grid.trainings() if training.process in begun}
    return [job for job in grid.running() if job.number in stepping] if stepping else []


def _judge(grid: Grid, outcome: Outcome) -> None:
    """Say what came of each fault, and what must not have come of them."""
    if (code := grid.process.poll()) is None:
        outcome.violations.append(f"did not end in {PATIENCE} s; in the queue: {' '.join(grid.queued()) or 'nothing'}")
        return
    if code:
        outcome.violations.append(f"ended with {code}")
    slurm.until(lambda: not grid.queued(), "the end of the grid's last job", seconds=120)
    if left := grid.trainings():
        outcome.violations.append(f"trainings live on after the end: {left}")
    attempts = grid.attempts()
    outcome.jobs = len(attempts)
    for injection in outcome.injections:
        _say(injection, attempts)
    for run, stretches in sorted(grid.stretches().items()):
        outcome.violations += _of_run(run, stretches, outcome.injections)
    outcome.violations += _of_leases(grid.leases(), attempts)


def _say(injection: Injection, attempts: list[Attempt]) -> None:
    """Note what SLURM says of the jobs that a fault has met; it counts if one of them did not go on as before."""
    hit = [
        attempt
        for attempt in attempts
        if attempt.job in injection.met and attempt.started - ROUNDING <= injection.when <= attempt.ended + ROUNDING
    ]
    # a job's first word is enough: "CANCELLED by 0"
    injection.said = ", ".join(f"{attempt.job} {attempt.state.split()[0]}" for attempt in hit)
    injection.target = ", ".join(sorted({_named(attempt.comment) for attempt in hit}))
    ended = any(attempt.state != "COMPLETED" for attempt in hit)
    injection.counts = ended or (bool(hit) and injection.kind == "controller killed")


def _named(comment: str) -> str:
    """The rule and the run that the plugin writes into a job's comment, without what all have."""
    return comment.removeprefix("rule_").removeprefix("group_").replace("_wildcards", "").replace("_chestxray14", "")


def _of_run(run: str, stretches: list[Stretch], injections: list[Injection]) -> Iterator[str]:
    """What is wrong with the trainings of one run; the steps that each repeats are noted at the fault before it."""
    for before, after in pairwise(stretches):
        redone = before.last - after.first + 1
        told = f"{run}: job {before.job} to step {before.last}, job {after.job} from {after.first}"
        if cause := _cause(before, after, injections):
            cause.redone.append(redone)
        if after.began <= before.ended:
            yield f"twice at once: {told}, {before.ended - after.began:.1f} s"
        if redone > BETWEEN_SAVES:
            yield f"{redone} steps again: {told}"
        if redone < 0:
            yield f"{-redone} steps left out: {told}"


def _cause(before: Stretch, after: Stretch, injections: list[Injection]) -> Injection | None:
    """The fault that ended a stretch: the last before its last step, else the first after it."""
    on_job = [one for one in injections if before.job in one.met and before.began <= one.when <= after.began]
    sooner = [one for one in on_job if one.when <= before.ended]
    return sooner[-1] if sooner else next(iter(on_job), None)


def _of_leases(events: list[dict], attempts: list[Attempt]) -> Iterator[str]:
    """Two SLURM jobs that held the lease of one run at the same time: from its record to SLURM's end of the job."""
    held = defaultdict(list)
    for index, event in enumerate(events):
        if event["event"] != "began":
            continue
        when = event["time"]
        ran = [a for a in attempts if a.job == event["job"] and a.started - ROUNDING <= when <= a.ended + KILL_WAIT]
        if not ran:
            yield f"{event['run']}: job {event['job']} took the lease while SLURM does not know it to have run"
            continue
        same = [later for later in events[index:] if (later["run"], later["job"]) == (event["run"], event["job"])]
        said = next((later["time"] for later in same if later["event"] == "ended"), float("inf"))
        held[event["run"]].append((event["time"], min(said, ran[-1].ended), event["job"]))
    for run, spans in sorted(held.items()):
        for (_, ended, before), (began, _, after) in pairwise(sorted(spans)):
            if began < ended - ROUNDING:
                yield f"{run}: jobs {before} and {after} held its lease at once for {ended - began:.1f} s"


def _differences(place: Path, references: dict[int, Path]) -> Iterator[str]:
    """The products of a grid that are other bytes than those of the undisturbed one."""
    reference = references[2 if place.name[-3] == "2" else 1]
    products = [TABLE, *sorted(file.relative_to(reference) for file in reference.glob("results/**/metrics.csv"))]
    products += sorted(file.relative_to(reference) for file in reference.glob("results/**/*.safetensors"))
    for product in products:
        if not (place / product).exists():
            yield f"{product} is missing"
        elif (place / product).read_bytes() != (reference / product).read_bytes():
            yield f"{product} is not that of the undisturbed grid"


def _told(outcome: Outcome) -> Outcome:
    """The same outcome, printed."""
    for injection in outcome.injections:
        redone = max(injection.redone, default=None)
        print(
            f"{time.strftime('%H:%M:%S', time.localtime(injection.when))}  {outcome.name:26}  {injection.kind:19}  "
            f"{injection.target:34}  {injection.said:40}  "
            f"{'no effect' if not injection.counts else 'no step yet' if redone is None else f'{redone} again'}",
            flush=True,
        )
    return outcome


def _summary(outcomes: list[Outcome], *, seed: int, seconds: float) -> None:
    """Print the table by kind, what was violated, and the whole in two lines."""
    found = [injection for outcome in outcomes for injection in outcome.injections]
    print(f"\n{'kind':20} {'injected':>8} {'no effect':>9} {'most steps again':>16}")
    for kind in sorted({injection.kind for injection in found}):
        of_kind = [injection for injection in found if injection.kind == kind]
        counted = [injection for injection in of_kind if injection.counts]
        redone = [steps for injection in counted for steps in injection.redone]
        print(f"{kind:20} {len(counted):8} {len(of_kind) - len(counted):9} {max(redone, default='-'):>16}")
    counted = [injection for injection in found if injection.counts]
    violated = [(outcome.name, violation) for outcome in outcomes for violation in outcome.violations]
    print(
        f"\nseed {seed}: {len(outcomes)} grids, {sum(outcome.jobs for outcome in outcomes)} times a SLURM job, "
        f"{len(counted)} injections of {len({injection.kind for injection in counted})} kinds, "
        f"{sum(len(outcome.put_back) for outcome in outcomes)} jobs put back that were preempted for good, "
        f"{len(violated)} violations, {seconds / 60:.0f} minutes"
    )
    for name, violation in violated:
        print(f"VIOLATION  {name}: {violation}")


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 if anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--injections", type=int, default=30, help="faults that met a job")
    parser.add_argument("--at-once", type=int, default=2, help="grids at the same time")
    parser.add_argument("--folder", type=Path, help="kept; without it a temporary one, kept if anything is violated")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    told = parser.parse_args(arguments)
    if not slurm.answers():
        parser.error("no SLURM is at work; start one: python tests/cluster/slurm.py start")
    folder = told.folder or Path(tempfile.mkdtemp(prefix="campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.time()
    outcomes = campaign(
        seed=told.seed, injections=told.injections, at_once=told.at_once, folder=folder, kinds=told.kinds
    )
    _summary(outcomes, seed=told.seed, seconds=time.time() - began)
    violated = any(outcome.violations for outcome in outcomes)
    if violated:
        print(f"all files are in {folder}")
    elif not told.folder:
        shutil.rmtree(folder)
    return int(violated)


if __name__ == "__main__":
    sys.exit(main())
