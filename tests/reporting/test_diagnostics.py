"""Printed tables of calibration, operating points and subgroups: macros of home networks, in the config's order."""

from dataclasses import replace

import pandas as pd
import pytest

from headwater.core import registry
from headwater.data.tables import MACRO
from headwater.evaluation import subgroups
from headwater.reporting import diagnostics
from headwater.reporting.formatting import with_error
from headwater.study.comparison import Comparing
from report_made import PATIENT_DATA, changed, drawn, read, study

STRENGTHS = {"random": 0.3, "image_net": 0.8, "random_again": 0.3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"), strengths=STRENGTHS, controls=("random_again",))


def rows(made, table="calibration") -> pd.DataFrame:
    return read(made, table)


def printed(made, name: str, **changes):
    """One of the tables, from the study's results or from changed ones."""
    results = made.read_in()
    for result, frame in changes.items():
        setattr(results, result, frame)
    return registry.load("tables", name).make(results)[""]


def test_the_words_are_the_numbers_of_the_csv(made):
    table = printed(made, "calibration")
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


def test_what_was_fitted_elsewhere_is_in_the_csv_only(made):
    home = rows(made, "thresholds")
    away = home[home["dataset"] == "chest"].assign(fitted_to="vindr")
    results = made.read_in()
    rows_of_both = diagnostics.ordered(pd.concat([home, away], ignore_index=True), study=results)
    table = diagnostics.table(
        rows_of_both, title="", columns=lambda rows, grid: {}, exact=rows_of_both, notes=[], study=results
    )
    assert len(table.exact) == len(home) + len(away)
    assert len(table.shown) == len(printed(made, "thresholds").shown) == 2 * 2


def test_of_each_characteristic_the_furthest_group_is_shown(made):
    table = printed(made, "subgroups")
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
    asked = replace(made, grid=grid)
    assert "specificity of at least 0.95 on its validation split" in " ".join(printed(asked, "thresholds").notes)
    groups = " ".join(printed(asked, "subgroups").notes)
    assert "fewer than 10 positive or negative patients" in groups and "nor tested" in groups
    assert Comparing().specificity == 0.9


def test_figures_show_sources_and_no_controls(made):
    svgs = drawn(made.read_in(), "reliability", "subgroups")
    assert sorted(svgs) == ["reliability_chest", "reliability_vindr", "subgroups_chest", "subgroups_vindr"]
    assert svgs == drawn(made.read_in(), "reliability", "subgroups")
    for svg in svgs.values():
        assert "image_net" in svg and "random_again" not in svg
    plots = svgs["reliability_chest"]
    assert plots.index("macro, raw") < plots.index("macro, scaled") < plots.index("Atelectasis, raw")
    assert "sex F, 40 patients (mean of 1 of 4 labels)" in svgs["subgroups_chest"]


def test_without_anything_to_draw_there_is_no_figure(made):
    results = made.read_in()
    results.reliability, results.subgroups = results.reliability.iloc[:0], results.subgroups.iloc[:0]
    assert drawn(results, "reliability", "subgroups") == {}
