"""`headwater.results` gives the tables of a study as frames of pandas."""

from pathlib import Path

import pandas as pd
import pytest

import headwater
from headwater.core.destinations import as_csv
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.evaluation.bootstrap import VALUES
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.study.paths import Paths, run_path


@pytest.fixture
def study(tmp_path: Path) -> Paths:
    """Predictions of two datasets, one of them of numbers, metrics and a table of the report."""
    paths = Paths(tmp_path / "results")
    run = {"source": "dino", "recipe": "finetune", "patient": "p"}
    for dataset, evidence in (("chest", {"target": 1.0, "score": 0.5}), ("ages", {"value": 40.0, "predicted": 42.0})):
        for seed in (0, 1):
            table = with_evidence(PREDICTIONS, evidence)
            rows = [{"dataset": dataset, "seed": seed, "case": "c", "label": "x", **run, **evidence}]
            table.write(table.frame(rows), Path(paths.predictions(run_path(dataset, "dino", "finetune", seed))))
        value = {"metric": "auroc", "recipe": "finetune", "label": "x", "source": "dino", "seed": 0, "value": 0.8}
        VALUES.write(VALUES.frame([{"dataset": dataset, **value}]), Path(paths.compared(dataset, "values")))
    Path(paths.report()).mkdir()
    pd.DataFrame({"p": [0.5]}).to_csv(paths.table("significance"), index=False)
    return paths


def test_predictions_of_all_runs_stand_in_one_frame(study):
    frame = headwater.results(study.results).predictions
    assert frame.groupby("dataset")["seed"].unique().map(list).to_dict() == {"ages": [0, 1], "chest": [0, 1]}
    assert frame.loc[frame["dataset"] == "chest", "score"].eq(0.5).all()
    assert frame.loc[frame["dataset"] == "ages", "predicted"].eq(42.0).all()


def test_metrics_and_tables_of_the_report(study):
    results = headwater.results(str(study.results))
    assert results.metrics["dataset"].tolist() == ["ages", "chest"]
    assert results.tables == ["significance"] and results.table("significance")["p"].tolist() == [0.5]


def test_labels_that_look_like_something_else_are_read_as_they_are(study):
    labels = ["NA", "None", "=SUM(A1)", "007"]
    write_text(as_csv(pd.DataFrame({"label": labels, "p": 0.5})), Path(study.table("significance")))
    table = headwater.results(study.results).table("significance")
    assert table["label"].tolist() == labels and table["p"].tolist() == [0.5] * 4


def test_what_is_not_there_is_refused(study, tmp_path):
    results = headwater.results(study.results)
    with pytest.raises(UserError, match="holds no comparisons; run snakemake first"):
        results.comparisons  # noqa: B018
    with pytest.raises(UserError, match="did you mean 'significance'"):
        results.table("significnce")
    with pytest.raises(UserError, match="there is no such results folder"):
        headwater.results(tmp_path / "absent")
