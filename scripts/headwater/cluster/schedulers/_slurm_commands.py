"""SLURM's commands: runs one of them, and tells a SLURM that is silent or absent from a job that it does not know."""

import re
import subprocess

from headwater.cluster.schedulers import Absent, Silent

ANSWER = 60.0
"""Seconds in which a command must answer; a healthy SLURM takes less than one."""

UNCONFIGURED = "Could not establish a configuration source"
"""What the commands say on a machine where they are installed without a cluster."""

UNKNOWN_JOB = r"[Ii]nvalid job id|already completing or completed"
"""What they say of a job that has ended."""


def output(*command: str, unknown: str | None = None) -> str:
    """What a command prints; `unknown` where SLURM does not know the job, if such an answer is given."""
    try:
        # names of jobs may be in any encoding
        process = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=ANSWER)
    except FileNotFoundError as error:
        raise Absent(error.strerror or str(error)) from None
    except subprocess.TimeoutExpired:
        raise Silent(f"{command[0]} does not answer", remedy="try again when SLURM is back") from None
    if process.returncode == 0:
        return process.stdout
    if UNCONFIGURED in process.stderr:
        raise Absent(f"{command[0]} belongs to no cluster")
    if unknown is not None and re.search(UNKNOWN_JOB, process.stderr):
        return unknown
    # a refusal and a lost connection have the same exit code, so that both are reported and neither is interpreted
    raise Silent(f"{command[0]} says: {process.stderr or process.stdout}", remedy="try again when SLURM is back")


def rows(printed: str, *, columns: int) -> list[list[str]]:
    """The rows of a table whose columns are divided by `|`; the first holds the job's number.

    Names and comments may hold anything, also line breaks: a line that cannot be a row is left out.
    """
    lines = [line.split("|", columns - 1) for line in printed.splitlines()]
    return [row for row in lines if len(row) == columns and row[0].isdecimal()]
