"""How many CPU seconds SLURM counts for a job of ours up to its first training step, beside an empty Snakefile's job.

    python benchmarks/overhead_on_slurm.py --account lab --partition gpu [--rounds 5] [--folder SHARED]

Needs a SLURM at work (here: `python tests/cluster/slurm.py start`) and a folder that its nodes share. Each way is one
job through Snakemake's own plugin, and they take turns: a fine-tuning of a copy of this checkout whose door alone is
changed, so that it stops at its first optimiser step, and the one rule of an empty Snakefile, which imports torch,
alone or with what torch imports of itself when an optimiser is made. No job writes what it promised, so all end alike.
The seconds are sacct's TotalCPU: all that the job's steps used, the plugin's own part included;
`benchmarks/overhead.py` tells whose they are.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from numpy import median

# it takes this folder off the path
from overhead import CELL, LEAVE, MOST_SECONDS, OPTIMISER, ROOT, STUDY

CHECKOUT = ["Snakefile", "workflow", "scripts", "config", "envs"]

STOPPED = """
import os
from torch.optim.optimizer import register_optimizer_step_pre_hook
register_optimizer_step_pre_hook(lambda *_: os._exit(0))
"""
"""Goes before the door of the copied fine-tuning."""

EMPTY = """
rule finetune:
    output: "empty/{part}.{seed}.txt"
    shell: "python empty/only_{wildcards.part}.py"
"""

PARTS = {"torch": "import torch", "optimiser": OPTIMISER}
"""What the rule of the empty Snakefile does."""


def laid_out(folder: Path) -> dict[str, list[str]]:
    """Target, Snakefile and config of each way, by name; `{seed}` in a target is the round."""
    config, checkout, empty = folder / "study.json", folder / "checkout", folder / "empty"
    config.write_text(json.dumps(STUDY | {"seeds": list(range(100)), "compute": {"device": "cpu"}}))
    for name in CHECKOUT:
        source, copy = ROOT / name, checkout / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    ours = ["--snakefile", str(checkout / "Snakefile"), "--configfile", str(config)]
    made = [f"results/archives/{CELL['dataset']}/images.npy", "results/ledger.parquet"]
    snakemake(folder, *ours, "--cores", "2", *made)
    door = checkout / "scripts" / "finetune.py"
    door.write_text(STOPPED + door.read_text())
    empty.mkdir()
    for name, program in PARTS.items():
        (empty / f"only_{name}.py").write_text(program + LEAVE)
    (folder / "empty.smk").write_text(EMPTY)
    run = f"results/runs/{CELL['dataset']}/{CELL['source']}/{CELL['recipe']}/seed{{seed}}/model.safetensors"
    beside = {
        f"empty Snakefile, {name}": [f"empty/{name}.{{seed}}.txt", "--snakefile", str(folder / "empty.smk")]
        for name in PARTS
    }
    return {"ours to the first step": [run, *ours], **beside}


def snakemake(folder: Path, *arguments: str, ends_well: bool = True) -> str:
    """What Snakemake said; whether it ended well must be as expected."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "none", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if (done.returncode == 0) != ends_well:
        sys.exit(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def of_a_job(way: list[str], *, seed: int, name: str, folder: Path, account: str, partition: str) -> float:
    """The CPU seconds that SLURM counts for one job of a way; `name` begins its name."""
    small = [f"slurm_account={account}", f"slurm_partition={partition}", "nodes=1", "mem_mb=4000", "runtime=10"]
    asked = ["--executor", "slurm", "--jobs", "1", "--latency-wait", "1", "--slurm-jobname-prefix", name]
    asked += ["--slurm-init-seconds-before-status-checks", "2", "--slurm-status-command", "squeue"]
    words = [word.replace("{seed}", str(seed)) for word in way]
    said = snakemake(folder, *words, *asked, "--default-resources", *small, ends_well=False)
    logs = sorted(folder.glob(".snakemake/slurm_logs/**/*.log"), key=lambda log: log.stat().st_mtime)
    if not logs or "MissingOutputException" not in logs[-1].read_text():
        sys.exit(f"the job of {name} did not end as it should:\n{said[-3000:]}")
    return counted(name)


def counted(name: str) -> float:
    """TotalCPU of the one job whose name begins so, in seconds."""
    fields = ["--noheader", "--parsable2", "--format", "JobName,TotalCPU"]
    said = subprocess.run(["sacct", *fields], capture_output=True, text=True, check=True).stdout
    jobs = [line.split("|") for line in said.splitlines() if line.startswith(f"{name}_")]
    if len(jobs) != 1:
        sys.exit(f"SLURM knows {len(jobs)} jobs of {name}, not one")
    return seconds(jobs[0][1])


def seconds(told: str) -> float:
    """sacct's [DD-[HH:]]MM:SS[.mmm] in seconds."""
    days, _, clock = told.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total + 86_400 * int(days or 0)


def verdict(found: dict[str, list[float]]) -> str:
    """What a job of ours takes beyond each of the others, by the least and by the middle of all rounds."""
    ours, *others = found
    lines = [f"{'least':>6} {'median':>7}  way"]
    lines += [f"{min(taken):>6.2f} {median(taken):>7.2f}  {way}" for way, taken in found.items()]
    for other in others:
        least, middle = (of(found[ours]) - of(found[other]) for of in (min, median))
        lines.append(f"beyond {other}: {least:+.2f} CPU-s, median {middle:+.2f} (at most {MOST_SECONDS:g})")
    return "\n".join(lines)


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--account", required=True)
    parser.add_argument("--partition", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="below which the jobs' folder is made; shared by the nodes")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        ways = laid_out(folder)
        found: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(asked.rounds):
            for number, (way, words) in enumerate(ways.items()):
                job = f"overhead{os.getpid()}x{turn}x{number}"
                place = {"folder": folder, "account": asked.account, "partition": asked.partition}
                found[way].append(of_a_job(words, seed=turn, name=job, **place))
                print(f"round {turn + 1}: {found[way][-1]:.2f} CPU-s, {way}", file=sys.stderr, flush=True)
    print(verdict(found))


if __name__ == "__main__":
    main()
