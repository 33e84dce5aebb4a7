"""SLURM, asked and told by its own commands; each function is explained by `Scheduler` in this folder's `__init__`."""

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.cluster.schedulers import Absent, Attempt, Queued, Silent, Work, _slurm_commands
from headwater.core.errors import UserError

TITLE = "SLURM"
PROFILE = "profiles/slurm"
COMMANDS = frozenset({"sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "sshare", "sprio"})
SUBMITTED = r"Job \S+ has been submitted with SLURM jobid (\d+)"
EXECUTOR_LOGS = "slurm_logs"
NODE_RANK = "SLURM_NODEID"

OWN_JOBS = ("squeue", "--me", "-h")
"""The command that prints this user's jobs, without a header."""

QUEUE = ("%A", "%T", "%M", "%R", "%Z", "%k")
"""Columns of squeue for `attempts`: number, state, running time, nodes or reason, working folder, comment."""

BOOKS = ("JobIDRaw", "State", "ElapsedRaw", "AllocTRES", "WorkDir", "Comment")
"""Columns of sacct for `accounting`."""

ON_NODES = frozenset({"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "CONFIGURING"})
"""States in which a job occupies its nodes."""

NEVER_STARTS = r"PartitionTimeLimit|PartitionNodeLimit|PartitionDown|JobHeld|held|AssocMax|QOSMax|BadConstraints"
"""Reasons for which a job stays pending until somebody does something."""

GPUS = r"gres/gpu=(\d+)"

JOB_VARIABLES = ("SLURM_", "SBATCH_", "SRUN_")
"""How the variables begin that describe a job; sbatch would take them for options of the job that it submits."""

STEP_VARIABLES = ("SLURM_", "SRUN_")
"""How the variables begin that describe a job step; srun would take them for options of the step that it starts."""

CONFIGURATION = "SLURM_CONF"
"""The variable that says where the cluster's configuration is: it describes no job."""

JOB_ITSELF = frozenset({"SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", CONFIGURATION})
"""What srun must know to start a step in this job."""


def own_number() -> str | None:
    """The number that SLURM gives all processes of a job."""
    return os.environ.get("SLURM_JOB_ID")


def check() -> None:
    """Ask for this user's jobs, which every user may do."""
    _slurm_commands.output(*OWN_JOBS)


def queued() -> list[Queued]:
    """This user's jobs in the queue."""
    # a trailing empty column: a name that holds the divider then makes a line that is no row
    printed = _slurm_commands.output(*OWN_JOBS, "-o", "%A|%T|%r|%j|%Z|")
    return [
        Queued(
            number=number,
            state=state,
            reason=reason,
            never_starts=state == "PENDING" and bool(re.search(NEVER_STARTS, reason)),
            name=name,
            folder=Path(folder),
        )
        for number, state, reason, name, folder, _ in _slurm_commands.rows(printed, columns=6)
    ]


def attempts(folder: Path) -> list[Attempt]:
    """This user's jobs in the queue from a folder."""
    printed = _slurm_commands.output("squeue", "--me", "--noheader", f"--format={'|'.join(QUEUE)}")
    return [
        Attempt(
            number=number,
            state=state,
            runs=state in ON_NODES,
            comment=comment,
            seconds=_seconds(lasted),
            where=where,
        )
        for number, state, lasted, where, place, comment in _slurm_commands.rows(printed, columns=len(QUEUE))
        if _same(place, folder)
    ]


def accounting(folder: Path, *, since: float) -> list[Attempt] | None:
    """Every attempt that sacct lists of a folder; none where SLURM keeps no accounts, or is not there."""
    from_then = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
    # --duplicates: a requeued job has a line for each of its starts
    options = ["--allocations", "--noheader", "--parsable2", "--duplicates", f"--starttime={from_then}"]
    try:
        printed = _slurm_commands.output("sacct", *options, f"--format={','.join(BOOKS)}")
    except (Silent, Absent):
        return None
    rows = _slurm_commands.rows(printed, columns=len(BOOKS))
    return [_accounted(row) for row in rows if _same(row[BOOKS.index("WorkDir")], folder)]


def _accounted(row: list[str]) -> Attempt:
    """An attempt as sacct prints it."""
    number, state, lasted, resources, _, comment = row
    gpus = re.search(GPUS, resources)
    # "CANCELLED by 0" is CANCELLED, whoever did it
    state = state.partition(" ")[0]
    return Attempt(
        number=number,
        state=state,
        runs=state in ON_NODES,
        comment=comment,
        seconds=float(lasted or 0),
        gpus=int(gpus[1]) if gpus else 0,
    )


def alive(number: str) -> bool:
    """Whether squeue still lists a job."""
    return bool(_slurm_commands.output("squeue", "-h", "-o", "%T", "-j", number, unknown="").strip())


def restarts(number: str) -> int:
    """How often SLURM has requeued a job."""
    printed = _slurm_commands.output("squeue", "-h", "-O", "RestartCnt", "-j", number, unknown="").strip()
    return int(printed) if printed.isdecimal() else 0


def description(number: str) -> str:
    """State, running time, and nodes or reason, as squeue prints them."""
    printed = _slurm_commands.output("squeue", "-h", "-j", number, "-o", "%T|%M|%N|%r", unknown="").strip()
    # a job may have ended since it was asked for
    state, lasted, nodes, reason = (printed or "gone|||").split("|", 3)
    return " ".join(filter(None, [state, lasted, nodes or reason]))


def preempted(folder: Path) -> set[str]:
    """Jobs of a folder that ended as PREEMPTED: with PreemptMode=CANCEL they are not requeued by SLURM."""
    printed = _slurm_commands.output(*OWN_JOBS, "-t", "PREEMPTED", "-o", "%A|%Z")
    return {number for number, place in _slurm_commands.rows(printed, columns=2) if _same(place, folder)}


def cancel(number: str) -> None:
    """Cancel a job; SLURM gives it KillWait seconds to end."""
    _slurm_commands.output("scancel", number, unknown="")


def requeue(number: str) -> None:
    """Requeue a job, which SLURM allows while it remembers it (MinJobAge)."""
    _slurm_commands.output("scontrol", "requeue", number)


def nodes(number: str) -> list[str]:
    """The host names of a job, whose list SLURM abbreviates to `node[1-3]`."""
    abbreviated = _slurm_commands.output("squeue", "-h", "-o", "%N", "-j", number).strip()
    return _slurm_commands.output("scontrol", "show", "hostnames", abbreviated).split()


def can_start_steps() -> bool:
    """Whether srun is on the PATH."""
    # not by shutil: its import takes longer than that of this module
    return any(os.access(Path(folder, "srun"), os.X_OK) for folder in os.get_exec_path())


def step(command: list[str], *, nodes: int, cpus: int) -> list[str]:
    """srun with one task per node."""
    # --overlap: the step of Snakemake's executor, in which this process is, has taken all CPUs of the job
    srun = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    # srun does not inherit the job's CPUs per task
    srun += [f"--cpus-per-task={cpus}", "--kill-on-bad-exit=1", "--unbuffered"]
    return [*srun, *command]


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without size and place of the step that this process is in."""
    return {
        name: value for name, value in environment.items() if not name.startswith(STEP_VARIABLES) or name in JOB_ITSELF
    }


def outside_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment as it would be outside a job."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(JOB_VARIABLES) or name == CONFIGURATION
    }


def submit_controller(
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
    """Submit the controller by submitit, which also requeues it."""
    # not at the top: the launcher must not wait for submitit, and trainings do without it
    try:
        from headwater.cluster.schedulers import _slurm_controller
    except ModuleNotFoundError as missing:
        if missing.name != "submitit":
            raise
        raise UserError("the package submitit is not installed", remedy="pip install -e '.[slurm]'") from None
    return _slurm_controller.submit(
        work,
        name=name,
        logs=logs,
        minutes=minutes,
        memory=memory,
        notice=notice,
        partition=partition,
        account=account,
        resources=resources,
        library=library,
    )


def _same(place: str, folder: Path) -> bool:
    """Whether a path that SLURM prints is that folder."""
    return bool(place) and Path(place).resolve() == folder.resolve()


def _seconds(lasted: str) -> float:
    """Seconds in squeue's `days-hours:minutes:seconds`, whose first parts may be missing."""
    days, _, hours = lasted.rpartition("-")
    parts = [int(part) for part in hours.split(":") if part.isdecimal()]
    return float(sum(part * 60**place for place, part in enumerate(reversed(parts))) + 86400 * int(days or 0))
