"""Outdated products: which finished products were made with other settings than the config's, and what replacing costs.

What Snakemake remembers of a product may be gone, or may not be asked; the record beside the product stays with it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headwater.cluster import product_lock
from headwater.core.progress import clock
from headwater.core.text import many
from headwater.planning.runtime_estimate import Estimate, kind_of
from headwater.study import settings
from headwater.study.job_graph import JobGraph
from headwater.study.jobs import Job

MOST_LINES = 10
"""Differences between settings that are listed."""

LONGEST = 60
"""Characters of a value that are shown."""

NO_REASON_TO_REPEAT = {("pretrain", "ledger"), ("finetune", "ledger")}
"""(rule, rule whose products it reads) where a new product repeats nothing, because Snakemake calls it ancient."""


Difference = tuple[str, Any, Any]
"""(setting, value that a product was made with, value in the config)"""


def differences(graph: JobGraph, rule: str, wildcards: Mapping[str, str], *, folder: Path = Path()) -> list[Difference]:
    """How the settings of a finished product differ from the config's; empty without a product or its record."""
    made_with = product_lock.settings_of(folder / settings.written(graph, rule, wildcards))
    if made_with is None or not (folder / graph.rules[rule].product.format_map(wildcards)).exists():
        return []
    wanted = settings.of(graph, rule, wildcards)
    return [] if made_with == wanted else list(_differences(made_with, wanted))


def outdated(graph: JobGraph, jobs: list[Job], *, folder: Path = Path()) -> dict[str, list[tuple[str, Any, Any]]]:
    """The differences of each finished product that was made with other settings than the config's."""
    listed = {
        job.product: differences(graph, job.rule, graph.named(job.rule, job.wildcards), folder=folder) for job in jobs
    }
    return {product: differs for product, differs in listed.items() if differs}


def _differences(before: Any, now: Any, place: str = "") -> Iterator[Difference]:
    """(place, value before, value now) of each part that differs; entries of lists are known by their name."""
    before, now = _by_name(before), _by_name(now)
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{place}.{key}" if place else str(key))
    elif before != now:
        yield place, before, now


def _by_name(value: Any) -> Any:
    """A list of records with names as a dictionary."""
    named = isinstance(value, list) and value and all(isinstance(entry, dict) and "name" in entry for entry in value)
    return {entry["name"]: entry for entry in value} if named else value


# what a run leaves undone


def left_undone(graph: JobGraph, *, remedy: str, folder: Path = Path()) -> list[str]:
    """A line for each setting in which the report, or else what it rests on, is not what the config asks for."""
    jobs = list(graph.jobs())
    found = outdated(graph, jobs, folder=folder)
    page = Path(graph.paths.page())
    if not (folder / page).is_file():
        return [f"{page}: there is no report; {remedy}"]
    if not found:
        return []
    # the report's settings are the whole grid, so its differences say everything once
    telling = [str(page)] if str(page) in found else sorted(found)
    lines = [f"{product}: {line}; {remedy}" for product in telling for line in map(_in_words, found[product])]
    rules = Counter(job.rule for job in jobs if job.product in found)
    named = ", ".join(f"{count} {rule}" for rule, count in rules.items())
    more = [f"{many(len(lines) - MOST_LINES, 'more difference')}"] if len(lines) > MOST_LINES else []
    of_jobs = f"the products of {many(rules.total(), 'job')} ({named})"
    return [*lines[:MOST_LINES], *more, f"{of_jobs} were made with other settings; {remedy}"]


def _in_words(difference: Difference) -> str:
    place, before, now = difference
    # the report's settings are named as in the config
    place = place.replace("grid.comparing", "comparison", 1).removeprefix("grid.")
    return f"{place}: made with {_shown(before, now)}, the config says {_shown(now, before)}"


def _shown(value: Any, other: Any) -> str:
    """A value in one line; records leave out defaults and entries that are not there."""
    if value is None:
        return "nothing of that name" if isinstance(other, dict) else "the default"
    if isinstance(value, dict):
        value = ", ".join(map(str, value))
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


# what is replaced


def to_be_replaced(graph: JobGraph, jobs: list[Job], *, folder: Path = Path()) -> set[str]:
    """The finished products that are made again because they, or products that they rest on, are outdated."""
    made = {job.product for job in jobs if (folder / job.product).is_file()}
    rule_of = {job.product: job.rule for job in jobs}
    repeated = set(outdated(graph, jobs, folder=folder))
    # the report is the target, whose missing inputs are made
    repeated |= {job.product for job in jobs if job.rule == "report" and job.product not in made}
    before = -1
    while before != len(repeated):
        before = len(repeated)
        for job in jobs:
            if any(n in repeated and (job.rule, rule_of[n]) not in NO_REASON_TO_REPEAT for n in job.needs):
                repeated.add(job.product)
        for job in reversed(jobs):
            if job.product in repeated:
                repeated |= {need for need in job.needs if need not in made}
    return repeated & made


def replaced(runtimes: Estimate, products: set[str]) -> str:
    """A sentence on finished products that are made again: how many, what they took, and how to keep them."""
    jobs = [job for job in runtimes.jobs if job.product in products]
    if not jobs:
        return ""
    by_rule: dict[str, list[Job]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(job)
    parts = [f"{len(members)} {rule}{_cost(runtimes, members)}" for rule, members in by_rule.items()]
    return (
        f"Made again, and replaced: the finished products of {many(len(jobs), 'job')}: {', '.join(parts)}. To keep "
        "them, set another folder of results in the config, or copy that folder first."
    )


def _cost(runtimes: Estimate, jobs: list[Job]) -> str:
    """What jobs took, in brackets; estimated from their kind where it was not recorded, else left out."""
    each = [(runtimes.finished.get(job.product) or runtimes.each.get(kind_of(job)), job) for job in jobs]
    known = [seconds * max(1, job.ranks) for seconds, job in each if seconds is not None]
    return f" ({clock(sum(known))} of work)" if known else ""
