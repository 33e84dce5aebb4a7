"""A Snakemake and a SLURM of a few lines each, which do what a test tells them; they are run as programs.

Snakemake does at each start the next of the acts in `acts.json`, and `--unlock` as the real one. SLURM's commands give
what stands in files of the same folder, and write down how they were called.
"""

import json
import os
import stat
import sys
import time
from pathlib import Path

SLURM = """#!/bin/sh
echo "$(basename $0) $*" >> {folder}/calls
if [ -e {folder}/silent ]; then echo "slurm_load_jobs error" >&2; exit 1; fi
case "$(basename $0) $*" in
  "squeue "*PREEMPTED*)
    cat {folder}/preempted 2> /dev/null
    if [ -e {folder}/passing ]; then rm -f {folder}/preempted; fi ;;
  "squeue "*"-j "*)
    while [ "$1" != -j ]; do shift; done
    if grep -qx "$2" {folder}/living 2> /dev/null; then echo "RUNNING|0:15|node1|None"; fi ;;
  squeue*) cat {folder}/queue 2> /dev/null ;;
  scontrol*) if [ -e {folder}/refuses ]; then echo "Requested operation is presently disabled" >&2; exit 1; fi ;;
  scancel*) sed -i "/^$1\\b/d" {folder}/queue {folder}/living 2> /dev/null ;;
  "sbatch ") sleep 60 ;;
  sbatch*) if [ -e {folder}/refuses ]; then echo "Invalid account" >&2; exit 1; fi; echo "Submitted batch job 77" ;;
esac
exit 0
"""


def slurm_made(folder: Path) -> Path:
    """A folder of SLURM's commands, for the front of PATH."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("squeue", "scontrol", "scancel", "sbatch", "srun"):
        (programs / name).write_text(SLURM.format(folder=folder))
        (programs / name).chmod(stat.S_IRWXU)
    return programs


def command(folder: Path, *acts: dict) -> tuple[str, ...]:
    """The command of a Snakemake that does one act after the other, a start each."""
    (folder / "acts.json").write_text(json.dumps(acts))
    return (sys.executable, __file__, str(folder))


def starts(folder: Path) -> int:
    """How often it was started."""
    return len((folder / "starts").read_text().splitlines()) if (folder / "starts").exists() else 0


def calls(folder: Path, word: str) -> list[str]:
    """How SLURM's commands were called that hold a word."""
    said = (folder / "calls").read_text() if (folder / "calls").exists() else ""
    return [line for line in said.splitlines() if word in line]


def _snakemake(folder: Path, *options: str) -> int:
    inside = Path(".snakemake")
    lock = inside / "locks" / "0.output.lock"
    if "--unlock" in options:
        lock.unlink(missing_ok=True)
        return 0
    act = json.loads((folder / "acts.json").read_text())[starts(folder)]
    with (folder / "starts").open("a") as file:
        print(json.dumps({"process": os.getpid(), "environment": dict(os.environ)}), file=file)
    if lock.exists():
        return 9
    for place in ("locks", "log", "metadata"):
        (inside / place).mkdir(parents=True, exist_ok=True)
    lock.touch()
    (inside / "log" / f"{time.time():.6f}.snakemake.log").write_text(act.get("says", ""))
    if act.get("product"):
        (inside / "metadata" / f"product{starts(folder)}").touch()
    if act.get("submits"):
        os.system("sbatch; true")
    deadline = time.monotonic() + act.get("seconds", 0)
    while time.monotonic() < deadline and not (act.get("until") and calls(folder, act["until"])):
        time.sleep(0.02)
    if act.get("dies"):
        os.kill(os.getpid(), act["dies"])
    lock.unlink()
    return act.get("exits", 0)


if __name__ == "__main__":
    sys.exit(_snakemake(Path(sys.argv[1]), *sys.argv[2:]))
