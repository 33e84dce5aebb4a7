"""The small grid on a real SLURM ends in the bytes of the local run, also when a training is cancelled halfway."""

import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml

from headwater import settings
from workflow_made import ROOT, command, environment, small_config, snakemake

pytestmark = pytest.mark.cluster

PROFILE = ROOT / "profiles" / "slurm"
TABLE = Path("results/report/significance.csv")
ON_GPUS = {"pretrain": 1, "finetune": 4, "predict": 4}
ELSEWHERE = {"twin": 1, "prepare": 2, "reduce": 1, "compare": 1, "report": 1}


def config() -> dict:
    """The small grid with trainings long enough to be met halfway."""
    small = small_config()
    small["recipes"]["finetune"]["training"]["steps"] = 150
    return small


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a run without SLURM."""
    folder = tmp_path_factory.mktemp("local")
    snakemake(folder, config=config())
    return (folder / TABLE).read_bytes()


def by_slurm(folder: Path, *, prefix: str) -> list[str]:
    """The command that runs the grid in `folder` through SLURM, its jobs named by a prefix."""
    options = ["--profile", str(PROFILE), "--slurm-jobname-prefix", prefix]
    quick = ["--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10"]
    return command(folder, *options, *quick, config=config())


def accounted(prefix: str) -> list[dict[str, str]]:
    """What SLURM's accounts say of the jobs with a prefix: rule, State and AllocTRES."""
    fields = ["JobName", "Comment", "State", "AllocTRES"]
    said = subprocess.run(
        ["sacct", "-X", "-P", "-n", "-S", "today", "-o", ",".join(fields)], capture_output=True, text=True, check=True
    )
    rows = [dict(zip(fields, line.split("|"), strict=True)) for line in said.stdout.splitlines()]
    return [row | {"rule": rule_of(row["Comment"])} for row in rows if row["JobName"].startswith(prefix)]


def rule_of(comment: str) -> str:
    """The rule that the plugin writes into a job's comment."""
    return comment.removeprefix("rule_").partition("_")[0]


def number_of(comment: str, *, prefix: str) -> str:
    """The number of the running job with a comment."""
    said = subprocess.run(
        ["squeue", "-h", "-t", "RUNNING", "-o", "%A|%j|%k"], capture_output=True, text=True, check=True
    )
    jobs = [line.split("|") for line in said.stdout.splitlines()]
    [number] = [number for number, name, of in jobs if name.startswith(prefix) and of == comment]
    return number


@pytest.mark.usefixtures("cluster")
def test_slurm_gives_the_bytes_of_the_local_run(tmp_path: Path, local: bytes):
    process = subprocess.run(
        by_slurm(tmp_path, prefix="quiet"), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=900
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / TABLE).read_bytes() == local
    jobs = accounted("quiet")
    assert Counter(job["rule"] for job in jobs) == ON_GPUS | ELSEWHERE
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    with_gpu = Counter(job["rule"] for job in jobs if "gres/gpu=1" in job["AllocTRES"].split(","))
    assert with_gpu == ON_GPUS
    assert all("node=1" in job["AllocTRES"].split(",") for job in jobs)


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_training_is_repeated_to_the_same_bytes(tmp_path: Path, local: bytes):
    said = tmp_path / "snakemake.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            by_slurm(tmp_path, prefix="cancelled"), cwd=tmp_path, env=environment(), stdout=log, stderr=log
        )
    try:
        cancel_a_training(tmp_path, process)
        assert process.wait(timeout=900) == 0, said.read_text()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=200)
    assert (tmp_path / TABLE).read_bytes() == local
    states = Counter(job["State"].split()[0] for job in accounted("cancelled") if job["rule"] == "finetune")
    assert states == {"CANCELLED": 1, "COMPLETED": ON_GPUS["finetune"]}


def cancel_a_training(folder: Path, process: subprocess.Popen) -> None:
    """Wait until a fine-tuning has saved its progress, and cancel its job."""
    runs = settings.load(yaml.safe_load((folder / "config.yaml").read_text())).grid().runs("chestxray14")
    progress = {folder / "results" / "progress" / f"{run.digest}.pt": run for run in runs}
    deadline = time.monotonic() + 600
    while not (begun := [run for file, run in progress.items() if file.exists()]):
        assert process.poll() is None, "the grid ended before a training could be cancelled"
        assert time.monotonic() < deadline, "no training began"
        time.sleep(0.05)
    wildcards = begun[0].path.replace("/seed", "/").replace("/", "_")
    subprocess.run(["scancel", number_of(f"rule_finetune_wildcards_{wildcards}", prefix="cancelled")], check=True)
