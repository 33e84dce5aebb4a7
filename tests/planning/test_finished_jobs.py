"""A run of Snakemake prints a line for each finished job, with what it reached, and none of Snakemake's routine."""

import json
import logging
import re
from pathlib import Path

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_headwater import finished_jobs
from snakemake_logger_plugin_headwater.finished_jobs import FinishedJobs, Quiet, WithoutRoutineWords, clock


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    moment = [0.0]
    monkeypatch.setattr(finished_jobs.time, "monotonic", lambda: moment[0])
    return moment


def record(message: str = "", **content: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelno": logging.INFO})
    made.__dict__.update(content)
    return made


def started(number: int, rule: str, *, output: list[str], **wildcards: str) -> logging.LogRecord:
    return record(event=LogEvent.JOB_INFO, jobid=number, rule_name=rule, output=output, wildcards=wildcards)


def fit(folder: Path, **content: object) -> str:
    """The record of a fine-tuning."""
    file = folder / "fit.json"
    file.write_text(json.dumps({"score": 0.8341, "selected_by": "score", "run": {"dataset": {}}} | content))
    return str(file)


def test_a_line_says_what_a_training_reached_and_how_long_the_rest_takes(tmp_path, now):
    jobs = FinishedJobs({"finetune": 4, "report": 1})
    for number in (1, 2):
        named = {"dataset": "vindr", "source": "dino", "recipe": "finetune", "seed": str(number)}
        jobs.start(started(number, "finetune", output=["model.safetensors", fit(tmp_path)], **named))
        now[0] += 192
        said = jobs.end(number)
    # two of four took 192 s each, one after the other; nothing is known of the report, which is short
    expected = "finetune vindr/dino/finetune/seed2  validation AUROC 0.834  3:12  [2/5, about 6 min left]"
    assert said == expected
    assert jobs.end(2) == ""


def test_trainings_side_by_side_are_done_sooner(now):
    jobs = FinishedJobs({"finetune": 6})
    for number in (1, 2):
        jobs.start(started(number, "finetune", output=["x"]))
    now[0] = 120
    jobs.end(1)
    assert jobs.end(2) == "finetune  2:00  [2/6, about 4 min left]"


def test_no_time_is_told_before_a_training_of_each_kind_has_ended(now):
    jobs = FinishedJobs({"prepare": 2, "finetune": 1})
    jobs.start(started(1, "prepare", output=["cases.parquet"], archive="vindr"))
    now[0] = 10
    assert jobs.end(1) == "prepare vindr  0:10  [1/3]"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"selected_by": "loss"}, "validation loss 0.834"),
        ({"run": {"dataset": {"task": "segmentation"}}}, "validation dice 0.834"),
        ({"run": {"dataset": {"targets": {}}}}, "validation score 0.834"),
        ({"score": None}, ""),
    ],
)
def test_the_score_has_the_name_by_which_the_step_was_chosen(tmp_path, content, said):
    assert finished_jobs.reached((Path(fit(tmp_path, **content)),)) == said


def test_a_record_that_cannot_be_read_ends_no_study(tmp_path):
    (tmp_path / "fit.json").write_text("{")
    assert finished_jobs.reached((tmp_path / "fit.json", tmp_path / "absent")) == ""


def test_errors_and_other_words_are_shown_and_routine_is_not():
    events = [record(event=event) for event in (LogEvent.JOB_INFO, LogEvent.PROGRESS, LogEvent.SHELLCMD)]
    words = [record(f"{words}\n") for words in ("Select jobs to execute...", "Provided cores: 2", "Using shell: bash")]
    shown = [
        record(event=LogEvent.JOB_ERROR),
        record("Nothing to be done (all requested files are present)."),
        record(),
    ]
    filters = Quiet(), WithoutRoutineWords()
    passed = [all(each.filter(one) for each in filters) for one in (*events, *words, *shown)]
    assert passed == [False] * 6 + [True] * 3


def test_a_clock_is_as_short_as_it_can_be():
    assert [clock(seconds) for seconds in (9, 192, 3600 + 62)] == ["0:09", "3:12", "1:01:02"]
    assert re.fullmatch(r"\d+ min", finished_jobs._about(192))
