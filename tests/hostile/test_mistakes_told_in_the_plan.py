"""Mistakes in tables, paths and weights files are told by the plan, all at once, and nothing that `prepare` accepts."""

import gzip
import json
import os
from pathlib import Path
from shlex import quote

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import SAMPLES
from headwater.cluster import snakemake_state
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.data.io.sheets import read_sheet
from headwater.planning import few_patients, preflight, table_checks
from headwater.stages.prepare import prepare
from headwater.study import config as study_config
from headwater.study.archive import Archive

PATIENTS = 24


def table(**columns: list[str]) -> pd.DataFrame:
    """A table of two images each of 24 patients, half of whom have a fracture."""
    rows = range(2 * PATIENTS)
    cells = {
        "file": [f"images/{row:03d}.png" for row in rows],
        "patient": [f"p{row // 2}" for row in rows],
        "sex": ["F" if row // 2 % 3 else "M" for row in rows],
        "age": [str(40 + row // 2) for row in rows],
        "Fracture": [str(row // 2 % 2) for row in rows],
        "Effusion": [str(row // 4 % 2) for row in rows],
    }
    return pd.DataFrame(cells | columns)


def folder_of(place: Path, rows: pd.DataFrame) -> Path:
    (place / "images").mkdir(parents=True, exist_ok=True)
    for row in range(2 * PATIENTS):
        pixels = np.random.default_rng(row).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "images" / f"{row:03d}.png")
    rows.to_csv(place / "cases.csv", index=False)
    return place


def study(folder: Path, *, kind: str | dict = "own_folder", **changes) -> study_config.Config:
    content = {
        "results": changes.pop("results", "results"),
        "seeds": [0],
        "backbone": "timm/test_resnet",
        "archives": {"mine": {"kind": kind, "folder": str(folder), "size": 32}, **changes.pop("archives", {})},
        "sources": {"random": {}, "other": {}, **changes.pop("sources", {})},
        "datasets": {"mine": {"labels": changes.pop("labels", [])}},
        "recipes": {"full": {"training": {"steps": 2}}},
        "comparison": {"fewest_positive": 2},
    }
    content["archives"]["mine"] |= changes
    return study_config.load(content)


def told(folder: Path, **changes) -> list[str]:
    return preflight.mistakes(study(folder, **changes))


def test_a_folder_in_order_is_told_nothing(tmp_path, capsys):
    preflight.check(study(folder_of(tmp_path, table()), labels=["Fracture"], validation=0.45, test=0.2))
    # nine patients choose the step
    assert "tested" not in capsys.readouterr().err


def cell(column: str, row: int, text: str) -> dict[str, list[str]]:
    cells = table()[column].tolist()
    cells[row] = text
    return {column: cells}


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        (cell("Fracture", 7, "yes"), ["cases.csv", "line 9, column 'Fracture': 'yes'", "use 1, 0 or nothing"]),
        (cell("sex", 3, "X"), ["line 5, column 'sex': 'x'"]),
        (cell("age", 3, "forty"), ["line 5, column 'age': 'forty'"]),
        (cell("file", 9, "images/008.png"), ["images/008.png is listed more than once (1 in all)", "keep one of each"]),
        (cell("file", 9, "../009.png"), ["line 11, column 'file'", "is outside of"]),
        (cell("file", 9, "images/009"), ["line 11, column 'file'", "has no suffix of an image"]),
        (cell("patient", 4, ""), ["line 6 has no patient"]),
        ({"split": ["train"] * 47 + ["exam"]}, ["line 49, column 'split': 'exam'"]),
        ({"split": (["train", "test"] * 24)}, ["patient p0 is in test", "and in train", "24 such patients"]),
        ({"Fracture": ["0"] * 48, "Effusion": ["1"] * 48}, ["no label has positive and negative cases"]),
    ],
)
def test_a_mistake_in_a_table_is_told_once_with_its_line(tmp_path, columns, parts):
    said = told(folder_of(tmp_path, table(**columns)))
    assert len(said) == 1, said
    assert said[0].startswith("archives.mine: ") and said[0].count("archives.mine: ") == 1
    assert all(part in said[0] for part in parts), said[0]


def test_missing_columns_and_bad_cells_are_told_all_at_once(tmp_path):
    rows = table(**cell("Fracture", 1, "yes"), **cell("sex", 2, "Q")).rename(columns={"age": "years"})
    folder = folder_of(tmp_path, rows)
    said = told(folder, kind={"name": "own_folder", "age": "yaers", "patient": "patiant"})
    assert len(said) == 2
    assert "no column 'yaers', which the option `age` names" in said[1] and "did you mean 'years'?" in said[1]
    assert "no column 'patiant'" in said[0] and "did you mean 'patient'?" in said[0]
    said = told(folder, kind={"name": "own_folder", "labels": ["Fracture", "Effusion"]})
    assert len(said) == 2 and "column 'sex': 'q'" in said[0] and "column 'Fracture': 'yes'" in said[1]
    said = told(folder, kind={"name": "own_folder", "labels": ["Fractur"]})
    assert len(said) == 1 and "has no column 'Fractur'; did you mean 'Fracture'?" in said[0]


def test_several_mistakes_are_printed_one_below_the_other(tmp_path):
    folder = folder_of(tmp_path, table(**cell("sex", 2, "Q"), **cell("age", 2, "old")))
    with pytest.raises(UserError) as refusal:
        preflight.check(study(folder, labels=["Fractur"]))
    first, *lines = refusal.value.printed.splitlines()
    assert first == "3 mistakes:" and len(lines) == 3
    assert [line[:2] for line in lines] == ["  "] * 3
    assert "'q'" in lines[0] and "'old'" in lines[1] and "did you mean 'Fracture'?" in lines[2]
    assert "\n" not in str(refusal.value)


def test_images_that_are_not_there_are_refused_where_prepare_would_refuse_them(tmp_path):
    folder = folder_of(tmp_path, table())
    (folder / "images" / "000.png").unlink()
    (said,) = told(folder)
    assert "at least 1 of 48 listed images are not there" in said and str(folder / "images/000.png") in said
    # with this share prepare goes on
    assert told(folder, rejects=0.03) == []


def test_two_readings_with_one_fault_tell_it_once(tmp_path):
    folder = folder_of(tmp_path, table(**cell("sex", 2, "Q")))
    assert len(told(folder, archives={"again": {"images_of": "mine"}})) == 1


@pytest.mark.parametrize("rows", [20, 60])
def test_of_a_large_table_the_beginning_and_a_sample_are_read(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(table_checks, "LARGEST", 100)
    monkeypatch.setattr(table_checks, "ROWS", rows)
    folder = folder_of(tmp_path, table())
    assert told(folder) == []
    folder_of(tmp_path, table(Fracture=["1"] * 30 + ["maybe"] * 18))
    (said,) = told(folder)
    line = int(said.partition(" line ")[2].partition(",")[0])
    # lines are those of the file, where the 31st case is in line 32
    assert 32 <= line <= 49 and "'maybe'" in said
    assert (folder / "cases.csv").read_text().splitlines()[line - 1].split(",")[4] == "maybe"


def test_a_sample_of_a_table_has_the_true_places_of_its_rows(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text("a,b\n" + "".join(f"{row},{row % 7}\n" for row in range(20_000)))
    sheet = read_sheet(path, columns={"a": ("a",)}, rows=100)
    assert len(sheet) == 200 and sheet["a"].astype(int).tolist() == sheet.index.tolist()
    assert sheet.index[-1] == 19_999 and sheet.index.is_unique
    # a line of a quoted cell is no row
    path.write_text("a,b\n" + "".join(f'{row},"x\n{row}, y"\n' for row in range(500)))
    assert len(read_sheet(path, columns={"a": ("a",)}, rows=100)) == 100
    path.write_text("a,b\n" + "".join(f"{row},{row % 7}\n" for row in range(100)))
    assert read_sheet(path, columns={"a": ("a",)}, rows=100).index.tolist() == list(range(100))


def test_absent_images_of_a_large_table_are_counted_against_all_of_its_rows(tmp_path, monkeypatch):
    folder = folder_of(tmp_path, table())
    monkeypatch.setattr(table_checks, "LARGEST", 100)
    monkeypatch.setattr(table_checks, "ROWS", 10)
    for row in range(24, 48):
        (folder / "images" / f"{row:03d}.png").unlink()
    (said,) = told(folder, rejects=0.1)
    assert "of 49 listed images are not there" in said
    assert told(folder, rejects=0.6) == []
    # of a compressed table the first rows are looked at; all are counted, not the line ends of compressed bytes
    for row in range(4):
        (folder / "images" / f"{row:03d}.png").unlink()
    (folder / "cases.csv").write_bytes(gzip.compress((folder / "cases.csv").read_bytes()))
    assert told(folder, rejects=0.6) == []


def test_what_is_prepared_is_not_looked_at_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path / "mine", table())
    config = study(folder)
    archive = config.archives["mine"]
    home = Path("results/archives/mine")
    home.mkdir(parents=True)
    names = {"cases": "cases.parquet", "images": "images.npy", "hashes": "hashes.npy", "rejects": "rejects.parquet"}
    names |= {"labels": "labels.parquet", "split": "split.json"}
    prepare(archive=archive, **{key: home / name for key, name in names.items()}, workers=0)
    record = snakemake_state._record_file("metadata", "results/archives/mine/cases.parquet", folder=Path())
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"params": [repr(quote(archive.as_json()))]}))
    read = registry.load("datasets", "own_folder").read_cases
    looked = []
    monkeypatch.setattr(
        registry.load("datasets", "own_folder"), "read_cases", lambda *given: looked.append(1) or read(*given)
    )
    assert preflight.mistakes(config) == [] and not looked
    # another option, then a table that has changed since
    assert preflight.mistakes(study(folder, validation=0.3)) == [] and len(looked) == 1
    later = (home / "cases.parquet").stat().st_mtime + 10
    os.utime(folder / "cases.csv", (later, later))
    assert preflight.mistakes(config) == [] and len(looked) == 2


@pytest.mark.parametrize("name", registry.names("twins"))
def test_nothing_is_refused_of_a_twin(tmp_path, name, monkeypatch):
    twin = registry.load("twins", name)
    twin.make(tmp_path / name, cases=160, seed=1, size=32)
    kind = {"name": name, **getattr(twin, "OPTIONS", {})}  # an archive of one's own is named column by column
    for most in (10**9, 0):
        monkeypatch.setattr(table_checks, "LARGEST", most)
        monkeypatch.setattr(table_checks, "LARGEST_OF_SCANS", most)
        archive = Archive(name="mine", kind=kind, folder=str(tmp_path / name), rejects=0.05)
        # two of its official lists share a patient, which prepare refuses unless it is told not to
        archive = archive.model_copy(update={"patients_apart": name != "covid_ct"})
        assert table_checks.examined(archive, results=str(tmp_path)).mistakes == ()


@pytest.mark.skipif(not (SAMPLES / "chestxray14_64px").is_dir(), reason="the real samples are not there")
def test_nothing_is_refused_of_real_radiographs():
    archive = Archive(name="real", kind={"name": "chestxray14"}, folder=str(SAMPLES / "chestxray14_64px"))
    known = table_checks.examined(archive, results="nowhere")
    assert known.mistakes == () and set(known.counts["split"]) == {"train", "validation", "test"}


def test_a_table_that_lacks_a_column_is_told_of_large_archives_too(tmp_path, monkeypatch):
    folder = tmp_path / "nih"
    registry.load("twins", "chestxray14").make(folder, cases=48, seed=1, size=32)
    file = next(folder.glob("Data_Entry*.csv"))
    file.write_text(file.read_text().replace("Finding Labels", "Findings", 1))
    for most in (10**9, 0):
        monkeypatch.setattr(table_checks, "LARGEST", most)
        archive = Archive(name="mine", kind={"name": "chestxray14"}, folder=str(folder))
        (said,) = table_checks.examined(archive, results=str(tmp_path)).mistakes
        assert "has no column 'Finding Labels'" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "is an HTML page, not a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer"),
        (b"PK\x03\x04 and then nothing", "is corrupt or truncated"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_by_its_first_bytes(tmp_path, content, said):
    folder = folder_of(tmp_path, table())
    file = tmp_path / "weights.pth"
    file.write_bytes(content)
    (line,) = told(folder, sources={"theirs": {"weights": {"layout": "timm", "path": str(file)}}})
    assert line.startswith("sources.theirs.weights.path: ") and said in line and str(file) in line


def test_a_study_that_can_test_nothing_says_so(tmp_path, capsys):
    folder = folder_of(tmp_path, table())
    config = study(folder, labels=["Fracture"]).model_copy(
        update={"comparison": study(folder).comparison.model_copy(update={"fewest_positive": 10})}
    )
    preflight.check(config)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("headwater: note: datasets.mine: no label can be tested") and "Fracture, " in said[0]
    assert "in validation, too few to tell which step is best; raise archives.mine.validation" in said[1]


def test_the_patients_of_the_smaller_class_decide(tmp_path):
    config = study(folder_of(tmp_path, table()), labels=["Fracture"])
    row = {"positives": 9, "negatives": 9, "unknown": 0, "positive_patients": 9, "negative_patients": 9}
    rows = [{"label": "Fracture", "split": split, **row} for split in ("train", "validation", "test")]
    assert list(few_patients.notes(config, {"mine": pd.DataFrame(rows)})) == []
    rows[2]["negative_patients"] = 1
    (said,) = few_patients.notes(config, {"mine": pd.DataFrame(rows)})
    assert "the most has Fracture, 1" in said


@pytest.mark.parametrize(
    ("backbone", "size", "batch", "count"),
    [
        ("timm/resnet18", 32, 1, 1),
        ("timm/resnet18", 64, 1, 0),
        ("timm/resnet18", 32, 2, 0),
        ("timm/resnet50_gn", 32, 1, 0),
        ("timm/vit_tiny_patch16_224", 32, 1, 0),
    ],
)
def test_a_batch_without_variance_is_told(tmp_path, backbone, size, batch, count):
    config = study(folder_of(tmp_path, table()), size=size)
    sources = {
        name: source.model_copy(update={"backbone": backbone, "initialisation": None})
        for name, source in config.sources.items()
    }
    recipe = config.recipes["full"]
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"batch": batch})})
    said = preflight.mistakes(config.model_copy(update={"sources": sources, "recipes": {"full": recipe}}))
    assert len(said) == count
    assert all("recipes.full.training.batch: a batch of 1 image of 32 pixels" in line for line in said)
