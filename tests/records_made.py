"""Records as Snakemake and SLURM leave them, written by hand."""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path


def written(file: Path, text: str = "x") -> Path:
    """A file with that text."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def record(folder: Path, product: str, **content: object) -> None:
    """What Snakemake keeps of an attempt at a product."""
    written(folder / ".snakemake" / "metadata" / _name(product), json.dumps(content))


def mark(folder: Path, product: str, *, slurm: str | None = None, since: float | None = None) -> None:
    """The mark of a product that is being made."""
    file = written(folder / ".snakemake" / "incomplete" / _name(product), json.dumps({"external_jobid": slurm}))
    if since is not None:
        os.utime(file, (since, since))


def _name(product: str) -> str:
    return urlsafe_b64encode(product.encode()).decode()


def lock(folder: Path) -> None:
    """The lock of a Snakemake."""
    written(folder / ".snakemake" / "locks" / "0.output.lock")


def log(folder: Path, text: str, *, number: int = 0) -> Path:
    """One of Snakemake's own logs, a later one by a higher number."""
    return written(folder / ".snakemake" / "log" / f"2026-01-0{number + 1}T000000.000000.snakemake.log", text)


def started(rule: str, product: str, number: int, *, indent: str = "") -> str:
    """How a log tells of the start of a job."""
    lines = ["[Thu Jan  1 00:00:00 2026]", f"rule {rule}:", "    input: in", f"    output: {product}, other"]
    return "".join(f"{indent}{line}\n" for line in [*lines, f"    jobid: {number}"])


def failed(rule: str, product: str, number: int, *, message: str = "None", log: str = "a.log") -> str:
    """How a log tells of the failure of a job, and shows the log of its SLURM job, which shows another."""
    return f"""[Thu Jan  1 00:00:00 2026]
Error in rule {rule}:
    message: {message}
    jobid: {number}
    input: in
    output: {product}, other
    log: {log} (check log file(s) for error details)
    shell:
        python {rule}.py
        (command exited with non-zero exit code)
Logfile {log}:
================================================================================
{started(rule, product, 0)}Logfile {log}:
================================================================================
headwater {rule}: no
================================================================================
Error in rule shown:
    jobid: {number}
    output: never
Trying to restart job {number}.
================================================================================
"""
