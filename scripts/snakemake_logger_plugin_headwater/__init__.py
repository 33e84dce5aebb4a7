"""A logger plugin of Snakemake that ends a dry run with the price of what it plans, and changes nothing else."""

import textwrap
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any, ClassVar

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

WIDTH = 120


class LogHandler(LogHandlerBase):
    """Notes which jobs a dry run plans and, when Snakemake ends, prints what they take; silent in all other runs.

    The Snakefile attaches one, so that no flag is needed; `snakemake --logger headwater` does the same.
    """

    made: ClassVar[list["LogHandler"]] = []
    """Those of this process: one is enough."""

    def __post_init__(self) -> None:
        """Begin with nothing planned."""
        self.plan: Any = None
        self.planned: set[str] = set()
        self.made.append(self)

    def emit(self, record: LogRecord) -> None:
        """Note a planned job by its first product."""
        if getattr(record, "event", None) == LogEvent.JOB_INFO and record.output:
            self.planned.add(record.output[0])

    def close(self) -> None:
        """Print the price, once; Snakemake closes its handlers last of all."""
        if self.plan is not None and self.planned and self.common_settings.dryrun:
            # only here, because Snakemake imports every plugin at every start
            from headwater.core.errors import UserError
            from headwater.planning import runtime_estimate

            try:
                said = runtime_estimate.price(runtime_estimate.estimated(self.plan, folder=Path()), self.planned)
            except UserError as refusal:
                said = f"The plan cannot be priced: {refusal}"
            print("\n" + textwrap.fill(said, width=WIDTH, break_on_hyphens=False), flush=True)
        self.planned = set()
        super().close()

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


def priced(plan: Any, *, settings: Any) -> None:
    """Have a dry run of a plan end with its price: by the handler that `--logger headwater` made, else by one more."""
    if not LogHandler.made:
        getLogger("snakemake.logging").addHandler(LogHandler(settings, None))
    LogHandler.made[0].plan = plan
