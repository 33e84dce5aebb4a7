"""A number of external validation is followed back to both datasets and to the predictions on the tested one."""

import json
from pathlib import Path

import pandas as pd
import pytest

import report_made
from headwater.core import files as core_files
from headwater.core import fingerprints
from headwater.data import splits
from headwater.data.store import CASES
from headwater.reporting import provenance
from headwater.reporting.trace import whence

FILES = ("predictions.parquet", "elsewhere.parquet")
CELLS = [(fitted_to, tested_on) for tested_on in ("chest", "vindr") for fitted_to in ("chest", "vindr")]
HOME, GUEST = "1", "2"
"""Rows of the matrix that are about the test cases of chest."""


@pytest.fixture
def results(tmp_path, monkeypatch) -> Path:
    """The products of a study of two datasets as far as whence looks at them; their content is their own path."""
    monkeypatch.chdir(tmp_path)
    grid = report_made.grid_of(("random", "dino"), twin=True, seeds=(0,), comparing={"external": True})
    results, digests = Path("results"), {}
    for archive in ("chest_archive", "vindr_archive"):
        cases = report_made.archive_cases({"Effusion": 0.4})
        named = {name: archive + cases[name] for name in ("case", "patient")}
        CASES.write(cases.assign(**named), results / "archives" / archive / "cases.parquet")
        digests[archive] = splits.digests(cases.assign(**named))[splits.ALL]
    rows = [row for dataset in grid.datasets for row in _run(results, dataset.name, digests[dataset.archive])]
    index = provenance.ProvenanceIndex(pd.DataFrame(rows))
    cells = pd.DataFrame(CELLS, columns=["fitted_to", "dataset"])
    cells = cells.assign(metric="auroc", recipe="finetune", source="random", label="macro", value=0.7)
    table = results / "report" / "crossed_labelwise.csv"
    core_files.write_text(provenance.of_cells(cells, index).to_csv(index=False), table)
    core_files.write_text(index.table().to_csv(index=False), results / "report" / "provenance.csv")
    for name in ("chest", "vindr"):
        core_files.write_text(name, results / "comparisons" / f"{name}.crossed.parquet")
    files = [results / "archives" / archive / "cases.parquet" for archive in digests]
    told = {
        "config": grid.digest,
        "grid": json.loads(grid.as_json()),
        "cases": {file.parent.name: fingerprints.sha256(file) for file in files},
        "comparisons": {file.name: fingerprints.sha256(file) for file in (results / "comparisons").iterdir()},
        "tables": {table.name: fingerprints.sha256(table)},
    }
    core_files.write_json(told, results / "report" / "provenance.json")
    return results


def _run(results: Path, dataset: str, split: str):
    """What is told of one run's predictions, at home and elsewhere."""
    folder = results / "runs" / dataset / "random" / "finetune" / "seed0"
    for name in (*FILES, "model.safetensors"):
        core_files.write_text(str(folder / name), folder / name)
    model = fingerprints.sha256(folder / "model.safetensors")
    core_files.write_json({"model": model, "split": split}, folder / "fit.json")
    for name in FILES:
        yield {
            "dataset": dataset,
            "recipe": "finetune",
            "source": "random",
            "seed": 0,
            "run": f"{dataset}/random/finetune/seed0",
            "file": name,
            "predictions": fingerprints.sha256(folder / name),
            "record": "12345678",
            "model": model,
            "encoder": "random",
            "split": split,
        }


def followed(capsys, row: str) -> tuple[int, str]:
    """(exit code, what is printed) for a row of the matrix."""
    code = 0
    try:
        whence("results/report/crossed_labelwise.csv", [row])
    except SystemExit as ended:
        code = ended.code
    return code, capsys.readouterr().out


@pytest.mark.parametrize("row", [HOME, GUEST])
def test_what_is_as_it_was_is_not_called_changed(results, capsys, row):
    code, told = followed(capsys, row)
    assert code == 0 and "CHANGED" not in told
    assert ("runs/vindr/random/finetune/seed0/elsewhere.parquet" in told) == (row == GUEST)
    assert "runs/chest/random/finetune/seed0/predictions.parquet" in told
    assert "runs/vindr/random/finetune/seed0/predictions.parquet" not in told


@pytest.mark.parametrize(
    "name",
    [
        "runs/vindr/random/finetune/seed0/elsewhere.parquet",
        "runs/vindr/random/finetune/seed0/model.safetensors",
        "runs/chest/random/finetune/seed0/predictions.parquet",
    ],
)
def test_what_has_changed_on_either_side_is_named(results, capsys, name):
    (results / name).write_text("other")
    code, told = followed(capsys, GUEST)
    assert code == 1 and f"CHANGED SINCE: results/{name}" in told


@pytest.mark.parametrize("archive", ["chest_archive", "vindr_archive"])
def test_a_patient_who_moved_on_either_side_is_found_out(results, capsys, archive):
    file = results / "archives" / archive / "cases.parquet"
    cases = CASES.read(file)
    CASES.write(cases.assign(patient=cases["patient"].mask(cases.index == 0, "another")), file)
    code, told = followed(capsys, GUEST)
    assert code == 1 and str(file) in told.rpartition("CHANGED SINCE")[2]
