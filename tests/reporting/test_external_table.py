"""The table of external validation: its cells, headings and notes, and the studies that have it."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from headwater.core.records import Choice
from headwater.data.tables import MACRO
from headwater.evaluation.external import CROSSED
from headwater.reporting import external_table
from headwater.reporting.provenance import ProvenanceIndex
from headwater.reporting.results import StudyResults
from headwater.stages.report import report
from report_made import Study, changed, drawn, study

SOURCES = ("random", "dino")
SHARED = {"chest": ("Effusion", "Atelectasis"), "vindr": ("Pleural effusion", "Atelectasis")}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Study:
    strengths = {"random": 0.3, "dino": 1.2, "dino_again": 1.2}
    folder = tmp_path_factory.mktemp("study")
    finished = study(folder, strengths=strengths, controls=("dino_again",), resamples=128)
    return replace(finished, grid=changed(finished.grid, external=True))


def results(made, crossed: pd.DataFrame, **changes) -> StudyResults:
    """The study's results with these cells."""
    read = replace(made, **changes).read_in()
    read.crossed = crossed
    # which runs predicted elsewhere no file of this study says: names of provenance are not asked for here
    read.provenance = ProvenanceIndex(
        pd.concat([read.provenance.files, read.provenance.files.assign(file="elsewhere.parquet")]).drop_duplicates(
            ["run", "file"]
        )
    )
    return read


def cells(**lacking: str) -> pd.DataFrame:
    """A table of crossed test sets with values that no two cells share; none of `dataset=fitted_to`."""
    rows = []
    for dataset, labels in SHARED.items():
        for fitted_to in SHARED:
            for source in SOURCES if lacking.get(dataset) != fitted_to else ():
                for label in (MACRO, *labels):
                    rows.append(_cell(dataset, fitted_to, source, label, value=0.5 + 0.01 * len(rows)))
    return pd.DataFrame(rows, columns=list(CROSSED.columns))


def _cell(dataset: str, fitted_to: str, source: str, label: str, *, value: float) -> dict:
    home = dataset == fitted_to
    numbers = {name: np.nan for name, kind in CROSSED.columns.items() if kind == "number"}
    numbers |= {"value": value, "value_se": 0.01, "value_low": value - 0.02, "value_high": value + 0.02}
    if not home:
        numbers |= {"home_value": value + 0.1, "difference": -0.1, "difference_low": -0.12, "p": 0.01}
    counts = {name: 7 for name, kind in CROSSED.columns.items() if kind == "whole number"}
    words = {"dataset": dataset, "fitted_to": fitted_to, "metric": "auroc", "recipe": "finetune", "source": source}
    findings = {"findings": (5 if home else 2) if label == MACRO else 1}
    return {
        **numbers,
        **counts,
        **words,
        **findings,
        "label": label,
        "asked": label,
        "tested": True,
        "few": False,
        "note": "",
    }


def test_each_cell_stands_in_the_line_fitted_to_and_the_column_tested_on(made):
    crossed = cells()
    found = external_table.table(results(made, crossed.sample(frac=1, random_state=0)))
    assert list(found.shown) == ["Fitted to", "Source", "chest", "vindr"]
    assert list(zip(found.shown["Fitted to"], found.shown["Source"], strict=True)) == [
        ("chest", "random"), ("chest", "dino"), ("vindr", "random"), ("vindr", "dino"),
    ]  # fmt: skip
    macro = crossed[crossed["label"] == MACRO].set_index(["fitted_to", "source", "dataset"])["value"]
    for at, (fitted_to, source) in enumerate(zip(found.shown["Fitted to"], found.shown["Source"], strict=True)):
        for dataset in SHARED:
            value, shown = macro[fitted_to, source, dataset], found.shown.loc[at, dataset]
            home = dataset == fitted_to
            behind = " (home, 5)" if home else f" vs {value + 0.1:.3f} (2)"
            assert shown == f"{value:.3f} [{value - 0.02:.3f}, {value + 0.02:.3f}]{behind}"
            assert found.bold.loc[at, dataset] == home
            assert found.exact.loc[at, f"{dataset}.value"] == value
            assert np.isnan(found.exact.loc[at, f"{dataset}.difference"]) == home


def test_where_nothing_is_shared_there_is_a_dash(made):
    found = external_table.table(results(made, cells(vindr="chest")))
    assert found.shown.loc[0, "vindr"] == "–" and np.isnan(found.exact.loc[0, "vindr.value"])
    assert found.shown.loc[0, "chest"] != "–"


def test_labels_stand_as_the_config_lists_them_and_the_macro_first(made):
    listed = ("Pleural effusion", "Atelectasis")
    datasets = tuple(
        one.model_copy(update={"labels": listed if one.name == "vindr" else ()}) for one in made.grid.datasets
    )
    grid = made.grid.model_copy(update={"datasets": datasets})
    rows = external_table.ordered(cells().sample(frac=1, random_state=1), grid=grid)
    here = rows[(rows["dataset"] == "vindr") & (rows["fitted_to"] == "chest") & (rows["source"] == "dino")]
    assert here["label"].tolist() == [MACRO, *listed]
    # without a list, by the alphabet
    assert rows[rows["dataset"] == "chest"]["label"].tolist()[:3] == [MACRO, "Atelectasis", "Effusion"]


def test_the_notes_say_what_the_numbers_cannot(made):
    said = " ".join(external_table.footnotes(cells(), grid=made.grid))
    assert "version 1 of the table of findings" in said and "Controls stay at home: dino_again." in said
    assert "exploratory, in no declared family, not corrected" in said
    assert "take no part" not in said and "different sizes" not in said
    archives = tuple(
        one.model_copy(update={"size": 32 if one.name == "vindr_archive" else 224}) for one in made.grid.archives
    )
    other = made.grid.model_copy(update={"archives": archives})
    assert "(chest 224, vindr 32 pixels)" in " ".join(external_table.footnotes(cells(), grid=other))


def test_the_sizes_in_the_notes_are_those_that_networks_see(made):
    def noted(*, size, views):
        archives = tuple(one.model_copy(update={"size": size.get(one.name, one.size)}) for one in made.grid.archives)
        datasets = tuple(one.model_copy(update={"view": views.get(one.name)}) for one in made.grid.datasets)
        grid = made.grid.model_copy(update={"archives": archives, "datasets": datasets})
        return " ".join(external_table.footnotes(cells(), grid=grid))

    stored = dict.fromkeys(("chest_archive", "vindr_archive"), 384)
    assert "(chest 224, vindr 320 pixels)" in noted(size=stored, views={"chest": 224, "vindr": 320})
    assert "(chest 224, vindr 384 pixels)" in noted(size=stored, views={"chest": 224})
    # stored at two sizes and seen at one, none is resized for another network
    other = noted(size={"chest_archive": 384, "vindr_archive": 224}, views={"chest": 224})
    assert "different sizes" not in other


def test_volumes_are_seen_in_patches_of_voxels_and_not_resized(made):
    def noted(kinds, sizes):
        archives = tuple(
            one.model_copy(update={"kind": Choice(name=kinds[at]), "size": sizes[at]}) if at < 2 else one
            for at, one in enumerate(made.grid.archives)
        )
        grid = made.grid.model_copy(update={"archives": archives})
        return " ".join(external_table.footnotes(cells(), grid=grid))

    said = noted(("oai", "own_volumes"), ((96, 160, 160), 64))
    assert "(chest 96 × 160 × 160 voxels, vindr 64 × 64 × 64 voxels)" in said and "nothing is resized" in said
    assert "pixels" not in said and "bilinearly" not in said
    flat = "own_pictures_with_masks"
    assert "(chest 512 × 512 pixels, vindr 256 × 256 pixels)" in noted((flat, flat), (512, 256))
    assert "different sizes" not in noted(("oai", "oai"), (64, 64))


def test_the_figure_tells_each_value_and_shades_the_best_darkest(made):
    svgs = drawn(results(made, cells()), "crossed")
    assert set(svgs) == {"crossed_random", "crossed_dino"}
    macro = cells().query("label == 'macro'")
    for source in SOURCES:
        here = macro[macro["source"] == source]
        for row in here.itertuples():
            assert f"{row.value:.3f} ({row.findings})" in svgs[f"crossed_{source}"]
    best, worst = macro.loc[macro["value"].idxmax(), "source"], macro.loc[macro["value"].idxmin(), "source"]
    assert "#0072b2" in svgs[f"crossed_{best}"] and "#f2f6fa" in svgs[f"crossed_{worst}"]
    assert "#0072b2" not in svgs[f"crossed_{worst}"]


def test_one_value_alone_is_drawn(made):
    alone = cells().query("label == 'macro' and source == 'dino' and dataset == 'chest' and fitted_to == 'vindr'")
    assert "nan" not in drawn(results(made, alone), "crossed")["crossed_dino"]


def reported(made, folder, *, seed=0, **changes) -> dict[str, bytes]:
    """Every file of the report, the crossed tables in another order for another seed."""
    copy = made.copied(folder)
    for dataset, part in cells().groupby("dataset"):
        file = folder / "comparisons" / f"{dataset}.crossed.parquet"
        CROSSED.write(part.sample(frac=1, random_state=seed), file)
    report(**copy.arguments(**changes), folder=folder / "report")
    return {file.name: file.read_bytes() for file in sorted((folder / "report").iterdir())}


def test_the_report_has_the_matrix_the_figures_and_all_cells(made, tmp_path):
    files = reported(made, tmp_path / "one")
    assert {f"crossed.{suffix}" for suffix in ("csv", "md", "tex", "html")} <= set(files)
    page = files["index.html"].decode()
    assert '<h2 id="elsewhere">Tested elsewhere ' in page and '<a href="#elsewhere">' in page
    assert page.count("By the dataset fitted to and the one tested on") == 2
    long = pd.read_csv(tmp_path / "one" / "report" / "crossed_labelwise.csv", keep_default_na=True)
    assert len(long) == len(cells()) and list(long) == [*CROSSED.columns, "provenance"]
    assert "version 1 of the table of findings" in files["crossed.md"].decode()
    assert re.search(r"\*\*0\.\d{3} \[[^\]]*\] \(home, 5\)\*\*", files["crossed.md"].decode())
    assert "(home, 5)" in files["crossed.html"].decode()
    # these name the files that the report was made from, and where it lies, or hold the digests of those that do
    unlike = {"summary.txt": b"", "provenance.json": b"", "ro-crate-metadata.json": b""}
    assert reported(made, tmp_path / "two", seed=3) | unlike == files | unlike


def test_a_study_that_did_not_ask_has_no_word_of_it(made, tmp_path):
    files = reported(made, tmp_path / "study", grid=changed(made.grid, external=False))
    assert not [name for name in files if name.startswith("crossed")]
    assert "elsewhere" not in files["index.html"].decode().lower().replace("are worth elsewhere", "")
