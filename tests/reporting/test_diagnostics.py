"""Calibration, operating points and subgroups in words: what the csv says, of the macro, in the order of the config."""

import pandas as pd
import pytest

from headwater.data.tables import MACRO
from headwater.evaluation import subgroups
from headwater.reporting import diagnostics, figures
from headwater.reporting.formatting import with_error
from headwater.study.comparison import Comparing
from report_made import EXAMINED, PATIENT_DATA, changed, read, study

STRENGTHS = {"random": 0.3, "image_net": 0.8, "random_again": 0.3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"), strengths=STRENGTHS, controls=("random_again",))


@pytest.fixture(scope="module")
def order(made):
    return {name: [MACRO, *sorted(set(part["label"]) - {MACRO})] for name, part in rows(made).groupby("dataset")}


def rows(made, table="calibration") -> pd.DataFrame:
    return read(made, table)


def sound(made, order, **changes):
    found = {name: rows(made, name) for name in EXAMINED if name != "reliability"} | changes
    return diagnostics.all_tables(found, grid=made.grid, order=order)


def test_the_words_are_the_numbers_of_the_csv(made, order):
    table = sound(made, order)["calibration"]
    macro = table.exact.query("label == 'macro' and source != 'random_again'").reset_index(drop=True)
    assert len(table.shown) == len(macro) == 2 * 2 * 2
    for at, row in enumerate(macro.itertuples()):
        shown = table.shown.loc[at]
        assert (shown["Dataset"], shown["Source"], shown["Scores"]) == (row.dataset, row.source, row.scores)
        numbers = (row.slope, row.slope_se, row.slope_low, row.slope_high)
        assert shown["Slope ± SE [95% CI]"] == with_error(*numbers)
    assert list(table.shown["Source"][:4]) == ["random", "random", "image_net", "image_net"]
    assert set(table.exact["label"]) == {MACRO, *PATIENT_DATA, "Cardiomegaly", "Pleural_effusion & more"}
    assert "random_again" in set(table.exact["source"])


def test_what_was_fitted_elsewhere_is_in_the_csv_only(made, order):
    home = rows(made, "thresholds")
    away = home[home["dataset"] == "chest"].assign(fitted_to="vindr")
    table = sound(made, order, thresholds=pd.concat([home, away], ignore_index=True))["thresholds"]
    assert len(table.exact) == len(home) + len(away)
    assert len(table.shown) == len(sound(made, order)["thresholds"].shown) == 2 * 2


def test_of_each_characteristic_the_furthest_group_is_shown(made, order):
    table = sound(made, order)["subgroups"]
    assert table.shown["Characteristic"].tolist() == ["sex"] * 4 and set(table.shown["Patients"]) == {"40"}
    furthest = table.exact.query("largest and label == 'macro' and source != 'random_again'")
    assert table.shown["Group"].tolist() == furthest["group"].tolist()
    assert (furthest["difference"] <= 0).all()  # of two groups the lower one


def test_groups_stand_in_their_order():
    names = ["80+", "not told", "60-79", "<40", "40-59"]
    assert sorted(names, key=lambda name: subgroups.place("age", name)) == ["<40", "40-59", "60-79", "80+", "not told"]
    assert subgroups.place("sex", "M") < subgroups.place("age", "<40") < subgroups.place("view", "AP")


def test_footnotes_tell_what_was_asked(made):
    grid = changed(made.grid, specificity=0.95)
    assert "specificity of at least 0.95 on its validation split" in " ".join(
        diagnostics.footnotes("thresholds", grid=grid)
    )
    groups = " ".join(diagnostics.footnotes("subgroups", grid=grid))
    assert "fewer than 10 positive or negative patients" in groups and "not tested" in groups
    assert Comparing().specificity == 0.9


def test_figures_show_sources_and_no_controls(made, order):
    table = sound(made, order)["subgroups"]
    points = diagnostics.ordered(rows(made, "reliability"), grid=made.grid, order=order)
    svgs = figures.examined(points, table.exact, grid=made.grid)
    assert sorted(svgs) == ["reliability_chest", "reliability_vindr", "subgroups_chest", "subgroups_vindr"]
    assert svgs == figures.examined(points, table.exact, grid=made.grid)
    for svg in svgs.values():
        assert "image_net" in svg and "random_again" not in svg
    plots = svgs["reliability_chest"]
    assert plots.index("macro, raw") < plots.index("macro, scaled") < plots.index("Atelectasis, raw")
    assert "sex F, 40 patients (mean of 1 of 4 labels)" in svgs["subgroups_chest"]


def test_without_anything_to_draw_there_is_no_figure(made, order):
    nothing = rows(made, "reliability").iloc[:0]
    assert figures.examined(nothing, rows(made, "subgroups").iloc[:0], grid=made.grid) == {}
