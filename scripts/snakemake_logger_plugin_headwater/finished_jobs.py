"""One line for each job that has ended, in place of Snakemake's own lines about jobs, which its log file keeps."""

import json
import time
from dataclasses import dataclass
from logging import Filter, LogRecord
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

ROUTINE = {
    *(LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.GROUP_INFO, LogEvent.SHELLCMD),
    *(LogEvent.PROGRESS, LogEvent.RESOURCES_INFO),
}
"""What Snakemake tells of jobs that go as they should; errors are not among it."""

ROUTINE_WORDS = (
    *("Select jobs to execute", "Using shell:", "Provided cores:", "Rules claiming more threads"),
    *("Assuming unrestricted shared filesystem", "Conda environments: ignored"),
)
"""How lines of Snakemake begin that say nothing of a study, and are no event."""

TRAININGS = ("pretrain", "finetune")
"""Rules whose jobs take most of the time; without one of each that is left the time left is not known."""


class WithoutRoutineWords(Filter):
    """Lets pass all but lines that say nothing of a study."""

    def filter(self, record: LogRecord) -> bool:
        """Whether a record is shown."""
        return not record.getMessage().strip().startswith(ROUTINE_WORDS)


class Quiet(Filter):
    """Lets pass all but what Snakemake tells of jobs that go as they should."""

    def filter(self, record: LogRecord) -> bool:
        """Whether a record is shown."""
        return getattr(record, "event", None) not in ROUTINE


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that Snakemake has started."""

    rule: str
    name: str
    products: tuple[Path, ...]
    since: float


class FinishedJobs:
    """What is known of the jobs of a run of Snakemake, and the line on each that has ended."""

    def __init__(self, rules: dict[str, int]):
        """`rules`: how many jobs of each rule there are to do."""
        self.left = dict(rules)
        self.total = sum(rules.values())
        self.begun = time.monotonic()
        self.started: dict[int, Job] = {}
        self.seconds: dict[str, list[float]] = {}

    def start(self, record: LogRecord) -> None:
        """Note that a job begins."""
        if record.output:
            self.started[record.jobid] = Job(
                rule=record.rule_name,
                name=_name(record.wildcards),
                products=tuple(map(Path, record.output)),
                since=time.monotonic(),
            )

    def end(self, number: int) -> str:
        """The line on a job that has ended; empty if it made nothing, or was told already."""
        job = self.started.pop(number, None)
        if job is None:
            return ""
        seconds = time.monotonic() - job.since
        self.seconds.setdefault(job.rule, []).append(seconds)
        self.left[job.rule] = max(0, self.left.get(job.rule, 0) - 1)
        done = self.total - sum(self.left.values())
        parts = [f"{job.rule} {job.name}".rstrip(), reached(job.products), clock(seconds)]
        return f"{'  '.join(part for part in parts if part)}  [{done}/{self.total}{self._time_left()}]"

    def _time_left(self) -> str:
        """How long the rest will take by what the jobs of each rule took; nothing where that is not known."""
        ahead = {rule: count for rule, count in self.left.items() if count}
        if not ahead or any(rule in TRAININGS and rule not in self.seconds for rule in ahead):
            return ""
        mean = {rule: sum(each) / len(each) for rule, each in self.seconds.items()}
        side_by_side = max(1.0, sum(map(sum, self.seconds.values())) / (time.monotonic() - self.begun))
        seconds = sum(mean.get(rule, 0.0) * count for rule, count in ahead.items()) / side_by_side
        return f", about {_about(seconds)} left" if seconds else ""


def _name(wildcards: dict[str, Any]) -> str:
    """What a job is about, such as vindr/dino/finetune/seed1."""
    return "/".join(f"seed{value}" if key == "seed" else str(value) for key, value in (wildcards or {}).items())


def reached(products: tuple[Path, ...]) -> str:
    """The validation score of the step that a fine-tuning kept; nothing of other jobs."""
    # here, because Snakemake imports every plugin at every start
    from headwater.core import registry
    from headwater.study import paths, target

    file = next((product for product in products if product.name == paths.FIT), None)
    if file is None:
        return ""
    try:
        fit = json.loads(file.read_text())
        score, metric, dataset = float(fit["score"]), fit["selected_by"], fit["run"]["dataset"]
        if metric == target.SCORE and "targets" not in dataset:
            metric = registry.constant("tasks", dataset.get("task", "classification"), "SCORE", default=metric)
    except (OSError, ValueError, KeyError, TypeError):
        # a file on a slow disk is no reason to end a study
        return ""
    words = metric.upper() if metric == "auroc" else metric.replace("_", " ")
    return f"validation {words} {score:.3f}"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _about(seconds: float) -> str:
    """A length of time in one unit."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
