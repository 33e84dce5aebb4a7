"""Reads what a Snakemake writes in its own log while it runs: which SLURM jobs it submitted, and what failed.

Standard library only.
"""

import re
from pathlib import Path

SUBMITTED = re.compile(r"Job \S+ has been submitted with SLURM jobid (\d+)")
FINISHED = re.compile(r"Finished jobid: (\d+) ")
NUMBER = re.compile(r"\s+jobid: (\d+)$")
LOGS = re.compile(r"\s+log: (.+) \(check log file\(s\) for error details\)$")


def names(folder: Path) -> set[Path]:
    """The logs of all Snakemakes that were started in a folder; those in jobs write none."""
    return set((folder / ".snakemake" / "log").glob("*.snakemake.log"))


class SnakemakeLog:
    """The log of the next Snakemake that is started in a folder, read as far as it is written."""

    def __init__(self, folder: Path):
        self.submitted: set[str] = set()
        """Numbers of the SLURM jobs that it has submitted."""
        self.failed: dict[str, None] = {}
        """Logs of the jobs that failed and were not repeated with success, in the order of failing."""
        self._folder = folder
        self._former = names(folder)
        self._file: Path | None = None
        self._read = 0
        self._logs: dict[str, str] = {}
        self._job = ""
        self._quoting = False

    def read_on(self) -> bool:
        """Whether something new was written."""
        self._file = self._file or max(names(self._folder) - self._former, default=None)
        if self._file is None:
            return False
        with self._file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        # a line that is still being written is read the next time
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._understand(line)
        return bool(whole)

    def _understand(self, line: str) -> None:
        """One line; what stands between two bars is the log of a failed job, which may hold such lines itself."""
        if len(line) > 3 and not line.strip("="):
            self._quoting = not self._quoting
        if self._quoting:
            return
        if found := SUBMITTED.match(line):
            self.submitted.add(found[1])
        elif found := NUMBER.match(line):
            self._job = found[1]
        elif found := LOGS.match(line):
            self._logs[self._job] = found[1]
            self.failed[found[1]] = None
        elif found := FINISHED.match(line):
            self.failed.pop(self._logs.get(found[1], ""), None)
