import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from headwater.reporting import pivot
from headwater.reporting.drawing import palette
from headwater.reporting.figures import ranks, replicates, seeds
from headwater.stages.report import report
from report_made import corrected, drawn, read, study

SOURCES = ("random", "wild_dino", "image_net")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    strengths = dict.fromkeys([*SOURCES, "random_again"], 0.3) | {"wild_dino": 1.4, "image_net": 0.8}
    folder = tmp_path_factory.mktemp("study")
    return study(folder, strengths=strengths, controls=("random_again",), seeds=(0, 1, 2), resamples=128)


KINDS = ("forest", "roc", "seeds", "replicates")


def figures(made, **tables) -> dict[str, str]:
    """The figures of a study's comparisons, from these tables or from its own."""
    results = made.read_in()
    for name, table in tables.items():
        setattr(results, name, table)
    return drawn(results, "forest_macro", "ranks", *KINDS)


def test_all_figures_are_drawn_and_the_order_of_rows_changes_no_byte(made):
    svgs = figures(made, comparisons=corrected(made))
    assert set(svgs) == {"forest_macro", "ranks"} | {f"{kind}_{name}" for kind in KINDS for name in ("chest", "vindr")}
    shuffled = {
        name: read(made, table).sample(frac=1, random_state=1)
        for name, table in (("run_values", "values"), ("replicates", "replicates"))
    }
    rows = corrected(made, rows=read(made, "comparisons").sample(frac=1, random_state=1).reset_index(drop=True))
    assert figures(made, comparisons=rows, **shuffled) == svgs


def test_seeds_are_a_dot_each_and_joined_only_where_they_are_pairs(made):
    values = read(made, "values").query("dataset == 'chest' and label == 'macro'")
    colours = palette([source.name for source in made.grid.sources])
    svg = seeds.drawn(values, colours=colours, grid=made.grid).svg
    dots = {name: svg.count(f"fill: {colour}; stroke: {colour}") for name, colour in colours.items()}
    joined = re.findall(r'<path d="([^"]*)"[^>]*stroke: #c8ced8; stroke-width: 0.8', svg)
    nested = made.grid.model_copy(update={"comparing": made.grid.comparing.model_copy(update={"pairing": "nested"})})
    apart = seeds.drawn(values, colours=colours, grid=nested).svg
    assert "stroke: #c8ced8; stroke-width: 0.8" not in apart
    # one line per seed over the three sources; the A/A control draws other random numbers
    assert [path.count("L") for path in joined] == [2, 2, 2]
    assert all(many >= 3 for many in dots.values())


def test_the_best_source_has_the_first_rank_whichever_way_is_better(made):
    values = pd.DataFrame(
        [
            {"dataset": dataset, "metric": metric, "recipe": "finetune", "source": source, "value": value}
            for dataset in ("a", "b", "c")
            for metric in ("auroc", "brier")
            for source, value in zip(SOURCES, (0.1, 0.2, 0.3), strict=True)
        ]
    )
    grid = made.grid.model_copy(
        update={"comparing": made.grid.comparing.model_copy(update={"metrics": ("auroc", "brier")})}
    )
    svg = ranks.drawn(values, colours=palette(list(SOURCES)), grid=grid).svg
    upper, lower = svg.split(">AUROC<")[0], svg.split(">Brier score<")[0].split(">AUROC<")[1]
    assert "image_net (1.00)" in upper and "(3.00) random" in upper
    assert "random (1.00)" in lower and "(3.00) image_net" in lower


def test_a_bar_of_ranks_runs_from_left_to_right_in_every_process(made):
    names = [f"source{number}" for number in range(9)]
    values = pd.DataFrame(np.random.default_rng(0).random((2, 9)), columns=names, index=["one", "other"])
    ax = Figure().subplots()
    ranks._panel(ax, values, palette(names), "higher", made.grid)
    bars = [line.get_xdata() for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert any(len(bar) == 9 for bar in bars)
    assert all(list(bar) == sorted(bar) for bar in bars)


def test_ranks_leave_controls_out(made):
    assert set(pivot.ranked(corrected(made), grid=made.grid)["source"]) == set(SOURCES)
    assert "random_again" not in figures(made)["ranks"] and "random_again" in figures(made)["forest_macro"]


@pytest.mark.parametrize("kept", [{"source": ("random", "wild_dino")}, {"dataset": ("chest",)}])
def test_too_few_sources_or_test_sets_have_no_ranks_and_a_sentence_why(made, kept):
    rows = corrected(made)
    if "dataset" in kept:
        rows.loc[rows["dataset"] != "chest", ["value", "reference_value"]] = np.nan
        grid = made.grid
    else:
        grid = made.grid.model_copy(update={"sources": made.grid.sources[:2]})
    assert pivot.ranked(rows, grid=grid).empty
    results = replace(made, grid=grid).read_in()
    results.comparisons = rows
    assert ranks.make(results) == {} and "they need 3 sources and 2 test sets" in ranks.reason_for_none(results)


def test_ranks_are_captioned_as_description_only(made, tmp_path):
    report(**made.arguments(), folder=tmp_path)
    page = (tmp_path / "index.html").read_text()
    for kind in ("Mean ranks over test sets", "What each training reached: chest", "Resampled differences: vindr"):
        assert f'aria-label="{kind}"' in page
    caption = re.search(r"<figcaption>(Description only[^<]*)", page).group(1)
    assert "no claim rests on this" in caption and "Nemenyi" in caption


def test_a_pair_without_replicates_still_has_its_difference_and_interval(made):
    rows = corrected(made).query("dataset == 'chest' and label == 'macro' and reference != ''")
    nothing = read(made, "replicates").iloc[:0]
    svg = replicates.drawn(
        rows, nothing, colours=palette([source.name for source in made.grid.sources]), grid=made.grid
    ).svg
    assert "wild_dino − random" in svg and "image_net − random" in svg
