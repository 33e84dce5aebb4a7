"""A grid small enough for tests, and Snakemake run on it in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

import warm

ROOT = Path(__file__).parent.parent


def small_config() -> dict:
    """Two sources on one twin, two seeds, a few steps: every rule but adopt."""
    return {
        "results": "results",
        "seeds": [0, 1],
        "backbone": "timm/test_resnet",
        "archives": {
            "chestxray14": {
                "folder": "twin",
                "size": 32,
                "validation": 0.25,
                "twin": {"cases": 160, "seed": 1, "size": 48},
            },
            "photographs": {
                "kind": {"name": "natural_photographs", "stride": 48},
                "size": 32,
            },
        },
        "sources": {
            "random": {},
            "photographs": {
                "method": "supervised",
                "corpus": "photographs",
                "training": {"steps": 40, "batch": 16, "lr": 1e-3, "save_minutes": 0},
            },
        },
        "datasets": {"chestxray14": {"labels": ["Cardiomegaly", "Effusion"]}},
        "recipes": {
            "finetune": {"training": {"steps": 40, "batch": 16, "lr": 1e-3, "validations": 2, "save_minutes": 0}}
        },
        "comparison": {"reference": "random", "resamples": 1000, "fewest_positive": 2},
    }


def snakemake(
    folder: Path,
    *arguments: str,
    config: dict | None = None,
    check: bool = True,
    timeout: float = 600,
    plain: bool = False,
) -> subprocess.CompletedProcess:
    """Snakemake in `folder` on `config` (written there first), its output as text.

    It and its jobs are forks of a Python that has loaded the libraries, or `plain` processes.
    """
    words, given = command(folder, *arguments, config=config), environment()
    if not plain:
        words[0] = warm.python()
        given["PATH"] = os.pathsep.join([str(Path(words[0]).parent), given["PATH"]])
    process = subprocess.run(
        words,
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if check and process.returncode:
        raise AssertionError(f"snakemake exited {process.returncode}\n{process.stdout}\n{process.stderr}")
    return process


def command(folder: Path, *arguments: str, config: dict | None = None) -> list[str]:
    """The command line of `snakemake`."""
    file = folder / "config.yaml"
    if config is not None:
        file.write_text(yaml.safe_dump(config))
    return [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(ROOT / "Snakefile"),
        "--directory",
        str(folder),
        "--workflow-profile",
        str(ROOT / "profiles" / "default"),
        "--configfile",
        str(file),
        "--cores",
        "2",
        *arguments,
    ]


def environment() -> dict[str, str]:
    """This process' environment with one thread a process, and without a profile of the user's."""
    return {
        **{name: value for name, value in os.environ.items() if name != "SNAKEMAKE_PROFILE"},
        "OMP_NUM_THREADS": "1",
    }


def planned(folder: Path, *arguments: str, config: dict | None = None) -> dict[str, int]:
    """How many jobs of each rule a dry run plans."""
    output = snakemake(folder, "-n", "--quiet", "rules", *arguments, config=config)
    jobs: dict[str, int] = {}
    inside = False
    for line in (output.stdout + output.stderr).splitlines():
        if line.startswith("job ") and line.split()[1:] == ["count"]:
            inside = True
        elif inside and line and not line.startswith("-"):
            rule, count = line.split()
            jobs[rule] = int(count)
        elif inside and not line:
            break
    jobs.pop("total", None)
    return jobs
