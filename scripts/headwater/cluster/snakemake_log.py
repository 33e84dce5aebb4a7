"""Snakemake's log while it runs: which jobs it has submitted to the scheduler, and which failed."""

import re
from pathlib import Path

FINISHED = re.compile(r"Finished jobid: (\d+) ")
NUMBER = re.compile(r"\s+jobid: (\d+)$")
LOGS = re.compile(r"\s+log: (.+) \(check log file\(s\) for error details\)$")


def names(folder: Path) -> set[Path]:
    """The logs of all Snakemakes that were started in a folder; the Snakemakes inside jobs write none."""
    return set((folder / ".snakemake" / "log").glob("*.snakemake.log"))


class SnakemakeLog:
    """The log of the next Snakemake that is started in a folder, as far as it has been written.

    `submitted` is the regular expression of a line that reports a submitted job, see `Scheduler.SUBMITTED`.
    """

    def __init__(self, folder: Path, *, submitted: str):
        self.submitted: set[str] = set()
        """Numbers of the jobs that it has submitted to the scheduler."""
        self.failed: dict[str, None] = {}
        """Logs of the jobs that failed and were not repeated with success, in the order of failure."""
        self._pattern = re.compile(submitted)
        self._folder = folder
        self._former = names(folder)
        self._file: Path | None = None
        self._read = 0
        self._logs: dict[str, str] = {}
        self._job = ""
        self._quoting = False

    def read_on(self) -> bool:
        """Read what is new; whether there was anything."""
        self._file = self._file or max(names(self._folder) - self._former, default=None)
        if self._file is None:
            return False
        with self._file.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        # up to the last line break: a line that is still being written is read the next time
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._read_line(line)
        return bool(whole)

    def _read_line(self, line: str) -> None:
        """Note what a line reports.

        Between two rulers of `=` Snakemake shows the log of a failed job. That log may hold such lines itself, which
        are about other jobs.
        """
        if len(line) > 3 and not line.strip("="):
            self._quoting = not self._quoting
        if self._quoting:
            return
        if match := self._pattern.match(line):
            self.submitted.add(match[1])
        elif match := NUMBER.match(line):
            self._job = match[1]
        elif match := LOGS.match(line):
            self._logs[self._job] = match[1]
            self.failed[match[1]] = None
        elif match := FINISHED.match(line):
            # it failed before, and a repetition succeeded
            self.failed.pop(self._logs.get(match[1], ""), None)
