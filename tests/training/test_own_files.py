"""A network asked about files of one's own says what it said of the same files in its grid."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import archives_made
from headwater import cli
from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data.tables import NUMBER
from headwater.evaluation.predictions import PREDICTIONS
from headwater.evaluation.validation_choices import SETTLED
from headwater.models.weight_files import load_weights, save_weights
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.study.archive import Archive, Dataset
from headwater.study.grid import Run
from headwater.study.paths import Paths
from headwater.study.recipe import Recipe
from headwater.study.source import Source
from headwater.training import own_files

LABELS = ("bright", "striped")
RUN = Run(
    dataset=Dataset(name="mine", archive="mine"),
    source=Source(name="random", backbone="timm/test_resnet"),
    recipe=Recipe(name="finetune", training={"steps": 3, "batch": 8}),
    seed=0,
)
TOLERANCE = 1e-6
"""Of log-odds; the numbers come from the same files by the same functions, but in other batches."""


def hospital(folder: Path) -> Path:
    """A folder of pictures in three formats, of odd proportions, with a table of their labels."""
    random, lines = np.random.default_rng(0), ["file,patient,split,bright,striped"]
    for number in range(36):
        bright, striped = number % 2, number // 2 % 2
        pixels = random.normal(90 + 80 * bright, 15, (40, 30 + number % 3)).clip(0, 255)
        pixels[::4] *= 1 - 0.7 * striped
        # twelve bits in PNG, and DICOM in sixteen
        name = f"{number:02}.{('png', 'dcm', 'jpg')[number % 3]}"
        if name.endswith("dcm"):
            archives_made.write_dicom(folder / name, (pixels * 16).astype(np.uint16))
        else:
            wide = pixels * 16 if name.endswith("png") else pixels
            archives_made.write_picture(folder / name, wide.astype(np.uint16 if name.endswith("png") else np.uint8))
        split = ("train", "train", "validation", "test")[number // 4 % 4]
        lines.append(f"{name},p{number},{split},{bright},{striped}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Paths]:
    """(folder of the pictures, paths of a study that has prepared them, fitted a network and tested it)."""
    return finished(tmp_path_factory.mktemp("study"), run=RUN)


def finished(place: Path, *, run: Run) -> tuple[Path, Paths]:
    """The same in a place of its own, of a run."""
    folder, paths = hospital(place / "hospital"), Paths(place / "results")
    options = {"table": "labels.csv", "bits": 12}
    archive = Archive(name="mine", kind=Choice(name="own_folder", options=options), folder=str(folder), size=32)
    products = {name: Path(getattr(paths, name)("mine")) for name in ("cases", "images", "hashes", "rejects", "labels")}
    prepare(archive=archive, **products, split=Path(paths.split("mine")), workers=0)
    read = {name: products[name] for name in ("cases", "images")}
    model = Path(paths.model(run.path))
    finetune(run=run, **read, model=model, fit=Path(paths.fit(run.path)), progress=place / "progress.pt", device="cpu")
    tested = {"predictions": [Path(paths.predictions(run.path))], "validation": [Path(paths.validation(run.path))]}
    predict(runs=[run], **read, models=[model], **tested, device="cpu")
    return folder, paths


def grid_of(paths: Paths) -> pd.Series:
    """The scores of the grid by file and label; the run has the same path whatever its view."""
    table = PREDICTIONS.read(Path(paths.predictions(RUN.path)))
    return table.set_index(["case", "label"])["score"]


def asked(images: Path, paths: Paths, **arguments: object) -> pd.DataFrame:
    return own_files.predicted(images, model=Path(paths.model(RUN.path)), device="cpu", **arguments)


def test_a_folder_is_predicted_as_in_the_grid(study):
    folder, paths = study
    said = asked(folder, paths)
    # the table of labels is no image
    assert len(said) == 36 * len(LABELS) and not said["reason"].notna().any()
    grid = grid_of(paths)
    assert {Path(case).suffix for case, _ in grid.index} == {".png", ".dcm", ".jpg"}
    own = said.set_index(["file", "label"]).loc[grid.index]
    np.testing.assert_allclose(own["score"], grid, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(own["probability"], expit(grid), rtol=0, atol=TOLERANCE)
    assert own["calibrated"].isna().all()


def test_a_network_that_sees_a_view_of_larger_pictures_is_given_such_ones(tmp_path):
    run = RUN.model_copy(update={"dataset": RUN.dataset.model_copy(update={"view": 24})})
    folder, paths = finished(tmp_path, run=run)
    metadata = load_weights(Path(paths.model(run.path)))[1]
    assert (metadata["size"], metadata["stored"]) == ("24", "32")
    grid = grid_of(paths)
    own = asked(folder, paths).set_index(["file", "label"]).loc[grid.index]
    np.testing.assert_allclose(own["score"], grid, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("suffix", [".png", ".dcm"])
def test_a_single_file_is_predicted_as_in_the_grid(study, suffix):
    folder, paths = study
    grid = grid_of(paths)
    case = next(case for case, _ in grid.index if case.endswith(suffix))
    said = asked(folder / case, paths)
    assert said["file"].tolist() == [case] * 2 and said["label"].tolist() == list(LABELS)
    np.testing.assert_allclose(said["score"], grid[case].loc[list(LABELS)], rtol=0, atol=TOLERANCE)


def test_probabilities_are_calibrated_by_the_temperature_that_the_study_chose(study, tmp_path):
    folder, paths = study
    results = tmp_path / "results"
    shutil.copytree(paths.results, results)
    numbers = dict.fromkeys([name for name, kind in SETTLED.columns.items() if kind == NUMBER], 0.5)
    whole = dict.fromkeys([name for name in SETTLED.columns if name not in numbers], 1)
    rows = [
        {**numbers, **whole, "dataset": "mine", "recipe": "finetune", "source": source, "seed": 0, "label": label}
        | {"temperature": temperature, "note": ""}
        for source, temperature in (("random", 2.5), ("other", 9.0))
        for label in LABELS
    ]
    SETTLED.write(SETTLED.frame(rows), Path(Paths(results).compared("mine", "settled")))
    said = asked(folder, Paths(results))
    np.testing.assert_allclose(said["calibrated"], expit(said["score"] / 2.5), rtol=0, atol=1e-12)


def test_a_bad_file_is_one_row_with_the_reason(study, tmp_path):
    folder, paths = study
    for name in ("00.png", "01.dcm"):
        shutil.copy(folder / name, tmp_path / name)
    (tmp_path / "cut.png").write_bytes((folder / "00.png").read_bytes()[:60])
    archives_made.write_picture(tmp_path / "empty.png", np.zeros((20, 20), np.uint8))
    said = asked(tmp_path, paths)
    assert said["file"].tolist() == ["00.png"] * 2 + ["01.dcm"] * 2 + ["cut.png", "empty.png"]
    assert said["reason"].isna().tolist() == [True] * 4 + [False] * 2
    assert "one value throughout" in said["reason"].iloc[-1]
    alone = asked(tmp_path / "cut.png", paths)
    assert len(alone) == 1 and alone["reason"].iloc[0] == said["reason"].iloc[-2]


def test_the_command_prints_csv_and_nothing_else(study, capsys, tmp_path):
    folder, paths = study
    run = str(Path(paths.run(RUN.path)))
    cli.main(["predict", str(folder / "00.png"), "--model", run, "--device", "cpu"])
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "file,label,score,probability,calibrated,reason"
    cli.main(["predict", str(folder / "00.png"), "--model", run, "--device", "cpu", "--out", str(tmp_path / "x.csv")])
    assert (tmp_path / "x.csv").read_text() == printed and capsys.readouterr().out == ""


def test_where_no_image_can_be_used_the_command_fails_after_its_table(study, capsys, tmp_path):
    _, paths = study
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for images, said in ((tmp_path / "broken.png", "cannot be used"), (tmp_path, "holds no image that can be used")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["predict", str(images), "--model", str(Path(paths.run(RUN.path))), "--device", "cpu"])
        printed = capsys.readouterr()
        assert ended.value.code == 2 and said in printed.err.splitlines()[-1] and "Traceback" not in printed.err
        assert printed.out.splitlines()[1].startswith("broken.png,")


def test_what_cannot_be_asked_is_refused(study, tmp_path):
    folder, paths = study
    model = Path(paths.model(RUN.path))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("nothing")
    for images, said in (("absent", "there is no such file or folder"), ("notes", "holds no image")):
        with pytest.raises(UserError, match=re.escape(said)):
            asked(tmp_path / images, paths)
    tensors, metadata = load_weights(model)
    save_weights(tensors, tmp_path / "old.safetensors", {k: v for k, v in metadata.items() if k != "preparation"})
    with pytest.raises(UserError, match="does not say how images are prepared"):
        own_files.predicted(folder, model=tmp_path / "old.safetensors", device="cpu")
    save_weights(tensors, tmp_path / "encoder.safetensors", {"backbone": "timm/test_resnet"})
    with pytest.raises(UserError, match="is an encoder"):
        own_files.predicted(folder, model=tmp_path / "encoder.safetensors", device="cpu")
    run = metadata | {"run": "wandb-run-7"}
    for name, changed in (("run", run), ("preparation", metadata | {"preparation": '{"crop": 3}'})):
        save_weights(tensors, tmp_path / f"{name}.safetensors", changed)
        with pytest.raises(UserError, match="was fitted by another version of headwater"):
            own_files.predicted(folder, model=tmp_path / f"{name}.safetensors", device="cpu")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "."], "is a folder"),
        (["--out", "absent/x.csv"], "there is no such folder"),
        (["--out", "x" * 250], "longer than 200 bytes"),
        (["--threads", "0"], "--threads is at least 1"),
        (["--workers", "-1"], "--workers at least 0"),
        (["--model", "notes.txt"], "is no model"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_read(study, tmp_path, monkeypatch, capsys, options, said):
    folder, paths = study
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("nothing")
    model = [] if "--model" in options else ["--model", str(Path(paths.run(RUN.path)))]
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(folder), *model, *options])
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and len(lines) == 1 and said in lines[0]
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_name_that_is_no_text_is_one_row_with_the_reason(study, tmp_path):
    folder, paths = study
    shutil.copy(folder / "00.png", tmp_path / "00.png")
    shutil.copy(folder / "00.png", os.fsdecode(bytes(tmp_path) + b"/M\xfcller.png"))
    said = asked(tmp_path, paths)
    assert said["file"].tolist() == ["00.png"] * 2 + ["M\\xfcller.png"]
    assert said["reason"].iloc[-1] == "its name is not UTF-8: rename it"
