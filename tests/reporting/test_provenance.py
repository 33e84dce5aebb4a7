"""Provenance: the name of a set of runs depends on the content of their predictions only."""

import hashlib
import json

import pandas as pd
import pytest

from headwater.core import fingerprints
from headwater.core.errors import UserError
from headwater.data import tables
from headwater.data.index import LABELS
from headwater.data.reduction import ROWS
from headwater.evaluation import run_files
from headwater.evaluation.predictions import PREDICTIONS
from headwater.evaluation.run_files import RUN_FILES
from headwater.reporting import provenance
from headwater.stages.compare import compare
from headwater.stages.report import report
from predictions_made import cohort, written
from report_made import study

STRENGTHS = {"random": 0.3, "wild_dino": 1.4, "image_net": 0.8}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        made = study(folder, strengths=STRENGTHS)
        report(**made.arguments(), folder=folder / "report")
    return made, folder


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {})


def test_every_row_names_the_runs_behind_it(finished):
    _, folder = finished
    sets = pd.read_csv(folder / "report" / "provenance.csv")
    tests = pd.read_csv(folder / "report" / "significance.csv").fillna({"reference": ""})
    for row in tests.itertuples():
        behind = sets[sets["provenance"] == row.provenance]
        assert set(behind["source"]) == {row.source, row.reference} - {""}
        assert set(behind["dataset"]) == {row.dataset} and sorted(set(behind["seed"])) == [0, 1]
    for name in ("macro", "labelwise_chest", "labelwise_vindr"):
        for row in pd.read_csv(folder / "report" / f"{name}.csv").itertuples():
            assert set(sets.loc[sets["provenance"] == row.provenance, "source"]) == set(STRENGTHS)


def test_the_name_is_a_hash_of_the_sorted_hashes_of_predictions(finished):
    _, folder = finished
    row = (
        pd.read_csv(folder / "report" / "significance.csv")
        .query("source == 'wild_dino' and dataset == 'vindr'")
        .iloc[0]
    )
    files = [
        folder / "vindr" / source / "finetune" / f"seed{seed}" / "predictions.parquet"
        for source in ("random", "wild_dino")
        for seed in (0, 1)
    ]
    hashes = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    assert row.provenance == hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:12]


def names(report_folder) -> pd.Series:
    frame = pd.read_csv(report_folder / "significance.csv").fillna({"reference": ""})
    return frame.set_index(["dataset", "label", "source", "reference"])["provenance"]


def runs_with(made, folder, change, *, of: tuple[str, ...] = ("compare", "examine")):
    """The study with other tables of provenance for chest."""
    copy = made.copied(folder / "changed")
    for verb in of:
        file = copy.compared({"compare": "provenance", "examine": "examined"}[verb])[0]
        RUN_FILES.write(change(RUN_FILES.read(file)), file)
    return copy


def test_tables_that_disagree_are_refused(finished, tmp_path):
    made, _ = finished
    wrong = runs_with(made, tmp_path, lambda table: table.assign(predictions="f" * 64), of=("examine",))
    with pytest.raises(UserError, match=r"disagree about predictions\.parquet of chest/"):
        report(**wrong.arguments(), folder=tmp_path / "report")


def test_what_is_settled_on_validation_rests_on_those_scores_too(finished):
    _, folder = finished
    sets = pd.read_csv(folder / "report" / "provenance.csv")
    for name, files in {
        "calibration": {"predictions.parquet", "validation.parquet"},
        "thresholds": {"predictions.parquet", "validation.parquet"},
        "subgroups": {"predictions.parquet"},
        "significance": {"predictions.parquet"},
    }.items():
        for row in pd.read_csv(folder / "report" / f"{name}.csv").itertuples():
            behind = sets[sets["provenance"] == row.provenance]
            assert set(behind["file"]) == files and row.source in set(behind["source"])


def test_a_cell_of_the_matrix_rests_on_what_guests_predicted_and_on_those_at_home():
    runs = [
        {"dataset": dataset, "recipe": "finetune", "source": "dino", "seed": 0, "run": f"{dataset}/dino", "file": file,
         "predictions": f"{dataset} {file}", **dict.fromkeys(("record", "model", "encoder", "split"), "x")}
        for dataset in ("chest", "vindr") for file in ("predictions.parquet", "elsewhere.parquet")
    ]  # fmt: skip
    index = provenance.ProvenanceIndex(pd.DataFrame(runs))
    cells = pd.DataFrame(
        [("chest", "chest"), ("vindr", "chest")], columns=["fitted_to", "dataset"]
    ).assign(recipe="finetune", source="dino")  # fmt: skip
    behind = [set(index.sets[name]["predictions"]) for name in provenance.of_cells(cells, index)["provenance"]]
    assert behind == [{"chest predictions.parquet"}, {"chest predictions.parquet", "vindr elsewhere.parquet"}]
    line = provenance.of_cells(cells.iloc[:1], index, tested_on=["chest", "vindr"])["provenance"][0]
    tested = {"chest predictions.parquet", "vindr predictions.parquet", "chest elsewhere.parquet"}
    assert set(index.sets[line]["predictions"]) == tested


def test_another_hash_changes_the_names_of_its_rows_and_no_other_number(finished, tmp_path, without_figures):
    made, folder = finished

    def change(table):
        other = (table["source"] == "image_net") & (table["seed"] == 1) & (table["file"] == "predictions.parquet")
        return table.assign(predictions=table["predictions"].mask(other, "f" * 64))

    report(**runs_with(made, tmp_path, change).arguments(), folder=tmp_path / "report")
    before, after = names(folder / "report"), names(tmp_path / "report")
    changed = before.index[before != after]
    assert set(changed) == {place for place in before.index if place[0] == "chest" and place[2] == "image_net"}
    for name in ("significance.csv", "macro.csv", "labelwise_chest.csv"):
        one, other = (
            pd.read_csv(place / name).drop(columns="provenance") for place in (folder / "report", tmp_path / "report")
        )
        pd.testing.assert_frame_equal(one, other)


def test_what_else_products_tell_changes_no_name(finished, tmp_path, without_figures):
    made, folder = finished
    told = dict.fromkeys(("model", "encoder", "split"), "e" * 64)
    again = runs_with(made, tmp_path, lambda table: table.assign(**told))
    report(**again.arguments(), folder=tmp_path / "report")
    same = [(place / "significance.csv").read_bytes() for place in (folder / "report", tmp_path / "report")]
    assert same[0] == same[1]
    assert (tmp_path / "report" / "provenance.csv").read_text() != (folder / "report" / "provenance.csv").read_text()


def test_runs_that_were_compared_with_other_settings_are_not_reported(finished, tmp_path):
    made, _ = finished
    again = runs_with(made, tmp_path, lambda table: table.assign(record="12345678"))
    with pytest.raises(
        UserError, match=r"run chest/\S+ was compared with other settings: its record is 12345678, that of"
    ):
        report(**again.arguments(), folder=tmp_path / "report")


def test_a_changed_byte_of_predictions_is_another_hash(tmp_path):
    cases = cohort(patients=40, images=1, labels={"Mass": 0.5})
    file, *_ = written(tmp_path, cases, strengths={"random": 0.4}, seeds=(0,))
    before = run_files.row(file, run=("random", "finetune", 0), dataset="chest")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    after = run_files.row(file, run=("random", "finetune", 0), dataset="chest")
    assert {name for name in before if before[name] != after[name]} == {"predictions"}


def test_compare_passes_on_what_predictions_tell_and_says_what_they_do_not(tmp_path, finished):
    made, _ = finished
    cases = cohort(patients=80, images=2, labels={"Mass": 0.5})
    files = written(tmp_path, cases, strengths=STRENGTHS)
    frame = PREDICTIONS.read(files[0])
    kept = {"record": "12345678", "model": "a" * 64, "encoder": "b" * 64, "split": "c" * 64}
    PREDICTIONS.write(frame, files[0], origin=kept)
    counts = pd.DataFrame(
        [{"label": "Mass", "split": "train", "positives": 9, "negatives": 9, "unknown": 0,
          "positive_patients": 9, "negative_patients": 9}]
    )  # fmt: skip
    LABELS.write(counts, tmp_path / "labels.parquet")
    products = {
        name: tmp_path / f"{name}.parquet" for name in ("comparisons", "curves", "values", "replicates", "provenance")
    }
    compare(comparison=made.grid.comparison("chest"), predictions=files, labels=tmp_path / "labels.parquet", **products)
    table = RUN_FILES.read(products["provenance"]).set_index(["source", "seed"])
    assert {name: table.loc[("random", 0), name] for name in kept} == kept
    assert table.loc[("random", 1), "model"] == "not recorded" and len(table) == len(files)
    assert table.loc[("random", 0), "predictions"] == hashlib.sha256(files[0].read_bytes()).hexdigest()


def test_a_table_that_tells_is_the_same_table_and_the_same_bytes_again(tmp_path):
    frame = pd.DataFrame({"row": [1], "case": ["a"]})
    for name, origin in (("one", {"b": "2", "a": "1"}), ("two", {"a": "1", "b": "2"}), ("none", None)):
        ROWS.write(frame, tmp_path / name, origin=origin)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert tables.read_origin(tmp_path / "one") == {"a": "1", "b": "2"} and tables.read_origin(tmp_path / "none") == {}
    pd.testing.assert_frame_equal(ROWS.read(tmp_path / "one"), ROWS.read(tmp_path / "none"))


def test_the_report_tells_what_it_was_made_from(finished):
    made, folder = finished
    told = json.loads((folder / "report" / "provenance.json").read_text())
    assert told["config"] == made.grid.digest and type(made.grid).model_validate(told["grid"]) == made.grid
    chest = folder / "comparisons" / "chest.parquet"
    assert told["cases"] == {
        f"{name}_archive": fingerprints.sha256(folder / "archives" / f"{name}_archive" / "cases.parquet")
        for name in ("chest", "vindr")
    }
    assert told["comparisons"]["chest.parquet"] == hashlib.sha256(chest.read_bytes()).hexdigest()
    table = (folder / "report" / "significance.csv").read_bytes()
    assert told["tables"]["significance.csv"] == hashlib.sha256(table).hexdigest()
