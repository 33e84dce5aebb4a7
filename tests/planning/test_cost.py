"""The cost of a study: its jobs are those of the workflow, and its hours come from Snakemake's and SLURM's records."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from headwater import cli
from headwater.cluster import snakemake_state
from headwater.planning import cost, runtime_estimate
from headwater.planning.runtime_estimate import Estimate
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from headwater.study.jobs import Job
from records_made import record, written
from workflow_made import small_config

ROOT = Path(__file__).parents[2]
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
    found = list(jobs(study_config.read(config)))
    assert counted.pop("total") == len(found) + 1
    assert counted.pop("all") == 1
    assert Counter(job.rule for job in found) == counted
    products = re.findall(r"^ +output: (.*)$", said, re.MULTILINE)
    assert {job.product for job in found} <= {file for line in products for file in line.split(", ")}
    logs = re.findall(r"^ +log: (.*)$", said, re.MULTILINE)
    assert Counter(job.log for job in found) == Counter(line.partition(", ")[0] for line in logs)
    wildcards = re.findall(r"^ +wildcards: (.*)$", said, re.MULTILINE)
    named = Counter("_".join(word.partition("=")[2] for word in line.split(", ")) for line in wildcards)
    assert Counter("_".join(job.wildcards) for job in found if job.wildcards) == named
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
        assert 1.4 < snakemake_state.seconds(product, folder=tmp_path) < 10
        assert snakemake_state.mark(product, folder=tmp_path) is None
    assert snakemake_state.seconds("never", folder=tmp_path) is None


def test_what_is_finished_tells_of_what_is_not():
    kind = {"rule": "finetune", "kind": "of one kind", "needs": ("a",), "ranks": 2}
    fits = [Job(product=f"{seed}", **kind) for seed in range(4)]
    compared = Job(rule="compare", product="c", needs=tuple(fit.product for fit in fits))
    found = [Job(rule="prepare", product="a"), *fits, compared]
    finished = {"a": 60.0, "0": 1800.0, "1": 6000.0, "2": None}
    each = runtime_estimate.means(found, finished)
    known = Estimate(jobs=found, finished=finished, each=each, from_profile=set())
    table = cost.by_kind(known).set_index("Rule")
    # the mean, because sums are asked for
    assert table.loc["finetune"].to_list() == ["of one kind", "4", "3", "3900.0", "8.667", "2.167"]
    assert table.loc["compare"].to_list() == ["", "1", "0", "–", "–", "–"]
    assert runtime_estimate.longest_chain(found, known.takes) == (3, 3960.0)
    assert runtime_estimate.wall(found, known.takes, trainings=2) == 4 * 3900 / 2
    assert known.process_hours(found) == pytest.approx(4 * 2 * 3900 / 3600)


def test_in_slurm_the_leases_and_the_books_tell_the_seconds(tmp_path: Path, slurm_says):
    """Snakemake's own records of SLURM jobs begin when their end is heard of, or with an attempt that failed."""
    plan = study_config.load(small_config())
    found = {job.product: job for job in jobs(plan)}
    for job in found.values():
        written(tmp_path / job.product)
        record(tmp_path, job.product, starttime=1000.0, endtime=999.9)
    fits = [job for job in found.values() if job.rule == "finetune"]
    record(tmp_path, fits[1].product, starttime=1000.0, endtime=1300.0)
    (tmp_path / ".snakemake" / "slurm_logs").mkdir()
    lease = {"run": fits[0].lease, "job": "7"}
    events = [
        {**lease, "time": 100.0, "event": "began"},
        {**lease, "time": 160.0, "event": "ended", "code": 1, "saved": True},
        {**lease, "time": 200.0, "event": "began"},
        {**lease, "time": 250.0, "event": "ended", "code": 1, "saved": False},
        {**lease, "time": 300.0, "event": "began"},
        {**lease, "time": 340.0, "event": "ended", "code": 0, "saved": True},
    ]
    progress = tmp_path / "results" / "progress" / "leases.jsonl"
    written(progress, "".join(json.dumps(event) + "\n" for event in events))
    here = str(tmp_path)
    slurm_says(
        sacct=[
            f"8|FAILED|999||{here}|{fits[1].comment}",
            f"9|COMPLETED|77|billing=1,gres/gpu=1|{here}|{fits[1].comment}",
            f"10|COMPLETED|40||{here}|rule_predictions_predict",
            f"11|COMPLETED|99||{here}/elsewhere|rule_twin_wildcards_chestxray14",
        ]
    )
    seconds = runtime_estimate.estimated(plan, folder=tmp_path).finished
    # stopped and gone on with; what the attempt that failed did was done again
    assert seconds[fits[0].product] == 100.0
    assert seconds[fits[1].product] == 77.0
    predictions = [job for job in found.values() if job.rule == "predict"]
    assert {seconds[job.product] for job in predictions} == {40.0 / len(predictions)}
    assert seconds["results/twins/chestxray14.json"] is None


def test_the_command_says_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture):
    cli.main(["plan", "cost", str(DEMO), "--folder", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "66 jobs, 51 of them on GPUs" in said
    assert "66 jobs of unknown duration (–) not included" in said
    assert "process-hours" not in said


def test_no_training_at_a_time_is_refused(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        cli.main(["plan", "cost", "--config", str(DEMO), "--trainings", "0"])
    assert "headwater plan cost: --trainings must be >= 1 (got 0)\n" in capsys.readouterr().err
