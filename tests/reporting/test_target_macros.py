"""A report on several targets: their macros, their names beside the labels, and metrics of some of them only."""

import numpy as np
import pandas as pd
import pytest

import outlines_made
import report_made
from headwater.reporting import writing
from headwater.stages.report import report

TARGETS = {"lungs": {"labels": ["Atelectasis", "Effusion"]}, "rest": {"labels": ["Hernia", "Edema"]}}
COUNTS = ("true_positive", "false_positive", "false_negative")


def reported(folder, made) -> str:
    report(**made.arguments(), folder=folder / "report")
    return (folder / "report" / "index.html").read_text()


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(writing, "draw", lambda study: {})


def test_each_target_has_a_macro_and_a_name(tmp_path, without_figures):
    made = report_made.study(
        tmp_path, strengths={"random": 0.3, "dino": 1.2}, targets={"chest": TARGETS}, fewest_positive=2
    )
    page = reported(tmp_path, made)
    for said in (
        "macro: lungs",
        "macro: lungs, exploratory, is the mean over fewer labels. chest: Atelectasis, Effusion.",
        "chest: each network answers 2 targets, lungs, rest, with a head for each; its loss is the mean of theirs.",
        ">Target<",
    ):
        assert said in page
    assert "whose task gives" not in page
    rows = pd.read_csv(tmp_path / "report" / "significance.csv")
    of_lungs = rows[rows["label"] == "macro: lungs"]
    assert of_lungs["family"].dropna().tolist() == ["exploratory"]
    shown = (tmp_path / "report" / "characteristics.tex").read_text()
    assert "Effusion (lungs)" in shown and "Cardiomegaly (" not in shown


def test_a_study_of_one_target_names_none(tmp_path, without_figures):
    made = report_made.study(tmp_path, strengths={"random": 0.3, "dino": 1.2})
    page = reported(tmp_path, made)
    assert ">Target<" not in page and "targets" not in page


OUTLINED = ("Hernia", "Edema", "Pleural_effusion & more")
"""Labels that have no score here."""


def counted(file) -> None:
    """Predictions in which some labels are outlined, and have no score."""
    frame = pd.read_parquet(file)
    outlined = frame["label"].isin(OUTLINED)
    draw = np.random.default_rng(len(frame))
    counts = {name: np.where(outlined, draw.integers(1, 9, len(frame)), np.nan) for name in COUNTS}
    frame.assign(score=frame["score"].mask(outlined), **counts).to_parquet(file, index=False)


def test_metrics_of_some_targets_only_are_reported_with_every_figure(tmp_path, monkeypatch):
    def written(folder, cases, **options):
        files = real(folder, cases, **options)
        for file in files:
            counted(file)
        return files

    real = report_made.written
    monkeypatch.setattr(report_made, "written", written)
    targets = {
        "chest": {"lungs": TARGETS["lungs"], "rest": TARGETS["rest"] | {"task": "outlines"}},
        "vindr": {
            "heart": {"labels": ["Cardiomegaly"]},
            "fluid": {"labels": ["Pleural_effusion & more"], "task": "outlines"},
        },
    }
    with outlines_made.there(tmp_path / "plugins"):
        made = report_made.study(
            tmp_path,
            strengths={"random": 0.3, "dino": 1.2},
            targets=targets,
            fewest_positive=2,
            metrics=("auroc", "dice"),
            method="published",
            resamples=1000,
        )
        page = reported(tmp_path, made)
    assert "A metric is computed, and averaged, over the labels whose task gives what it is made from." in page
    rows = pd.read_csv(tmp_path / "report" / "significance.csv")
    measured = {metric: set(part["label"]) for metric, part in rows.groupby("metric")}
    assert measured == {
        "auroc": {"macro", "Atelectasis", "Effusion", "Cardiomegaly"},
        "dice": {"macro", "Hernia", "Edema", "Pleural_effusion & more"},
    }
    # the study's own way has numbers for the same labels; of outlines where no resample lacks the structure
    known = rows[rows["value"].notna()].set_index("metric")["published_value"].notna()
    assert known["auroc"].all() and known["dice"].any()
