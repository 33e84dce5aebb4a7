"""Datasets that only some sources are fitted to: the others' cells say so, and each dataset has its own reference."""

import re

import pandas as pd
import pytest

from headwater.reporting import pivot, prose
from headwater.stages.report import report
from report_made import drawn, study

STRENGTHS = {"random": 0.3, "wild_dino": 1.4, "image_net": 0.8, "image_net_again": 0.8}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return study(
        tmp_path_factory.mktemp("study"),
        strengths=STRENGTHS,
        controls=("image_net_again",),
        fitted={"vindr": ("wild_dino", "image_net")},
        reference={"chest": "random", "vindr": "image_net"},
    )


def test_a_report_says_who_was_not_asked(tmp_path, made, monkeypatch):
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {})
    report(**made.arguments(), folder=tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert page.count("(reference)") == 2
    macro = [line for line in (tmp_path / "macro.md").read_text().splitlines() if line.startswith("|")]
    heading, _, chest, vindr = ([cell.strip() for cell in line.strip("|").split("|")] for line in macro)
    cells = dict(zip(heading, zip(chest, vindr, strict=True), strict=True))
    for column in ("random", "p: wild_dino vs random", "p: image_net vs random"):
        assert cells[column][1] == pivot.NOT_FITTED != cells[column][0]
    assert cells["p: wild_dino vs image_net"][0] == pivot.NOT_COMPARED
    assert not cells["p: wild_dino vs image_net"][1].startswith("not")
    assert pivot.NOT_FITTED not in (*cells["wild_dino"], *cells["image_net"])
    rows = pd.read_csv(tmp_path / "significance.csv")
    assert set(rows[rows["dataset"] == "vindr"]["source"]) == {"wild_dino", "image_net", "image_net_again"}
    # each dataset and source is a family's test once, against that dataset's reference
    tested = rows[(rows["family"] == "confirmatory") & (rows["label"] == "macro")]
    pairs = list(zip(tested["dataset"], tested["source"], tested["reference"], strict=True))
    assert sorted(pairs) == [
        ("chest", "image_net", "random"), ("chest", "wild_dino", "random"), ("vindr", "wild_dino", "image_net"),
    ]  # fmt: skip


def shows(source: str, figure: str) -> bool:
    """Whether a figure names a source, with or without its AUROC behind it."""
    return re.search(f">{source}[ <]", figure) is not None


def test_figures_show_what_was_fitted(made):
    figures = drawn(made.read_in())
    for name in ("seeds", "roc", "reliability"):
        assert shows("random", figures[f"{name}_chest"]) and not shows("random", figures[f"{name}_vindr"])
        assert shows("image_net", figures[f"{name}_vindr"])
    # ranks are among all sources, which only one test set has
    assert "ranks" not in figures and "forest_macro" in figures


def test_the_number_of_runs_is_that_of_what_is_fitted(made):
    # controls count: 4 sources on one dataset and 3 on the other, by 2 seeds
    assert prose.extent(made.grid) == "14 runs of 4 sources × 2 datasets × 1 recipe × 2 seeds"
