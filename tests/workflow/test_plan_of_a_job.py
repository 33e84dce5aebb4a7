"""A job on a cluster works by the config of the plan that it belongs to, whatever has been edited meanwhile."""

import copy
import json
import os
import shlex
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from headwater.cluster import config_copy
from workflow_made import command, environment, small_config

pytestmark = pytest.mark.slow

COMMANDS = ("sacct", "sacctmgr", "scancel", "scontrol", "sinfo", "squeue", "sshare", "srun")

REFUSING = '#!/bin/sh\nprintf "%s\\n" "$@" > {file}\necho "Invalid account" >&2\nexit 1\n'
"""An sbatch that notes what it was asked for, and takes no job."""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder in which Snakemake has submitted the job that makes the twin, and the command of that job."""
    folder = tmp_path_factory.mktemp("submitted")
    programs = folder / "bin"
    programs.mkdir()
    texts = dict.fromkeys(COMMANDS, "#!/bin/sh\n") | {"sbatch": REFUSING.format(file=folder / "asked")}
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    given = environment()
    given["PATH"] = os.pathsep.join([str(programs), given["PATH"]])
    resources = ("slurm_account=lab", "slurm_partition=gpu")
    options = ["--executor", "slurm", "--jobs", "1", "--until", "twin", "--default-resources", *resources]
    subprocess.run(command(folder, *options, config=small_config()), cwd=folder, env=given, capture_output=True)
    asked = (folder / "asked").read_text().splitlines()
    words = shlex.split(next(line for line in asked if line.startswith("--wrap=")).removeprefix("--wrap="))
    # what the job would find only while Snakemake waits for it, and its own way to start processes
    for option in ("--wait-for-files", "--executor"):
        del words[words.index(option) : words.index(option) + 2]
    return folder, words


@pytest.fixture
def moved(submitted: tuple[Path, list[str]], tmp_path: Path) -> tuple[Path, list[str]]:
    """The same in a folder of its own."""
    folder, words = submitted
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    return here, [word.replace(str(folder), str(here)) for word in words]


def edited() -> dict:
    config = copy.deepcopy(small_config())
    config["archives"]["chestxray14"]["twin"]["cases"] = 200
    return config


def run(folder: Path, words: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True)


def test_a_job_works_by_the_config_of_its_plan(moved: tuple[Path, list[str]]):
    folder, words = moved
    # as it is while somebody saves it
    (folder / "config.yaml").write_text(yaml.safe_dump(edited()) + "seeds: [")
    process = run(folder, words)
    assert process.returncode == 0, process.stderr
    assert json.loads((folder / "results" / "twins" / "chestxray14.json").read_text())["cases"] == 160


def test_a_job_of_a_former_plan_writes_nothing(moved: tuple[Path, list[str]]):
    folder, words = moved
    plans = folder / "results" / "progress" / "plans"
    former = (plans / "in_force").read_text().strip()
    in_force = config_copy.keep(edited(), plans).stem
    process = run(folder, words)
    assert process.returncode != 0
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("headwater:")]
    assert f"this job belongs to plan {former}, but the config was edited and plan {in_force} is in force" in line
    assert "Traceback" not in process.stderr
    assert not (folder / "twin").exists()


def test_a_job_whose_config_is_gone_says_so(moved: tuple[Path, list[str]]):
    folder, words = moved
    (gone,) = (folder / "results" / "progress" / "plans").glob("*.json")
    gone.unlink()
    process = run(folder, words)
    assert process.returncode != 0
    (line,) = [line for line in process.stderr.splitlines() if line.startswith("headwater:")]
    assert line.endswith(f"{gone.name}: the config by which this job was planned is gone; start snakemake again")
    assert "Traceback" not in process.stderr
    assert not (folder / "twin").exists()
