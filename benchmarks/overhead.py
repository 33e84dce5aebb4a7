"""How many CPU seconds a SLURM job of ours takes before its first training step, and whose they are.

    python benchmarks/overhead.py [--rounds 5]

A job on SLURM starts Snakemake twice, one within the other, and each reads the Snakefile anew; beside ours stands an
empty Snakefile with one rule. Then the launcher starts the training, which is stopped at its first optimiser step;
beside it stand parts of what it imports. Both need no SLURM: Snakemake gets the arguments that the plugin gives it,
in a dry run. Seconds are user and system time of each process and its children, the least of all rounds; the ways take
turns. The wall clock is not looked at, so a busy machine blurs the numbers but little.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "scripts"
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(SCRIPTS)

from headwater.study import config as study_config

MOST_SECONDS = 1.0
"""What a job of ours may take beyond an empty Snakefile's job and the import of torch."""

CELL = {"dataset": "chestxray14", "source": "random", "recipe": "finetune", "seed": 0}

STUDY = {
    "seeds": [0],
    "backbone": "timm/test_resnet",
    "archives": {"chestxray14": {"folder": "twin", "size": 32, "validation": 0.25, "twin": {"cases": 160, "size": 48}}},
    "sources": {"random": {}, "other": {}},
    "datasets": {"chestxray14": {"labels": ["Effusion", "Cardiomegaly"]}},
    "recipes": {"finetune": {"training": {"steps": 10, "batch": 16}}},
    "comparison": {"reference": "random", "resamples": 1000},
}
"""A small study; its network is timm's smallest."""

EMPTY = """
rule finetune:
    output: "results/{dataset}/{source}/{recipe}/{seed}.txt"
    shell: "touch {output}"
"""

FIRST_STEP = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = os.path.dirname(sys.argv[0])
from torch.optim.optimizer import register_optimizer_step_pre_hook
register_optimizer_step_pre_hook(lambda *_: os._exit(0))
runpy.run_path(sys.argv[0], run_name="__main__")
sys.exit("the training took no step")
"""

LEAVE = "\nimport os; os._exit(0)"
"""The training is stopped, too, before Python clears up, which takes a second after torch."""

OPTIMISER = """
import torch
layer = torch.nn.Linear(1, 1)
torch.optim.AdamW(layer.parameters()).step()
"""


def in_a_job(snakefile: Path, *more: str) -> list[str]:
    """Snakemake as the plugin starts it in a job: one target, one rule."""
    target = "finetune:" + ",".join(f"{name}={value}" for name, value in CELL.items())
    forced = ["--force", "--nolock", "--ignore-incomplete", "--mode", "remote", "--cores", "1", "-n"]
    forced += ["--workflow-profile", "none"]
    job = ["--target-jobs", target, "--allowed-rules", "finetune"]
    return [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *more, *forced, *job]


def laid_out(folder: Path) -> dict[str, list[str]]:
    """The ways by name, each a command; the small study's images are prepared below `folder`."""
    config, empty = folder / "study.json", folder / "empty.smk"
    config.write_text(json.dumps(STUDY))
    empty.write_text(EMPTY)
    ours = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config)]
    archive = f"results/archives/{CELL['dataset']}"
    made = [sys.executable, "-m", "snakemake", *ours, "--cores", "2", f"{archive}/images.npy"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    run = study_config.load(STUDY).grid().run(**CELL).as_json()
    training = ["--run", run, "--cases", f"{archive}/cases.parquet", "--images", f"{archive}/images.npy"]
    products = {"model": "model.safetensors", "fit": "fit.json", "progress": "progress.pt"}
    training += [word for name, file in products.items() for word in (f"--{name}", f"fitted/{file}")]
    parts = {
        "import torch": "import torch",
        "import torch, first optimiser step": OPTIMISER,
        "the same and import timm": OPTIMISER + "import timm",
        "the same and import pandas, pyarrow": OPTIMISER + "import timm, pandas, pyarrow.parquet",
        "import headwater.stages.finetune": "import headwater.stages.finetune",
    }
    return {
        "Snakemake, empty Snakefile": in_a_job(empty),
        "Snakemake, ours": in_a_job(ROOT / "Snakefile", "--configfile", str(config)),
        "launcher": [sys.executable, str(SCRIPTS / "launch.py"), "--help"],
        **{part: [sys.executable, "-c", program + LEAVE] for part, program in parts.items()},
        "finetune to its first step": [sys.executable, "-c", FIRST_STEP, str(SCRIPTS / "finetune.py"), *training],
    }


def cpu_seconds(command: list[str], *, folder: Path) -> float:
    """User and system time of one process and its children."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=folder, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": str(SCRIPTS)}
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{said.read()[-2000:]}")
    return used.ru_utime + used.ru_stime


def measured(folder: Path, *, rounds: int) -> dict[str, float]:
    """The least CPU seconds of each way; the ways take turns."""
    ways = laid_out(folder)
    taken = [{way: cpu_seconds(command, folder=folder) for way, command in ways.items()} for _ in range(rounds)]
    return {way: min(once[way] for once in taken) for way in ways}


def verdict(found: dict[str, float]) -> str:
    """What a job takes beyond an empty Snakefile's and torch, and beyond what torch itself needs to train."""
    snakemake = 2 * (found["Snakemake, ours"] - found["Snakemake, empty Snakefile"])
    first_step = found["launcher"] + found["finetune to its first step"]
    beyond = snakemake + first_step - found["import torch"]
    least = snakemake + first_step - found["import torch, first optimiser step"]
    own = found["import torch, first optimiser step"] - found["import torch"]
    return (
        f"two Snakemakes beyond two of an empty Snakefile: {snakemake:.2f} CPU-s\n"
        f"launcher and training beyond `import torch`: {first_step - found['import torch']:.2f} CPU-s, "
        f"of which {own:.2f} are what torch imports of itself when an optimiser is made\n"
        f"together: {beyond:.2f} CPU-s beyond `import torch`; "
        f"{least:.2f} beyond all that torch imports (at most {MOST_SECONDS:g})"
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), rounds=asked.rounds)
    print(f"{'CPU-s':>6}  way")
    for way, seconds in found.items():
        print(f"{seconds:>6.2f}  {way}")
    print(verdict(found))


if __name__ == "__main__":
    main()
