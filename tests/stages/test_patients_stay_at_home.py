"""Names, numbers and dates of patients stay in the files that are meant to hold them, and reach no page and no log."""

import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import write_dicom
from headwater.data import integrity
from headwater.planning.overview import overview
from headwater.planning.status import status
from headwater.reporting import prose
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.stages.finetune import finetune
from headwater.stages.ledger import ledger
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.stages.report import report
from headwater.study import config as study_config
from headwater.study import lineage
from headwater.study.grid import Grid
from headwater.study.tracking import Tracking

SECRET = re.compile(r"QUILLFEATHER|MRN77|1961-05|196105", re.IGNORECASE)
"""Names, numbers and dates of every patient of the archive, and of its folders, files, tables and headers."""

PRIVATE = {
    "archives/ours/cases.parquet",
    "archives/ours/rejects.parquet",
    "ledger.parquet",
    *(
        f"runs/ours/{source}/finetune/seed{seed}/{name}.parquet"
        for source in ("random", "other")
        for seed in (0, 1)
        for name in ("predictions", "validation")
    ),
}
"""The files of a study that may name cases and patients: those that docs/reference/files.md calls private."""

TABLE = "QUILLFEATHER_export_1961-05-04.csv"
BACKBONE = "timm/test_resnet"
LENGTH = {"steps": 2, "batch": 16, "lr": 1e-3, "validations": 1}


def archive(folder: Path) -> Path:
    """Pictures of 60 patients whose names, numbers and dates of birth stand wherever there is a place for them."""
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        mrn, name = f"MRN77{number:03d}", f"QUILLFEATHER{number}"
        file = folder / f"{name}_1961-05-04" / f"{mrn}_19610504.{'dcm' if number % 3 == 0 else 'png'}"
        file.parent.mkdir(parents=True)
        finding = random.random() < 0.5
        pixels = (random.normal(90, 25, (24, 24)) + 60 * finding).clip(0, 255).astype(np.uint8)
        if file.suffix == ".dcm":
            write_dicom(file, pixels, PatientName=name, PatientID=mrn, PatientBirthDate="19610504")
        else:
            Image.fromarray(pixels).save(file)
        split = ("train", "train", "validation", "test", "train")[number % 5]
        rows.append((file.relative_to(folder), mrn, name, "1961-05-04", split, "FM"[number % 2], 60, int(finding)))
    damaged(folder, [row[0] for row in rows])
    columns = ["path", "MRN", "name", "born", "split", "sex", "age", "Fracture"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / TABLE, index=False)
    return folder


def damaged(folder: Path, files: list[Path]) -> None:
    """Some of the pictures are gone, cut off, or no pictures at all."""
    (folder / files[1]).unlink()
    (folder / files[2]).unlink()
    (folder / files[4]).write_bytes(b"QUILLFEATHER is no picture")
    content = (folder / files[6]).read_bytes()
    (folder / files[6]).write_bytes(content[:-200])


def grid(folder: Path) -> Grid:
    """Two sources with random starts on the archive."""
    return study_config.load(config(folder)).grid()


def config(folder: Path) -> dict[str, Any]:
    """The config of that grid."""
    options = {"table": TABLE, "file": "path", "patient": "MRN", "labels": ["Fracture"]}
    kind = {"name": "own_folder", **options}
    return {
        "archives": {"ours": {"kind": kind, "folder": str(folder), "size": 32, "rejects": 0.2}},
        "sources": {"random": {"backbone": BACKBONE}, "other": {"backbone": BACKBONE}},
        "datasets": {"ours": {"archive": "ours"}},
        "recipes": {"finetune": {"training": LENGTH}},
        "seeds": [0, 1],
        "comparison": {"reference": "random", "resamples": 1000, "fewest_positive": 2},
        "compute": {"device": "cpu"},
    }


def run(laid_out: Grid, results: Path, *, tracking: Tracking) -> None:
    """Every verb of the study, from the pictures to the report."""
    home = results / "archives" / "ours"
    tables = {name: home / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    both = {"cases": home / "cases.parquet", "images": home / "images.npy"}
    ours = laid_out.archive("ours")
    prepare(
        archive=ours, workers=0, **tables, images=both["images"], hashes=home / "hashes.npy", split=home / "split.json"
    )
    ledger(
        overlaps=lineage.overlaps(laid_out), cases=[both["cases"]], hashes=[home / "hashes.npy"],
        ledger=results / "ledger.parquet", readable=results / "ledger.csv",
    )  # fmt: skip
    files = []
    for one in laid_out.runs("ours"):
        place = results / "runs" / one.path
        # a dashboard takes seconds to start, and all tell the same
        tracked = tracking if not files else Tracking()
        progress = results / "progress" / f"{one.digest}.pt"
        finetune(
            run=one, **both, model=place / "model.safetensors", fit=place / "fit.json", progress=progress,
            tracking=tracked,
        )  # fmt: skip
        files.append(place / "predictions.parquet")
        validation = place / "validation.parquet"
        predict(
            runs=[one], **both, models=[place / "model.safetensors"], predictions=[files[-1]], validation=[validation]
        )
    compared = results / "comparisons"
    names = {"comparisons": "", **{name: f".{name}" for name in ("curves", "values", "replicates", "provenance")}}
    products = {name: compared / f"ours{suffix}.parquet" for name, suffix in names.items()}
    compare(comparison=laid_out.comparison("ours"), predictions=files, labels=tables["labels"], **products)
    names = ("calibration", "reliability", "thresholds", "subgroups", "settled")
    examined = {name: compared / f"ours.{name}.parquet" for name in names}
    examine(
        comparison=laid_out.comparison("ours"), predictions=files, cases=both["cases"], labels=tables["labels"],
        validation=[file.with_name("validation.parquet") for file in files],
        provenance=compared / "ours.examined.parquet", **examined,
    )  # fmt: skip
    report(grid=laid_out, results=results, folder=results / "report")


def content(file: Path) -> str:
    """All that a file holds, as text: of a table its cells and its columns, of others their bytes."""
    told = file.read_bytes().decode("latin-1")
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as held:
            told += "".join(held.read(name).decode("latin-1") for name in held.namelist())
    return told + pd.read_parquet(file).to_csv() if file.suffix == ".parquet" else told


@pytest.mark.slow
def test_no_patient_is_named_outside_the_private_files(tmp_path, monkeypatch, capfd):
    folder = archive(tmp_path / "QUILLFEATHER_MRN77")
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    # what the environment says cannot put a study online that its config keeps here
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(sys, "argv", ["finetune.py", "--note", "QUILLFEATHER"])
    for library in ("mlflow", "wandb"):
        pytest.importorskip(library, reason=f"{library} is an extra")
    results = Path("results")
    tracking = Tracking(wandb="offline", mlflow="offline", clearml="offline", study=str(results))
    run(grid(folder), results, tracking=tracking)
    with pytest.raises(SystemExit):
        integrity.doctor(
            "own_folder", folder, workers=0, page=results / "doctor.html",
            options=json.dumps(grid(folder).archive("ours").kind.options),
        )  # fmt: skip
    Path("config.json").write_text(json.dumps(config(folder)))
    overview(Path("config.json"))
    status(Path("config.json"), html=results / "status.html")
    said = "".join(capfd.readouterr())
    files = [file for file in results.rglob("*") if file.is_file() and not file.is_symlink()]
    naming = {str(file.relative_to(results)) for file in files if SECRET.search(content(file))}
    # nothing overlaps here, so that the ledger has no example to name
    assert naming == PRIVATE - {"ledger.parquet"}
    assert not [file for file in files if SECRET.search(str(file.relative_to(results)))]
    assert not SECRET.search(said), SECRET.findall(said)
    # what was searched is there: a page, the curves of all trackers, and the kinds of what cannot be read
    names = {file.name for file in files}
    pages = {"index.html", "doctor.html", "status.html"}
    assert pages | {"provenance.json", "metrics.csv", "ledger.csv", "summary.txt", "mlflow.db", "clearml.zip"} <= names
    assert [file for file in files if file.suffix == ".wandb" and "offline-run" in str(file)]
    page = (results / "report" / "index.html").read_text()
    assert "Unreadable images: 4: is not there (2); " in page and "ours: rejected: is not there (2)" in said


def test_rejects_of_an_earlier_version_are_counted_without_their_names():
    reasons = ["/data/QUILLFEATHER/a.png: is not there; fetch it", "MRN77/b.png: is cut off; fetch it again"]
    rejects = pd.DataFrame({"case": ["a", "b"], "file": ["a.png", "b.png"], "reason": reasons})
    assert prose.unreadable(rejects) == "2: cannot be read (2)"
