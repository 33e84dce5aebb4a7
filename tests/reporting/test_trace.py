"""A number is followed back through real products, and every changed file is detected."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import timm
import torch

import prepared_made
from headwater.core import fingerprints
from headwater.core.command_line import door
from headwater.data.index import LABELS, label_counts
from headwater.data.leakage import LEDGER
from headwater.data.store import CASES, REJECTS
from headwater.models.weight_files import load_weights, save_weights
from headwater.reporting.trace import whence
from headwater.stages.adopt import adopt
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.pretrain import pretrain
from headwater.stages.report import report
from headwater.study.grid import Grid
from headwater.study.source import Source

BACKBONE = "timm/test_resnet"
LENGTH = {"steps": 3, "batch": 16, "lr": 1e-3, "validations": 1}


def laid_out() -> Grid:
    """Weights drawn, published, and pre-trained from the published ones; two seeds on one dataset."""
    start = {"method": "supervised", "corpus": "made", "start": "published", "training": {"steps": 2, "batch": 16}}
    return Grid(
        archives=({"name": "made", "kind": "chestxray14", "size": 32},),
        reductions={"everything": "everything"},
        sources=(
            {"name": "random", "backbone": BACKBONE},
            {"name": "published", "backbone": BACKBONE, "weights": {"layout": "timm", "path": "published.pth"}},
            {"name": "onwards", "backbone": BACKBONE, **start},
        ),
        datasets=({"name": "chest", "archive": "made"},),
        recipes=({"name": "finetune", "training": LENGTH},),
        seeds=(0, 1),
        comparing={"reference": "random", "resamples": 200, "fewest_positive": 2},
    )


def _encoder(source: Source, made: prepared_made.Made, results: Path) -> Path | None:
    file = results / "encoders" / f"{source.name}.safetensors"
    if source.kind == "adopted":
        adopt(source=source, size=32, encoder=file, coverage=file.with_suffix(".coverage.json"))
    elif source.kind == "pretrained":
        pretrain(
            source=source, size=32, cases=made.cases, images=made.images, rows=made.rows, encoder=file,
            history=results / "history", progress=results / "progress" / "p.pt",
            start=file.with_name(f"{source.start}.safetensors"),
        )  # fmt: skip
    return file if source.kind != "random" else None


def _run(run, made: prepared_made.Made, results: Path, encoder: Path | None) -> Path:
    folder = results / "runs" / run.path
    finetune(
        run=run, cases=made.cases, images=made.images, encoder=encoder, model=folder / "model.safetensors",
        fit=folder / "fit.json", progress=results / "progress" / "r.pt",
    )  # fmt: skip
    predictions = folder / "predictions.parquet"
    predict(
        runs=[run], cases=made.cases, images=made.images, models=[folder / "model.safetensors"],
        predictions=[predictions], validation=[folder / "validation.parquet"],
    )  # fmt: skip
    return predictions


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which a study was run: results/ and the checkpoint beside it."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        torch.manual_seed(1)
        torch.save(timm.create_model("test_resnet", num_classes=0).state_dict(), "published.pth")
        results, grid = Path("results"), laid_out()
        made = prepared_made.archive(results / "archives" / "made")
        corpora = results / "corpora" / "made" / "everything.parquet"
        corpora.parent.mkdir(parents=True)
        made = prepared_made.Made(made.cases, made.images, made.rows.rename(corpora))
        encoders = {source.name: _encoder(source, made, results) for source in grid.sources}
        files = [_run(run, made, results, encoders[run.source.name]) for run in grid.runs("chest")]
        _reported(grid, files, made, results)
    return folder


def _reported(grid: Grid, files: list[Path], made: prepared_made.Made, results: Path) -> None:
    labels, rejects, ledger = (
        made.cases.with_name("labels.parquet"), made.cases.with_name("rejects.parquet"), results / "ledger.parquet"
    )  # fmt: skip
    LABELS.write(label_counts(CASES.read(made.cases)), labels)
    for file, table in ((rejects, REJECTS), (ledger, LEDGER)):
        table.write(table.frame([]), file)
    products = {"comparisons": "", "curves": ".curves", "values": ".values", "replicates": ".replicates"}
    products |= {"provenance": ".provenance"}
    made_by = {name: results / "comparisons" / f"chest{suffix}.parquet" for name, suffix in products.items()}
    compare(comparison=grid.comparison("chest"), predictions=files, labels=labels, **made_by)
    names = ("calibration", "reliability", "thresholds", "subgroups", "settled", "provenance")
    examined = {name: results / "comparisons" / f"chest.{name}.parquet" for name in names}
    examined["provenance"] = results / "comparisons" / "chest.examined.parquet"
    validation = [file.with_name("validation.parquet") for file in files]
    given = {"predictions": files, "validation": validation, "labels": labels, "cases": made.cases}
    examine(comparison=grid.comparison("chest"), **given, **examined)
    report(grid=grid, results=results, folder=results / "report")


@pytest.fixture
def untouched(finished, monkeypatch):
    """The study itself; its folder is the one at hand."""
    monkeypatch.chdir(finished)
    return Path("results")


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    """A copy of the study, to be tampered with; it is the folder at hand."""
    shutil.copytree(finished, tmp_path / "study")
    monkeypatch.chdir(tmp_path / "study")
    return Path("results")


def asked(capsys, *arguments: str) -> tuple[int, str]:
    """(exit code, what is printed) of the command."""
    capsys.readouterr()
    try:
        door(whence, [*arguments])
        code = 0
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    return code, printed.out + printed.err


SIGNIFICANCE = "results/report/significance.csv"
OF_ONWARDS = (SIGNIFICANCE, "macro", "onwards")


def changed(file: Path, at: float = 0.5) -> None:
    """One bit of a file turned."""
    content = bytearray(file.read_bytes())
    content[int(len(content) * at)] ^= 1
    file.write_bytes(content)


def test_the_whole_chain_is_told_and_holds(untouched, capsys):
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 0 and "CHANGED" not in said and "gone" not in said and "not recorded" not in said
    for file in ("comparisons/chest.parquet", "archives/made/cases.parquet", "encoders/onwards.safetensors"):
        assert re.search(rf"results/{file}: [0-9a-f]{{12}} as recorded", said), file
    for seed in (0, 1):
        for source in ("random", "onwards"):
            folder = f"results/runs/chest/{source}/finetune/seed{seed}"
            shown = fingerprints.sha256(Path(folder) / "model.safetensors")[:12]
            assert f"{folder}/model.safetensors: {shown} as recorded" in said
    assert "pre-trained: supervised on made (everything, 36 images)" in said
    assert "published.pth: " + fingerprints.sha256(Path("published.pth"))[:12] + " as recorded" in said
    assert "100 % of the network loaded" in said and "licence: differs from model to model" in said
    assert "kept by validation auroc" in said and "first weights drawn under" in said
    # the source that is not in the row has no runs in it
    assert "runs/chest/published" not in said


@pytest.mark.parametrize(
    "file",
    [
        "runs/chest/onwards/finetune/seed1/predictions.parquet",
        "runs/chest/random/finetune/seed0/model.safetensors",
        "archives/made/cases.parquet",
        "corpora/made/everything.parquet",
        "encoders/onwards.safetensors",
        "encoders/published.safetensors",
        "comparisons/chest.parquet",
        "report/significance.csv",
        "../published.pth",
    ],
)
def test_one_changed_bit_is_found_and_its_file_named(study, capsys, file):
    # near the end are numbers, and in none of these files what tells how to read it
    changed(study / file, at=0.97 if file.endswith(("csv", "pth", "safetensors")) else 0.02)
    code, said = asked(capsys, *OF_ONWARDS)
    name = "published.pth" if file.startswith("..") else f"results/{file}"
    assert code == 1 and said.splitlines()[-1] == f"CHANGED SINCE: {name}"
    assert re.search(rf"{re.escape(name)}.*: [0-9a-f]{{12}} CHANGED SINCE|row 2: [0-9a-f]{{12}} CHANGED SINCE", said)


def test_an_image_that_has_changed_is_found(study, capsys):
    file = study / "archives" / "made" / "images.npy"
    changed(file, at=0.5)
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 1 and said.splitlines()[-1] == "CHANGED SINCE: results/archives/made/images.npy"
    assert "images.npy: CHANGED SINCE (an image has changed since it was prepared)" in said


def test_a_patient_in_another_split_is_found(study, capsys):
    file = study / "archives" / "made" / "cases.parquet"
    cases = CASES.read(file)
    moved = cases["split"].mask(cases["patient"] == cases["patient"].iloc[0], "test")
    CASES.write(cases.assign(split=moved), file)
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 1 and re.search(r"splits: [0-9a-f]{12} CHANGED SINCE", said)


def test_an_exchanged_record_of_a_fit_is_found(study, capsys):
    one, other = (study / "runs/chest/onwards/finetune" / seed / "fit.json" for seed in ("seed0", "seed1"))
    shutil.copy(one, other)
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 1 and said.splitlines()[-1] == f"CHANGED SINCE: {other}"


def test_what_is_gone_is_told_and_is_no_change(study, capsys):
    gone = [
        study / "runs/chest/onwards/finetune/seed1/model.safetensors",
        study / "encoders/published.safetensors",
        study / "archives/made/cases.parquet",
    ]
    for file in gone:
        file.unlink()
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 0 and "gone: " in said.splitlines()[-1]
    for file in gone:
        assert str(file) in said.splitlines()[-1]


def test_other_rows_tables_and_names_are_followed_too(untouched, capsys):
    assert "random against" not in asked(capsys, SIGNIFICANCE, "macro", "random")[1].splitlines()[1]
    code, said = asked(capsys, SIGNIFICANCE, "1")
    assert code == 0 and "significance.csv, row 1" in said and "runs/chest/onwards" not in said
    for table in ("macro", "labelwise_chest"):
        code, said = asked(capsys, f"results/report/{table}.csv", "1")
        assert code == 0 and all(f"runs/chest/{source}/" in said for source in ("random", "published", "onwards"))
    name = "chest.auroc.finetune.macro.published"
    code, said = asked(capsys, "results/report/numbers", f"{name}.value")
    number = json.loads((untouched / "report" / "numbers.json").read_text())[f"{name}.value"]
    assert code == 0 and repr(number) in said and "runs/chest/random" not in said
    code, said = asked(capsys, "results/report/numbers.json", f"{name}.vs.random.difference")
    assert code == 0 and "runs/chest/random" in said and "runs/chest/onwards" not in said


def test_a_config_that_lays_out_another_grid_is_told(study, capsys):
    config = Path("config.yaml")
    text = Path(prepared_made.__file__).parents[1].joinpath("config", "config.yaml").read_text()
    config.write_text(text.replace("results/demo", "results"))
    code, said = asked(capsys, "significance", "2", "--config", str(config))
    assert code == 1 and said.splitlines()[-1] == f"CHANGED SINCE: {config}"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((SIGNIFICANCE, "macro"), "3 rows have the words macro; choose one: 1 (chest, auroc, finetune, macro: random)"),
        ((SIGNIFICANCE, "macro", "onward"), "no row has the words macro onward; did you mean 'onwards'?"),
        ((SIGNIFICANCE, "99"), "has no row 99; give one from 1 to 12"),
        ((SIGNIFICANCE,), "ROW is missing; --help lists the arguments"),
        (("results/report/significant", "1"), "there is no such table; did you mean 'significance'?"),
        (("nowhere/significance.csv", "1"), "give the path of a table, or its name and --config"),
        (("results/report/characteristics.csv", "1"), "has no rows that come from runs"),
        (("results/report/numbers", "seeds"), "is a count over the whole study"),
        (("results/report/numbers", "chest.auroc.finetune.macro.patient"), "did you mean"),
    ],
)
def test_what_cannot_be_followed_is_refused(untouched, capsys, arguments, said):
    code, printed = asked(capsys, *arguments)
    assert code == 2 and said in printed and printed.startswith("headwater whence: ")


def test_an_old_report_is_refused_with_the_remedy(study, capsys):
    (study / "report" / "provenance.json").unlink()
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 2 and "run snakemake again" in said


@pytest.mark.parametrize(
    "asking", [OF_ONWARDS, ("results/report/numbers", "chest.auroc.finetune.macro.published.value")]
)
def test_runs_that_the_record_lacks_are_missed_wherever_it_was_cut_off(study, capsys, asking):
    file = study / "report" / "provenance.csv"
    whole, told = file.read_bytes(), asked(capsys, *asking)
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    refused = []
    for kept in (0, 20, *ends[:: len(ends) // 3], ends[-2] + 30):
        file.write_bytes(whole[:kept])
        code, said = asked(capsys, *asking)
        refused.append(code)
        # what was cut off may be of other numbers
        assert (code, said) == told or (code == 2 and "provenance.csv: " in said and said.count("\n") == 1), said
    assert told[0] == 0 and refused[:3] == [2, 2, 2]
    file.write_bytes(whole[: ends[0]])
    assert "lacks runs of" in (said := asked(capsys, *asking)[1])
    assert said.endswith("delete the folder of the report and run snakemake again\n")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("report/provenance.json", None),
        ("report/provenance.json", {"cases": 3}),
        ("report/provenance.json", {"tables": []}),
        ("report/provenance.json", {"grid": "x"}),
        ("report/numbers.json", None),
        ("report/numbers.json", []),
        ("runs/chest/published/finetune/seed0/fit.json", None),
        ("runs/chest/published/finetune/seed0/fit.json", 3),
        ("runs/chest/published/finetune/seed0/fit.json", {"encoder": 3}),
        ("runs/chest/published/finetune/seed0/fit.json", {"score": "high"}),
    ],
)
def test_odd_records_are_refused_with_what_to_do(study, capsys, file, content):
    whole = (study / file).read_text()
    changed = json.loads(whole) | content if isinstance(content, dict) else content
    (study / file).write_text(whole[: len(whole) // 2] if content is None else json.dumps(changed))
    code, said = asked(capsys, "results/report/numbers", "chest.auroc.finetune.macro.published.value")
    assert code == 2 and f"results/{file}: " in said and said.count("\n") == 1, said
    assert re.search(
        r"; (delete .* (makes it again|run snakemake again)|run snakemake again: another version .*)$", said
    )


@pytest.mark.parametrize(
    "told", [{"coverage": "3"}, {"origin": "[1]"}, {"coverage": '{"share": "x"}', "origin": '{"file": 3}'}]
)
def test_odd_metadata_of_an_encoder_are_a_change_of_its_file(study, capsys, told):
    file = study / "encoders" / "published.safetensors"
    tensors, metadata = load_weights(file)
    save_weights(tensors, file, metadata | told)
    code, said = asked(capsys, SIGNIFICANCE, "macro", "published")
    assert code == 1 and "CHANGED SINCE: results/encoders/published.safetensors" in said


def test_products_from_before_are_told_as_not_recorded(study, capsys):
    file = study / "report" / "provenance.csv"
    old = pd.read_csv(file, dtype=str).assign(**dict.fromkeys(("model", "encoder", "split"), fingerprints.NOT_RECORDED))
    old.to_csv(file, index=False)
    for fit in (study / "runs").rglob("fit.json"):
        told = json.loads(fit.read_text())
        fit.write_text(json.dumps({name: told[name] for name in told if name not in ("model", "split", "cases")}))
    code, said = asked(capsys, *OF_ONWARDS)
    assert code == 0 and "CHANGED" not in said
    assert re.search(r"seed0/model\.safetensors: [0-9a-f]{12} not recorded", said)


def test_what_is_no_comparison_is_followed_to_its_own_file(untouched, capsys):
    code, told = asked(capsys, "results/report/calibration.csv", "macro", "raw", "onwards")
    assert code == 0
    assert "brier" in told
    assert "comparisons/chest.calibration.parquet" in told
    assert "runs/chest/onwards/finetune/seed1/predictions.parquet" in told
    assert "runs/chest/onwards/finetune/seed1/validation.parquet" in told
    assert "runs/chest/random" not in told
