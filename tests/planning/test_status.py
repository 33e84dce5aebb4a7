"""The status page of a half-finished, partly failed grid has the right state of every run."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater.planning import status
from headwater.planning.status import JobStatus
from headwater.study import config as study_config
from headwater.study.job_graph import jobs
from headwater.study.jobs import Job
from records_made import failed, lock, log, mark, record, started, written
from workflow_made import ROOT, small_config, snakemake

PLAN = study_config.load(small_config())
JOBS = {job.title: job for job in jobs(PLAN)}
RANDOM, PHOTOGRAPHS = ("chestxray14/random/finetune", "chestxray14/photographs/finetune")


def stands(folder: Path) -> dict[str, JobStatus]:
    """The state of each job of the small grid, by its title."""
    found = status.job_statuses(list(JOBS.values()), status.read_snapshot(folder))
    return {each.job.title: each for each in found}


def job(title: str) -> Job:
    return JOBS[title]


def done(folder: Path, *titles: str) -> None:
    for title in titles:
        written(folder / job(title).product)


@pytest.fixture(autouse=True)
def no_slurm(slurm_says: Callable) -> None:
    """No job of any folder in the queue, whatever SLURM this machine has."""
    slurm_says(squeue=[], sacct=[])


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Prepared and pre-trained; one source done, of the other one run failed, one not begun; Snakemake not at work."""
    done(tmp_path, "twin chestxray14", "prepare chestxray14", "prepare photographs")
    done(tmp_path, "reduce photographs/everything", "pretrain photographs")
    done(tmp_path, f"finetune {RANDOM}/0", f"finetune {RANDOM}/1", f"predict {RANDOM}")
    broken = job(f"finetune {PHOTOGRAPHS}/0")
    written(tmp_path / broken.log, "headwater finetune: the loss became nan at step 7; lower lr\nsrun: error: exited\n")
    log(tmp_path, started("finetune", broken.product, 4) + failed("finetune", broken.product, 4, log=broken.log))
    return tmp_path


def test_every_run_of_a_half_finished_grid(half: Path):
    found = stands(half)
    assert status.runs(list(found.values())) == {
        tuple(f"{RANDOM}/0".split("/")): "done",
        tuple(f"{RANDOM}/1".split("/")): "done",
        tuple(f"{PHOTOGRAPHS}/0".split("/")): "fit failed",
        tuple(f"{PHOTOGRAPHS}/1".split("/")): "fit queued",
    }
    # one job predicts for all seeds
    (half / job(f"predict {RANDOM}").product).unlink()
    again = status.runs(list(stands(half).values()))
    assert {again[tuple(f"{RANDOM}/{seed}".split("/"))] for seed in (0, 1)} == {"prediction queued"}
    broken = found[f"finetune {PHOTOGRAPHS}/0"]
    assert broken.note == "headwater finetune: the loss became nan at step 7; lower lr"
    assert broken.log == "logs/finetune/chestxray14/photographs/finetune/seed0.log"
    for title in (f"predict {PHOTOGRAPHS}", "compare chestxray14", "report"):
        assert (found[title].state, found[title].note) == ("blocked", f"finetune {PHOTOGRAPHS}/0")


def test_a_job_that_was_tried_again_has_not_failed(half: Path):
    again = job(f"finetune {PHOTOGRAPHS}/0")
    text = failed("finetune", again.product, 4) + "Trying to restart job 4.\n"
    log(half, text, number=1)
    assert stands(half)[again.title].state == "queued"
    log(half, text + started("finetune", again.product, 4) + failed("finetune", again.product, 4), number=1)
    assert stands(half)[again.title].state == "failed"
    # what an earlier Snakemake said is over when a later one begins the job
    log(half, started("finetune", again.product, 9), number=2)
    assert stands(half)[again.title].state == "queued"
    log(half, failed("finetune", again.product, 9), number=2)
    done(half, again.title)
    assert stands(half)[again.title].state == "done"


def test_a_failed_group_of_jobs(half: Path):
    done(half, *(f"finetune {PHOTOGRAPHS}/{seed}" for seed in (0, 1)))
    predictions = [job(f"predict {place}") for place in (RANDOM, PHOTOGRAPHS)]
    members = "".join(
        f"        rule predict:\n            jobid: {at}\n            output: {one.product}\n"
        for at, one in enumerate(predictions)
    )
    text = (
        "[Thu Jan  1 00:00:00 2026]\n    message: SLURM-job '7' failed, SLURM status is: 'TIMEOUT'\n    jobs:\n"
        + members
    )
    log(half, text, number=1)
    found = stands(half)
    # the first had been made before the group ended
    assert found[predictions[0].title].state == "done"
    assert (found[predictions[1].title].state, found[predictions[1].title].note) == ("failed", "SLURM: TIMEOUT")
    log(half, text + "Trying to restart job 8504d070-c9b1.\n", number=1)
    assert stands(half)[predictions[1].title].state == "queued"


def test_what_runs_here(half: Path):
    running = job(f"finetune {PHOTOGRAPHS}/1")
    mark(half, running.product, since=time.time() - 100)
    lock(half)
    # a mark and a lock alone may be those of a Snakemake that was killed
    found = stands(half)[running.title]
    assert (found.state, found.note) == ("queued", "interrupted")
    # such as stands in the folder under that name
    worker = written(half / "snakemake", "import time\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, worker], cwd=half)
    try:
        found = stands(half)
        assert found[running.title].state == "running"
        assert 99 < found[running.title].seconds < 160
        # a failure told by an earlier Snakemake is this one's to try again
        log(half, "", number=1)
        assert stands(half)[f"finetune {PHOTOGRAPHS}/0"].state == "queued"
    finally:
        process.kill()
        process.wait()


def test_a_product_that_is_still_being_made_is_not_done(half: Path):
    mark(half, job(f"predict {RANDOM}").product)
    assert stands(half)[f"predict {RANDOM}"].state == "queued"


def test_what_runs_in_slurm(half: Path, slurm_says: Callable):
    runs, waits = job(f"finetune {PHOTOGRAPHS}/1"), job(f"finetune {PHOTOGRAPHS}/0")
    first, second = (job(f"predict {place}") for place in (RANDOM, PHOTOGRAPHS))
    mark(half, runs.product)
    mark(half, waits.product, slurm="12")
    (half / first.product).unlink()
    # the job itself takes the number out of the mark when the turn of a member comes
    mark(half, first.product)
    mark(half, second.product, slurm="13")
    slurm_says(
        squeue=[
            f"11|RUNNING|1-01:00:10|node1|{half}|{runs.comment}",
            f"12|PENDING|0:00|(Priority)|{half}|{waits.comment}",
            f"13|RUNNING|1:05|node2|{half}|rule_predictions_predict",
            f"14|RUNNING|1:05|node2|{half.parent}|{job('compare chestxray14').comment}",
        ]
    )
    found = stands(half)
    assert (found[runs.title].state, found[runs.title].seconds) == ("running", 86400 + 3610)
    assert found[runs.title].note == "SLURM job 11 on node1"
    assert (found[waits.title].state, found[waits.title].note) == ("queued", "SLURM job 12: Priority")
    assert (found[first.title].state, found[first.title].note) == ("running", "SLURM job 13 on node2")
    assert (found[second.title].state, found[second.title].note) == ("queued", "SLURM job 13: after other jobs in it")
    assert found["compare chestxray14"].state == "queued"
    # put back into the queue with what it had begun
    slurm_says(squeue=[f"13|PENDING|0:00|(BeginTime)|{half}|rule_predictions_predict"])
    assert stands(half)[first.title].note == "SLURM job 13: BeginTime"


def test_a_slurm_that_is_silent_is_not_guessed_about(half: Path, slurm_says: Callable):
    slurm_says()
    process = page(half)
    assert process.returncode == 2
    assert "headwater status: squeue says" in process.stderr and "Traceback" not in process.stderr


def page(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    config = written(folder / "config.yaml", json.dumps(small_config()))
    command = [sys.executable, ROOT / "scripts" / "status.py", "--config", config, "--folder", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_html_page_is_a_dashboard_in_one_file(half: Path):
    for seed, score in ((0, 0.7), (1, 0.8)):
        run = half / Path(job(f"finetune {RANDOM}/{seed}").product).parent
        curves = f"10,training/loss,0.5\n20,training/loss,0.4\n20,validation/auroc,{score}\n"
        written(run / "metrics.csv", f"step,name,value\n{curves}")
        written(run / "machine.csv", "step,name,value\n20,machine/images_per_second,25.0\n")
    process = page(half, "--html", str(half / "page.html"))
    assert process.returncode == 0, process.stderr
    html = (half / "page.html").read_text()
    assert "Fine-tuning: chestxray14" in html and html.count("<svg") == 2
    assert "Cost by source" in html and ">25.0</td>" in html
    # nothing is loaded from elsewhere
    assert set(re.findall(r'(?:src|href)="(.)', html)) <= {"#"}
    assert "Results" not in html
    results = half / "results" / "report"
    columns = "dataset,metric,recipe,label,source,value,value_low,value_high,difference,difference_low"
    written(
        results / "significance.csv",
        f"{columns},difference_high,p_adjusted\nchestxray14,auroc,finetune,macro,photographs,0.81,0.7,0.9,0.1,0,0.2,0.04\n",
    )
    assert page(half, "--html", str(half / "page.html")).returncode == 0
    assert "0.810 [0.700, 0.900]" in (half / "page.html").read_text()


def test_a_page_that_cannot_be_written_is_said_in_one_line(half: Path):
    written(half / "file")
    process = page(half, "--html", str(half / "file" / "page.html"))
    assert process.returncode == 2 and "Traceback" not in process.stderr
    assert "cannot be written" in process.stderr and "name a file in a folder" in process.stderr


def test_the_page_in_text_and_html(half: Path):
    for seed, seconds in enumerate((60, 100)):
        record(half, job(f"finetune {RANDOM}/{seed}").product, starttime=1000.0, endtime=1000.0 + seconds)
    record(half, job(f"finetune {PHOTOGRAPHS}/0").product, starttime=1000.0, endtime=1036.0)
    process = page(half, "--html", str(half / "page.html"))
    said = process.stdout
    assert process.returncode == 0, process.stderr
    assert "Snakemake is not running in this folder" in said
    assert "Spent: 0.044 process-hours" in said and "0.010 by failed jobs" in " ".join(said.split())
    # one more fitting of 80 s; of predictions no time is known
    remaining = "Remaining: 2 runnable jobs, 0.022 process-hours (without 1 job of unknown duration); with 1 parallel"
    assert remaining in " ".join(said.split()) and "; 5 failed or blocked." in said
    assert re.search(r"^finetune +4 +2 +0 +1 +1 +0$", said, re.MULTILINE)
    assert re.search(r"^photographs +fit failed +fit queued$", said, re.MULTILINE)
    html = (half / "page.html").read_text()
    assert "the loss became nan at step 7; lower lr" in html
    assert '<td class="right bad">fit failed</td>' in html and '<td class="right idle">fit queued</td>' in html
    assert not re.search(r"(?:src|href)=", html)


def test_nothing_is_left_to_run_of_a_grid_that_failed(half: Path):
    content = small_config() | {"seeds": [0]}
    done(half, "ledger")
    config = written(half / "config.yaml", json.dumps(content))
    command = [sys.executable, ROOT / "scripts" / "status.py", config, "--folder", half]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    assert "Remaining: 0 runnable jobs; 5 failed or blocked." in said


@pytest.mark.slow
def test_a_real_grid_with_a_run_that_fails(tmp_path: Path):
    """Snakemake's own records of a grid, while it is at work and when it has ended."""
    config = small_config()
    broken = job(f"finetune {RANDOM}/0")
    # what stands in the way of one run is a folder where its progress should be
    (tmp_path / "results" / "progress" / f"{broken.lease}.pt").mkdir(parents=True)
    assert snakemake(tmp_path, config=config, check=False).returncode == 1
    found = stands(tmp_path)
    unfinished = {title: one.state for title, one in found.items() if one.state != "done"}
    assert unfinished == {
        broken.title: "failed",
        f"predict {RANDOM}": "blocked",
        "compare chestxray14": "blocked",
        "examine chestxray14": "blocked",
        "report": "blocked",
    }
    assert found[broken.title].note and (tmp_path / found[broken.title].log).is_file()
    (tmp_path / "results" / "progress" / f"{broken.lease}.pt").rmdir()
    snakemake(tmp_path, config=config)
    assert {one.state for one in stands(tmp_path).values()} == {"done"}


def test_no_end_is_told_of_jobs_of_unknown_duration(tmp_path: Path, capsys):
    shown(tmp_path)
    said = capsys.readouterr().out
    assert "how long they take is not known before one of each kind is finished" in said and "until" not in said


def test_the_report_is_named_when_all_is_done_and_watching_ends(tmp_path: Path, capsys):
    done(tmp_path, *JOBS)
    shown(tmp_path, watch=True)
    said = capsys.readouterr().out
    assert "All jobs are done. Report: results/report/index.html" in said
    assert "\033" not in said


def test_states_have_colours_on_a_terminal_and_a_watched_page_replaces_the_one_before(half: Path, monkeypatch, capsys):
    looks = []
    monkeypatch.setattr(status.sys.stdout, "isatty", lambda: True)
    # of this module only: whoever waits for another process sleeps, too
    clock = SimpleNamespace(time=time.time, sleep=lambda seconds: looks.append(seconds) or done(half, *JOBS))
    monkeypatch.setattr(status, "time", clock)
    shown(half, watch=True)
    first, second = capsys.readouterr().out.split("\033[H\033[2J")[1:]
    assert looks == [status.BETWEEN_LOOKS]
    assert "\033[31mfit failed\033[0m" in first and "fit failed" not in second and "All jobs are" in second


def test_who_wants_no_colours_gets_none(half: Path, monkeypatch, capsys):
    monkeypatch.setattr(status.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    shown(half)
    assert "\033" not in capsys.readouterr().out


def shown(folder: Path, **options: bool) -> None:
    """Print the page of the small grid, which stands in a folder."""
    (folder / "config.yaml").write_text(json.dumps(small_config()))
    status.status(folder / "config.yaml", folder=folder, **options)
