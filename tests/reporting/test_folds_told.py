"""The report of a study with a dataset in folds: the design is named, and what it does not have is left out by name."""

from pathlib import Path

import pandas as pd
import pytest

import report_made
from folds_made import predicted
from headwater.data.store import CASES
from headwater.reporting import methods, prose
from headwater.reporting.trace import whence
from headwater.stages.compare import compare
from headwater.stages.report import report
from headwater.study.folds import Folds
from headwater.study.grid import Grid

STRENGTHS = {"random": 0.3, "dino": 1.2}
FOLDS = Folds(folds=3)
COMPARED = report_made.PRODUCTS


def in_folds(grid: Grid, *names: str) -> Grid:
    """The grid with one of its datasets in folds, and with only the datasets of these names."""
    datasets = (one.model_copy(update={"splits": FOLDS if one.name == "chest" else None}) for one in grid.datasets)
    return grid.model_copy(update={"datasets": tuple(dataset for dataset in datasets if dataset.name in names)})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of which the first dataset is in folds: nothing of it is examined."""
    folder = tmp_path_factory.mktemp("study")
    whole = report_made.study(folder, strengths=STRENGTHS, resamples=128)
    for file in (folder / "comparisons").glob("chest.*"):
        file.unlink()
    (folder / "chest").rename(folder / "unused")
    grid = in_folds(whole.grid, "chest", "vindr")
    cases = folder / "archives" / "chest_archive" / "cases.parquet"
    files = predicted(folder, CASES.read(cases), strengths=STRENGTHS, folds=FOLDS)
    compare(
        comparison=grid.comparison("chest"),
        predictions=files,
        labels=cases,
        **{name: folder / "comparisons" / f"chest{suffix}" for name, suffix in COMPARED.items()},
    )
    return report_made.Study(grid=grid, results=folder)


@pytest.fixture(scope="module")
def mixed(made) -> Path:
    """The folder of the report of both datasets."""
    folder = made.results / "report"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        report(**made.arguments(), folder=folder)
    return folder


def test_tables_name_the_design_and_count_its_seeds(mixed):
    shown = (mixed / "significance.md").read_text()
    assert "| 2 in 3 folds " in shown and "chest: 3-fold cross-validation, no test split." in shown
    assert "it has 2 degrees of freedom" in (mixed / "macro.md").read_text()
    rows = pd.read_csv(mixed / "significance.csv")
    chest, vindr = (rows[rows["dataset"] == name] for name in ("chest", "vindr"))
    assert set(chest["resamples"]) == {0} and set(vindr["resamples"]) == {128}
    tested = chest[chest["tested"]]
    assert len(tested) and set(tested["degrees_of_freedom"]) == {2.0} and tested["p_percentile"].isna().all()
    # no training has the standard deviation of means over folds
    assert tested[["effect", "superiority"]].isna().all(axis=None) and vindr["effect"].notna().any()
    assert "Percentile p, effect and superiority are empty for chest" in shown
    # both designs are in the declared families
    family = rows[rows["family"] == "confirmatory"]
    assert list(family["dataset"]) == ["chest", "vindr"]
    assert family["p_adjusted"].min() == pytest.approx(2 * family["p"].min())
    first = pd.read_csv(mixed / "characteristics.csv")
    assert set(first.loc[first["dataset"] == "chest", "split"]) == {"all"}
    assert (
        "chest: all patients in 3 folds, each tested by networks of the others"
        in (mixed / "characteristics.md").read_text()
    )


def test_what_folds_do_not_have_is_left_out_by_name(made, mixed):
    for table in ("calibration", "thresholds", "subgroups"):
        assert set(pd.read_csv(mixed / f"{table}.csv")["dataset"]) == {"vindr"}
    assert set(report_made.drawn(made.read_in(), "roc", "replicates")) == {"roc_vindr", "replicates_vindr"}
    page = (mixed / "index.html").read_text()
    assert "no bootstrap replicates, percentile p, ROC curves, calibration, thresholds or subgroups" in page
    assert "All are tested once, in their fold." in page and "chest in 3 folds" in page
    assert "128 bootstrap replicates draw patients" in page
    assert "chest: 3-fold cross-validation" in (mixed / "macro.tex").read_text()
    assert "No test split or fold shares any of them with the data learned from, other folds among them." in page
    assert "in the test split or all folds together are described but not tested" in page
    assert "over the same labels in every replicate and every fold. A replicate" in page


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_what_is_said_of_seeds_and_replicates_is_said_of_the_datasets_with_a_test_split(made, seeds):
    grid, rows = made.grid.model_copy(update={"seeds": seeds}), made.read_in().comparisons
    said = [note for note in methods.notes(rows, grid=grid) if "Each source was fitted" in note or "replicates" in note]
    assert len(said) > 2 and all(
        note.startswith(("vindr: ", "Datasets in folds have no", "The macro")) for note in said
    )
    (warned,) = (line for line in prose.warnings(rows, grid=grid) if "seed" in line)
    assert "vindr" in warned and "chest" not in warned
    of_chest = prose.warnings(rows[rows["dataset"] == "chest"], grid=grid)
    assert not [line for line in of_chest if "seed" in line]


def test_a_study_in_folds_alone_has_no_word_of_resamples(made, monkeypatch, tmp_path):
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {})
    alone = report_made.Study(grid=in_folds(made.grid, "chest"), results=made.results)
    report(**alone.arguments(), folder=tmp_path)
    assert not (tmp_path / "calibration.csv").exists() and (tmp_path / "macro.csv").exists()
    said = methods.notes(alone.read_in().comparisons, grid=alone.grid)
    assert not [note for note in said if "bootstrap replicates draw" in note or "percentile p" in note[:30]]
    assert [note for note in said if "Nadeau and Bengio 2003" in note]
    # two seeds would be too few to be readers, but folds tell how much trainings vary
    page = (tmp_path / "index.html").read_text()
    assert "seeds are too few" not in page
    for phrase in ("in the test split", "No test split", "in test ", "in test<", "A replicate", "smallest p that"):
        assert phrase not in page
    assert "in all folds together are described but not tested" in page and "no positive case in any fold" in page
    assert "No fold shares any of them with the data learned from, other folds among them." in page


def test_a_number_is_traced_to_the_runs_of_all_folds(mixed, capsys):
    whence(str(mixed / "significance.csv"), ["chest", "macro", "dino"])
    told = capsys.readouterr().out
    for number in range(3):
        assert f"run chest.fold{number}/dino/finetune/seed1" in told and f"splits of fold {number}: " in told
