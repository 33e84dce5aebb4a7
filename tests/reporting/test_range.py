"""No interval lies outside what its number can be, on the labels of real patients, of whom few have some findings."""

import re

import numpy as np
import pandas as pd
import pytest

from archives_made import SAMPLES
from headwater.reporting.figures import _forest
from headwater.stages.report import report
from report_made import corrected, study

REAL = SAMPLES / "chestxray14_64px"

BOUNDS = {
    **dict.fromkeys(("value", "reference", "sensitivity", "specificity", "ppv", "npv", "brier"), (0.0, 1.0)),
    "difference": (-1.0, 1.0),
    "margin": (-1.0, 1.0),
    "ratio": (0.0, np.inf),
}
"""What an AUROC, a rate, a difference of two can be."""


def real_cases() -> pd.DataFrame:
    """The test cases of the sample of ChestX-ray14 with its 14 findings."""
    if not REAL.is_dir():
        pytest.skip("../shared/data/chestxray14_64px is not here")
    listed = (REAL / "test_list.txt").read_text().split()
    rows = pd.read_csv(REAL / "Data_Entry_2017_v2020.csv").set_index("Image Index").loc[listed]
    findings = rows["Finding Labels"].str.get_dummies("|").drop(columns="No Finding").astype(float)
    return findings.assign(case=listed, patient="p" + rows["Patient ID"].astype(str)).reset_index(drop=True)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    strengths = {"random": 0.3, "dino": 1.2}
    made = study(folder, strengths=strengths, seeds=(0, 1, 2), of={"chest": real_cases()}, resamples=256, margin=0.05)
    report(**made.arguments(), folder=folder / "report")
    return made, folder / "report"


@pytest.mark.slow
def test_no_interval_of_a_real_sample_lies_outside_what_its_number_can_be(reported):
    folder = reported[1]
    rows = pd.read_csv(folder / "significance.csv")
    described = rows[(rows["dataset"] == "chest") & rows["note"].str.startswith("described only", na=False)]
    # the sample has findings with two and three positive patients, or there would be nothing to see here
    assert described["positive_patients"].min() < 5 and described["value"].notna().all()
    assert described.filter(regex="_(low|high|se)$").isna().all(axis=None)
    ends = 0
    for file in folder.glob("*.csv"):
        table = pd.read_csv(file)
        for column in table.filter(regex="_(low|high)$"):
            name = column.rpartition(".")[2].rsplit("_", 1)[0]
            if name in BOUNDS:
                inside = pd.to_numeric(table[column], errors="coerce").dropna()
                assert inside.between(*BOUNDS[name]).all(), (file.name, column)
                ends += len(inside)
    assert ends > 100


@pytest.mark.slow
def test_no_printed_interval_of_a_real_sample_is_without_ends_or_outside(reported):
    folder = reported[1]
    for name in ("significance.md", "significance.tex", "labelwise_chest.md", "index.html", "summary.txt"):
        text = (folder / name).read_text()
        assert not re.search(r"\[[–-]+, |± –", text), name
        pairs = re.findall(r"\[([+−-]?\d+\.\d+), ([+−-]?\d+\.\d+)\]", text)
        # of calibration, slopes and intercepts have no bounds; these files but for the page have none
        for ends in pairs if name != "index.html" else ():
            assert all(-1 <= float(end.replace("−", "-")) <= 1 for end in ends), (name, ends)


def test_the_axis_of_a_forest_is_set_by_tested_rows():
    rows = pd.DataFrame(
        [
            {"difference": 0.02, "low": -0.01, "high": 0.05, "tested": True},
            {"difference": 0.9, "low": np.nan, "high": np.nan, "tested": False},
        ]
    )
    least, most = _forest.limits(rows)
    assert least < -0.01 and 0.05 < most < 0.06
    alone = _forest.limits(rows[~rows["tested"]])
    assert alone[0] < 0 and alone[1] > 0.9


@pytest.mark.slow
def test_a_value_beyond_the_axis_is_an_arrow_at_its_end(reported):
    made = reported[0]
    rows = corrected(made)
    pairs = rows[(rows["dataset"] == "chest") & rows["difference"].notna()].copy()
    pairs.loc[~pairs["tested"], "difference"] = 0.99
    assert not pairs["tested"].all()
    figure = _forest.of_pairs(pairs, by="label", grid=made.grid).figure
    [ax] = figure.axes
    arrows = [line for line in ax.lines if line.get_marker() == ">"]
    assert len(arrows) == (~pairs["tested"]).sum() and ax.get_xlim()[1] < 0.99
    assert {float(arrow.get_xdata()[0]) for arrow in arrows} == {ax.get_xlim()[1]}
