"""The cost of a study: its jobs are those of the workflow, and its hours come from Snakemake's own records."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from headwater import cost, settings
from headwater.cli import doors
from headwater.cost import Job

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "config" / "config.yaml"


def snakemake(folder: Path, snakefile: Path, *arguments: str) -> str:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(snakefile),
        "--directory",
        str(folder),
        "--cores=1",
    ]
    process = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=folder)
    assert process.returncode == 0, process.stderr
    return process.stdout + process.stderr


def continued(folder: Path) -> Path:
    """The demo with two recipes, and a source that goes on from another that is named after it."""
    content = yaml.safe_load(DEMO.read_text())
    content["recipes"]["probe"] = content["recipes"]["finetune"] | {"kind": "linear_probe"}
    content["sources"] = {"after": content["sources"]["radiographs_supervised"], **content["sources"]}
    content["sources"]["after"] = content["sources"]["after"] | {"start": "photographs_supervised"}
    file = folder / "continued.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def test_the_jobs_and_their_order_are_those_of_the_workflow(tmp_path: Path):
    config = continued(tmp_path)
    said = snakemake(tmp_path, ROOT / "Snakefile", "-n", "--configfile", str(config))
    counted = {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    found = list(cost.jobs(settings.read(config)))
    assert counted.pop("total") == len(found) + 1
    assert counted.pop("all") == 1
    assert Counter(job.rule for job in found) == counted
    products = re.findall(r"^ +output: (.*)$", said, re.MULTILINE)
    assert {job.product for job in found} <= {file for line in products for file in line.split(", ")}
    made: set[str] = set()
    for job in found:
        assert made.issuperset(job.needs), job
        made.add(job.product)


def test_the_seconds_are_what_this_snakemake_records(tmp_path: Path):
    # a name whose record is cut into pieces, and a short one
    long = "/".join(["runs", *("a" * 60 for _ in range(5)), "model.safetensors"])
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(f'rule one:\n    output: "{long}", "short"\n    shell: "sleep 1.5; touch {{output}}"\n')
    snakemake(tmp_path, snakefile)
    for product in (long, "short"):
        assert 1.4 < cost.recorded(product, folder=tmp_path) < 10
    assert cost.recorded("never", folder=tmp_path) is None


def test_what_is_finished_tells_of_what_is_not():
    fits = [Job("finetune", f"{seed}", "of one kind", ("a",), ranks=2) for seed in range(4)]
    found = [Job("prepare", "a"), *fits, Job("compare", "c", "", tuple(fit.product for fit in fits))]
    table = cost.by_kind(found, {"a": 60.0, "0": 1800.0, "1": 5400.0, "2": None}).set_index("Rule")
    assert table.loc["finetune"].to_list() == ["of one kind", "4", "3", "3600.0", "8.000", "2.000"]
    assert table.loc["compare"].to_list() == ["", "1", "0", "–", "–", "–"]
    each = cost.typical(found, {"a": 60.0, "0": 1800.0, "1": 5400.0})
    assert cost.longest_chain(found, each) == (3, 3660.0)


def test_the_command_says_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture):
    doors({"cost": cost.cost}, ["cost", "--config", str(DEMO), "--folder", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "63 jobs, 51 of them on GPUs" in said
    assert "63 jobs are of kinds of which no time is recorded" in said
    assert "hours from its beginning" not in said


def test_no_training_at_a_time_is_refused(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        doors({"cost": cost.cost}, ["cost", "--config", str(DEMO), "--trainings", "0"])
    assert "--trainings: 0 cannot train anything; say 1 or more" in capsys.readouterr().err
