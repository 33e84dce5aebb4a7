"""A logger plugin of Snakemake: a line for each job that has ended, and the last word on a plan or a run.

The last word says what a plan costs and replaces, or what a run left undone.
"""

import os
import sys
import textwrap
from collections import Counter
from logging import Filter, LogRecord, getLogger
from pathlib import Path
from typing import Any, ClassVar

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_headwater.finished_jobs import FinishedJobs, Quiet, WithoutRoutineWords

WIDTH = 120

UNFINISHED = 2
"""The exit code of a run in continuous integration that leaves something undone."""


class LogHandler(LogHandlerBase):
    """Notes which jobs are planned and, when Snakemake ends, prints its word on the study of the Snakefile.

    The Snakefile attaches one, so that no flag is needed; `snakemake --logger headwater` does the same.
    """

    made: ClassVar[list["LogHandler"]] = []
    """Those of this process: one is enough."""

    def __post_init__(self) -> None:
        """Begin with nothing planned."""
        self.graph: Any = None
        self.workflow: Any = None
        self.spoken = False
        self.planned: set[str] = set()
        self.jobs: FinishedJobs | None = None
        self.made.append(self)

    def emit(self, record: LogRecord) -> None:
        """Note a planned job by its first product, and print a line on one that has ended."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO and record.output:
            self.planned.add(record.output[0])
            if self.jobs:
                self.jobs.start(record)
        elif event == LogEvent.JOB_FINISHED and self.jobs and (line := self.jobs.end(record.job_id)):
            print(line, file=sys.stderr, flush=True)

    @property
    def repeats_outdated(self) -> bool:
        """Whether Snakemake was asked to repeat jobs whose parameters have changed."""
        return "params" in {trigger.item_to_choice() for trigger in self.workflow.rerun_triggers}

    def after_a_failure(self) -> None:
        """Have no last word: what failed has been told, and the exit code says so."""
        self.spoken = True

    def after_success(self) -> None:
        """Print the end of the study, if there is a report."""
        from headwater.reporting.brief import brief

        if Path(self.graph.paths.summary()).is_file():
            print("\n" + brief(self.graph.paths), flush=True)

    def before_the_first_job(self) -> None:
        """Print which finished products are about to be replaced."""
        from headwater.core.errors import UserError

        jobs = [job for job in self.workflow.dag.needrun_jobs() if job.output]
        if not self.common_settings.verbose:
            self._be_brief(Counter(job.rule.name for job in jobs))
        try:
            _print(self._replaced({str(job.output[0]) for job in jobs}), file=sys.stderr)
        except UserError as refusal:
            # what products took is a service, and no reason to stop a study
            _print(f"What is replaced cannot be told: {refusal}", file=sys.stderr)

    def _be_brief(self, rules: Counter[str]) -> None:
        """From now on show a line on each job that has ended, and none of Snakemake's but its errors."""
        self.jobs = FinishedJobs(rules)
        _show_only(Quiet())

    def close(self) -> None:
        """Print the last word, once; Snakemake closes its handlers last of all."""
        # without a scheduler Snakemake has planned nothing: it was locked, or asked for something else
        spoken, self.spoken = self.spoken, True
        if not spoken and getattr(self.workflow, "scheduler", None) is not None:
            if self.common_settings.dryrun:
                self._price()
            elif not self.workflow.touch and (undone := self._left_undone()):
                print("\n".join(f"headwater: {line}" for line in undone), file=sys.stderr, flush=True)
                if os.environ.get("CI", "").lower() not in ("", "0", "false"):
                    sys.exit(UNFINISHED)
        super().close()

    def _price(self) -> None:
        """Print what the planned jobs take, and which finished products they replace."""
        # here, because Snakemake imports every plugin at every start
        from headwater.core.errors import UserError
        from headwater.planning import runtime_estimate

        try:
            if self.planned:
                estimate = runtime_estimate.estimated(self.graph.config, folder=Path())
                _print(runtime_estimate.price(estimate, self.planned))
                _print(self._replaced(self.planned))
        except UserError as refusal:
            _print(f"The plan cannot be priced: {refusal}")
        if not self.repeats_outdated:
            _print("\n".join(self._left_undone()))

    def _replaced(self, products: set[str]) -> str:
        """A sentence on those products that are there already; empty if there are none."""
        from headwater.planning import outdated, runtime_estimate

        there = {product for product in products if Path(product).is_file()}
        if not there:
            return ""
        return outdated.replaced(runtime_estimate.estimated(self.graph.config, folder=Path()), there)

    def _left_undone(self) -> list[str]:
        """What the report lacks, if it was asked for."""
        from headwater.planning import outdated

        asked = self.workflow.dag_settings
        if asked.until or asked.omit_from or (asked.targets and "all" not in asked.targets):
            return []
        without = "leave out --rerun-triggers, or name params among them"
        return outdated.left_undone(self.graph, remedy="run snakemake again" if self.repeats_outdated else without)

    @property
    def writes_to_stream(self) -> bool:
        """No, or Snakemake would leave its own handler out."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """No."""
        return False

    @property
    def has_filter(self) -> bool:
        """Yes, one that lets everything pass: jobs count whether or not they are shown."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Yes: nothing is formatted."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """No."""
        return False


def has_last_word(graph: Any, *, workflow: Any) -> LogHandler:
    """The handler that `--logger headwater` made, else one more; it now speaks of this job graph."""
    if not LogHandler.made:
        getLogger("snakemake.logging").addHandler(LogHandler(workflow.output_settings, None))
    handler = LogHandler.made[0]
    handler.graph, handler.workflow = graph, workflow
    if not handler.common_settings.verbose:
        _show_only(WithoutRoutineWords())
    return handler


def _show_only(passed: Filter) -> None:
    """Show of Snakemake's own lines those that a filter lets pass; its log file stays whole, as `status` reads it."""
    for handler in getLogger("snakemake.logging").handlers:
        if handler.name == "DefaultStreamHandler":
            handler.addFilter(passed)


def _print(text: str, *, file: Any = None) -> None:
    """Print a paragraph after an empty line, unless it is empty."""
    if text:
        lines = [textwrap.fill(line, width=WIDTH, break_on_hyphens=False) for line in text.splitlines()]
        print("\n" + "\n".join(lines), file=file, flush=True)
