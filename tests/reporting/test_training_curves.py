"""Curves of trainings: a mean with a band over seeds, whatever of the trainings is there."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.reporting import training_curves
from headwater.reporting.training_curves import POINTS, averaged
from headwater.study import config as study_config
from headwater.study.paths import Paths, history
from records_made import written
from workflow_made import small_config

GRID = study_config.load(small_config()).grid()
DATASET = GRID.datasets[0].name


def rows(of: dict[str, dict[int, float]]) -> pd.DataFrame:
    """Values by training and step."""
    points = [
        {"training": training, "source": "dino", "name": "x", "step": step, "value": value}
        for training, values in of.items()
        for step, value in values.items()
    ]
    return pd.DataFrame(points, columns=list(training_curves.COLUMNS))


def test_a_line_is_the_mean_of_its_trainings_in_a_band_of_one_standard_deviation():
    line = averaged(rows({"a": {10: 1.0, 20: 2.0}, "b": {10: 3.0}}))
    assert line["step"].tolist() == [10, 20]
    assert line["mean"].tolist() == [2.0, 2.0]
    deviation = np.std([1.0, 3.0], ddof=1)
    # one training alone has no spread
    assert (line["mean"] - line["low"]).tolist() == pytest.approx([deviation, 0.0])
    assert (line["high"] - line["mean"]).tolist() == pytest.approx([deviation, 0.0])


def test_a_long_training_is_drawn_by_means_of_neighbouring_steps():
    steps = range(10, 50_010, 10)
    line = averaged(rows({"a": {step: float(step) for step in steps}, "b": {step: -float(step) for step in steps}}))
    assert len(line) == POINTS
    assert line["step"].iloc[-1] == 50_000 and line["step"].is_monotonic_increasing
    assert line["mean"].tolist() == pytest.approx([0.0] * POINTS)


def test_what_a_killed_or_unstarted_training_has_is_drawn(tmp_path: Path):
    paths = Paths(tmp_path)
    assert training_curves.of_dataset(GRID, DATASET, paths=paths) == []
    first = next(GRID.runs(DATASET))
    score = f"validation/{first.recipe.select}"
    curves = f"step,name,value\n1,training/loss,0.7\n10,training/loss,0.5\n10,{score},0.75\n20,training/lo"
    written(Path(paths.run(first.path)) / "metrics.csv", curves)
    panels = training_curves.of_dataset(GRID, DATASET, paths=paths)
    assert [panel.title for panel in panels] == ["validation AUROC", "training loss"]
    # every tenth step of what is measured at each
    assert [panel.rows[["step", "value"]].to_numpy().tolist() for panel in panels] == [[[10, 0.75]], [[10, 0.5]]]
    one, again = (training_curves.drawn(panels[0], grid=GRID, name="curves").svg for _ in range(2))
    assert "validation AUROC" in one and one == again


def test_each_pre_training_has_a_chart_of_its_own(tmp_path: Path):
    paths = Paths(tmp_path)
    names = [source.name for source in GRID.sources if source.method]
    for name in names:
        written(Path(history(paths.encoder(name))) / "metrics.csv", "step,name,value\n10,training/loss,5.0\n")
    panels = training_curves.of_pretraining(GRID, paths=paths)
    assert [panel.title for panel in panels] == [f"{name}, loss" for name in names] != []


def test_of_speed_the_mean_counts_and_of_memory_the_most(tmp_path: Path):
    assert training_curves.machine(tmp_path) == {}
    lines = "10,machine/memory_gib,1.0\n10,machine/images_per_second,20.0\n20,machine/memory_gib,3.0\n"
    written(tmp_path / "machine.csv", f"step,name,value\n{lines}20,machine/images_per_second,40.0\n")
    assert training_curves.machine(tmp_path) == {"Memory, GiB": 3.0, "Images per second": 30.0}
