"""What is planned for a dataset in folds: its runs and their size, what is told of few patients, and no power."""

import pandas as pd
import pytest
import yaml

from headwater.core.errors import UserError
from headwater.data import splits
from headwater.planning import few_patients
from headwater.planning.overview import overview
from headwater.planning.power import power
from headwater.planning.timing_profile import Counts
from headwater.study import config as study_config
from headwater.study.folds import Fold, Folds
from headwater.study.job_graph import jobs
from headwater.study.jobs import Job
from workflow_made import small_config


@pytest.fixture
def content() -> dict:
    """A study of one dataset, a synthetic folder of images in five folds."""
    content = small_config()
    content["archives"]["own"] = {"kind": "own_folder", "folder": "own", "size": 32, "twin": {"cases": 60}}
    content["datasets"] = {"own": {"splits": {"folds": 5}}}
    del content["archives"]["chestxray14"], content["comparison"]["resamples"]
    return content


@pytest.fixture
def file(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_plan_counts_the_runs_of_all_folds_and_the_power_is_not_foretold(file, capsys):
    overview(file)
    shown = capsys.readouterr().out
    assert "20 runs of 1 dataset x 2 sources" in shown and "own in 5 folds, in results" in shown
    assert shown.count("Missing: nothing") == 1
    power(file)
    assert "own: it is left out, as nothing tells before the first training how far folds" in capsys.readouterr().out


def test_all_folds_take_equally_long_and_learn_from_their_share(content):
    listed: list[Job] = list(jobs(study_config.load(content)))
    fitted = [job for job in listed if job.rule == "finetune"]
    assert len(fitted) == 20 and {job.kind for job in fitted} == {"own, finetune, timm/test_resnet"}
    whole = Counts(train=70, validation=10, test=20, counted=True)
    of_fold = whole.in_fold(Fold(folds=Folds(folds=5, validation=0.25), number=3))
    assert (of_fold.train, of_fold.validation, of_fold.test) == (60, 20, 20)
    assert whole.in_fold(None) is whole


def counts(*, positive: int, negative: int) -> pd.DataFrame:
    """The counts of a label whose patients, one case each, are half in train and half in test."""
    half = {"label": "Mass", "unknown": 0, "positives": positive // 2, "negatives": negative // 2}
    half |= {"positive_patients": positive // 2, "negative_patients": negative // 2}
    return pd.DataFrame([{**half, "split": split} for split in ("train", "test")])


def test_few_patients_are_told_by_all_of_them(content):
    content["comparison"]["fewest_positive"] = 10
    config = study_config.load(content)
    notes = list(few_patients.notes(config, {"own": counts(positive=8, negative=80)}))
    assert "none has 10 patients in all folds with it and 10 without it" in notes[0] and "(Mass, 8)" not in notes[0]
    assert "the most has Mass, 8)" in notes[0] and "or add patients" in notes[0]
    assert "raise datasets.own.splits.validation" in notes[1]
    assert not list(few_patients.notes(config, {"own": counts(positive=100, negative=200)}))


def test_too_few_patients_for_the_folds_are_refused_before_the_first_job(content):
    config = study_config.load(content)
    said = list(few_patients.too_many_folds(config, {"own": counts(positive=2, negative=2)}))
    assert said == ["datasets.own.splits.folds: 5 folds, but 4 patients of whom a label is known; set fewer folds"]
    assert not list(few_patients.too_many_folds(config, {"own": counts(positive=2, negative=4)}))
    # fewer folds would not do
    (said,) = few_patients.too_many_folds(config, {"own": counts(positive=2, negative=0)})
    assert said.endswith("; add patients, as the other folds must have 2, one to train and one for validation")


@pytest.mark.parametrize("folds", [2, 3, 4])
@pytest.mark.parametrize("patients", [1, 2, 3, 4, 5])
def test_the_plan_refuses_just_the_folds_that_cannot_be_dealt(content, folds, patients):
    content["datasets"]["own"]["splits"]["folds"] = folds
    known = pd.DataFrame([{"label": "Mass", "positive_patients": 1, "negative_patients": patients - 1}])
    refused = list(few_patients.too_many_folds(study_config.load(content), {"own": known}))
    names = [f"p{number}" for number in range(patients)]
    cases = pd.DataFrame(
        {"case": names, "patient": names, "split": "train", "target:Mass": [1.0] + [0.0] * (patients - 1)}
    )
    try:
        for number in range(folds):
            splits.in_fold(cases, Fold(folds=Folds(folds=folds), number=number))
        assert not refused
    except UserError:
        assert len(refused) == 1
