"""Snakemake's state: which jobs have ended, failed or are running, by the files that it keeps in `.snakemake`."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core import processes
from headwater.core.errors import UserError

LONGEST_NAME = 254
"""Snakemake cuts the names of its records into pieces of that length, one below the other."""

STARTED = re.compile(r"^(?: {4})?(?:local)?(?:rule|checkpoint) \w+:$")
FAILED = re.compile(r"^Error in rule \w+:$")
FAILED_IN_GROUP = re.compile(r"^ {8}rule \w+:$")
AGAIN = re.compile(r"^Trying to restart job (\S+)\.$")
FIELD = re.compile(r"^ +(message|jobid|output|log): (.*)$")
SHOWN = re.compile(r"^Logfile .*:$")
ERROR = re.compile(r"^(?:headwater[ \w]*: |[\w.]*(?:Error|Exception|Interrupt)\b)")
"""How a line begins that says why a job failed."""

AT_NO_WORK = {"-n", "--dry-run", "--dryrun", "--mode"}
"""Arguments of a Snakemake that only plans, or that is part of a job."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A job that Snakemake has started and not seen to end: since when, and its scheduler's job if that is known."""

    since: float
    number: str | None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The failure of a job's last attempt: Snakemake's message, the job's logs, and the Snakemake log it is in."""

    message: str
    logs: tuple[str, ...]
    reported_in: Path


def record(product: str, *, folder: Path) -> dict[str, Any] | None:
    """Snakemake's record of the last attempt at a product, successful or not; none without an attempt."""
    file = _record_file("metadata", product, folder=folder)
    try:
        return json.loads(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"Snakemake's record cannot be read: {error}", file=file, remedy="delete it") from None


def seconds(product: str, *, folder: Path) -> float | None:
    """Seconds that the last attempt at a product took; none without a usable record."""
    attempt = record(product, folder=folder) or {}
    start, end = attempt.get("starttime"), attempt.get("endtime")
    # for a job on a cluster both may be the time at which its end was noticed: the Snakemake inside the job has
    # already removed the mark that held its start
    return end - start if start and end and end > start and not attempt.get("incomplete") else None


def mark(product: str, *, folder: Path) -> Mark | None:
    """The mark of a job that was started and is not known to have ended."""
    file = _record_file("incomplete", product, folder=folder)
    try:
        since, content = file.stat().st_mtime, file.read_text()
        return Mark(since=since, number=json.loads(content or "{}").get("external_jobid"))
    except FileNotFoundError:
        return None
    except ValueError:
        return Mark(since=since, number=None)


def _record_file(kind: str, product: str, *, folder: Path) -> Path:
    name = urlsafe_b64encode(product.encode()).decode()
    pieces = [name[at : at + LONGEST_NAME] for at in range(0, len(name), LONGEST_NAME)]
    return folder.joinpath(".snakemake", kind, *(f"@{piece}" for piece in pieces[:-1]), pieces[-1])


def locked(folder: Path) -> bool:
    """Whether a Snakemake holds its lock on the folder, or died while holding it."""
    return any((folder / ".snakemake" / "locks").glob("*.lock"))


def lives_here(folder: Path) -> bool:
    """Whether a Snakemake of this user works in the folder on this machine."""
    return any(is_at_work(words) for words in processes.standing_in(str(folder.resolve())))


def is_at_work(words: list[str]) -> bool:
    """Whether a command line is that of a Snakemake that runs jobs."""
    started = any(Path(word).name == "snakemake" for word in words[:3])
    return started and not AT_NO_WORK & set(words)


def logs(folder: Path) -> list[Path]:
    """Snakemake's own logs, oldest first."""
    return sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"))


def begun(folder: Path) -> float:
    """A time before the first job of this folder (seconds since 1970): a month before its oldest log, else 1969.

    A log's time of modification is that of its last line, and a study may take weeks.
    """
    return min((file.stat().st_mtime for file in logs(folder)), default=0.0) - 86400 * 30


def failures(folder: Path) -> dict[str, Failure]:
    """The failures by product that were not followed by another attempt."""
    failed: dict[str, Failure] = {}
    for file in logs(folder):
        _read(file, failed)
    return failed


def _read(file: Path, failed: dict[str, Failure]) -> None:
    """Bring `failed` up to date with one of Snakemake's logs."""
    by_job: dict[str, list[str]] = {}
    in_group: list[str] = []
    message = ""
    for head, fields in _blocks(file):
        products = fields.get("output", "").split(", ") if fields.get("output") else []
        if again := AGAIN.match(head):
            # the error of a group of jobs does not say the group's number, so that an unknown number is its
            for product in by_job.pop(again[1], in_group):
                failed.pop(product, None)
        elif STARTED.match(head):
            for product in products:
                failed.pop(product, None)
        elif FAILED.match(head) or FAILED_IN_GROUP.match(head):
            if FAILED.match(head):
                message = fields.get("message", "")
                by_job[fields.get("jobid", "")] = products
            else:
                in_group = [*in_group, *products]
            named = fields.get("log", "").partition(" (check")[0]
            logs_of_job = tuple(filter(None, named.split(", ")))
            failure = Failure(message=_message(message), logs=logs_of_job, reported_in=file)
            failed.update(dict.fromkeys(products, failure))
        elif "message" in fields:
            in_group, message = [], fields["message"]


def _message(written: str) -> str:
    """A message of Snakemake, which writes None where there is none."""
    return "" if written == "None" else written


def _blocks(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(first line, fields below it) of each block of a log, without the logs of jobs that it shows."""
    head, fields = "", {}
    for line in _without_shown(file.read_text(errors="replace").splitlines()):
        if not line.startswith(" ") or STARTED.match(line) or FAILED_IN_GROUP.match(line):
            yield head, fields
            head, fields = line, {}
        elif field := FIELD.match(line):
            fields.setdefault(field[1], field[2])
    yield head, fields


def _without_shown(lines: list[str]) -> Iterator[str]:
    """The lines without those of jobs' logs, each of which stands between two equal rulers and may show another."""
    rulers: list[str] = []
    after_title = False
    for line in lines:
        if after_title and line and set(line) == {"="}:
            rulers.append(line)
        elif rulers and line == rulers[-1]:
            rulers.pop()
        elif not rulers:
            yield line
        after_title = bool(SHOWN.match(line))


def last_word(log: Path) -> str:
    """The line of a job's log that says why it failed: the last error message, else the last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    errors = [line for line in lines if ERROR.match(line)]
    return (errors or lines or [""])[-1]
