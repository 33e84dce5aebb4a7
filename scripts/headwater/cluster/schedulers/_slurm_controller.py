"""SLURM's controller job, submitted and requeued by submitit."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError
from submitit.helpers import DelayedSubmission

from headwater.cluster.schedulers import Work
from headwater.core.errors import UserError

ALWAYS = 1_000_000
"""How often a job may be requeued: submitit wants a number."""


class Requeued:
    """Work as submitit runs it in its job; submitit calls `checkpoint` when the job's time is nearly over."""

    def __init__(self, work: Work):
        self.work = work

    def __call__(self) -> None:
        """Do the work."""
        self.work()

    def checkpoint(self) -> DelayedSubmission:
        """What the requeued job does."""
        return DelayedSubmission(Requeued(self.work.before_requeue()))


def submit(
    work: Work,
    *,
    name: str,
    logs: Path,
    minutes: int,
    memory: float,
    notice: int,
    partition: str,
    account: str,
    resources: Mapping[str, Any],
    library: Path,
) -> str:
    """The number of the submitted job; see `Scheduler.submit_controller`."""
    executor = submitit.AutoExecutor(folder=logs / "%j", cluster="slurm", slurm_max_num_timeout=ALWAYS)
    site = {
        "slurm_partition": partition or resources.get("slurm_partition"),
        "slurm_account": account or resources.get("slurm_account"),
    }
    executor.update_parameters(
        name=name,
        nodes=1,
        tasks_per_node=1,
        cpus_per_task=1,
        timeout_min=minutes,
        mem_gb=memory,
        slurm_signal_delay_s=notice,
        stderr_to_stdout=True,
        # the job finds the library where this process did
        slurm_setup=[f"export PYTHONPATH={shlex.quote(str(library))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        slurm_additional_parameters={"requeue": True},
        **{key: value for key, value in site.items() if value is not None},
    )
    try:
        return executor.submit(Requeued(work)).job_id
    except FailedJobError as failed:
        last = str(failed).strip().splitlines()[-1:]
        raise UserError(
            f"sbatch rejected the controller: {' '.join(last)}", remedy="check --partition, --account and --minutes"
        ) from None
