"""A small grid that is tracked online, against a W&B server on the loopback that keeps what it is sent."""

import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import wandb_server
from headwater.core import files
from headwater.data.tables import MACRO
from headwater.stages.compare import compare
from headwater.stages.examine import examine
from headwater.stages.finetune import finetune
from headwater.stages.ledger import ledger
from headwater.stages.predict import predict
from headwater.stages.prepare import prepare
from headwater.stages.report import report
from headwater.study import config as study_config
from headwater.study import lineage, run_ids
from headwater.study.config import Config
from headwater.study.paths import Paths
from stages.test_patients_stay_at_home import SECRET, archive
from stages.test_patients_stay_at_home import config as config_of

pytest.importorskip("wandb", reason="wandb is an extra")
pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is in the extra wandb")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The server, which wandb is told to use, with nothing left of what it was told before."""
    import wandb

    wandb.teardown()
    with wandb_server.running() as listening:
        monkeypatch.setenv("WANDB_BASE_URL", listening.url)
        monkeypatch.setenv("WANDB_API_KEY", wandb_server.KEY)
        for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "settings"))
        monkeypatch.chdir(tmp_path)
        yield listening
        wandb.teardown()


def trained(study: Config) -> None:
    """Everything up to the runs' predictions."""
    grid, paths, tracking = study.grid(), Paths(study.results), run_ids.told(study)
    home = Path(paths.archive("ours"))
    tables = {name: home / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    both = {"cases": home / "cases.parquet", "images": home / "images.npy"}
    more = {"hashes": home / "hashes.npy", "split": home / "split.json"}
    prepare(archive=grid.archive("ours"), workers=0, images=both["images"], **tables, **more)
    ledger(
        overlaps=lineage.overlaps(grid), cases=[both["cases"]], hashes=[more["hashes"]],
        ledger=Path(paths.ledger()), readable=Path(paths.ledger("csv")),
    )  # fmt: skip
    for run in grid.runs("ours"):
        model = Path(paths.model(run.path))
        progress = Path(paths.progress_of(run.digest))
        finetune(run=run, **both, model=model, fit=Path(paths.fit(run.path)), progress=progress, tracking=tracking)
        written = {"predictions": [Path(paths.predictions(run.path))], "validation": [Path(paths.validation(run.path))]}
        predict(runs=[run], **both, models=[model], **written)


def compared(study: Config) -> None:
    """Comparison and report."""
    grid, paths, tracking = study.grid(), Paths(study.results), run_ids.told(study)
    runs = list(grid.runs("ours"))
    predictions = [Path(paths.predictions(run.path)) for run in runs]
    labels, cases = Path(paths.labels("ours")), Path(paths.cases("ours"))
    names = {"comparisons": "", **{name: name for name in ("curves", "values", "replicates", "provenance")}}
    products = {name: Path(paths.compared("ours", table)) for name, table in names.items()}
    shared = {"comparison": grid.comparison("ours"), "predictions": predictions, "labels": labels}
    compare(**shared, **products, tracking=tracking)
    names = ("calibration", "reliability", "thresholds", "subgroups", "settled")
    products = {name: Path(paths.compared("ours", name)) for name in names}
    validation = [Path(paths.validation(run.path)) for run in runs]
    provenance = Path(paths.compared("ours", "examined"))
    examine(**shared, cases=cases, validation=validation, provenance=provenance, **products)
    report(grid=grid, results=Path(study.results), folder=Path(paths.report()), tracking=tracking)


def expected(study: Config, source: str) -> dict[str, float]:
    """What significance.csv says of a source."""
    table = pd.read_csv(Paths(study.results).table("significance"))
    found = {}
    for side, prefix in (("source", "value"), ("reference", "reference")):
        for row in table[table[side] == source].to_dict("records"):
            name = f"source/{row['metric']}/{row['label']}"
            value = row["value" if prefix == "value" else "reference_value"]
            found |= {name: value, f"{name}/low": row[f"{prefix}_low"], f"{name}/high": row[f"{prefix}_high"]}
    return {name: value for name, value in found.items() if value == value}


def in_tensorboard(folder: Path, name: str) -> list[float]:
    """The values of a curve of a run in its event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [event.value for event in EventAccumulator(str(folder / "tensorboard")).Reload().Scalars(name)]


def nothing_of_the_machine(server, *, folder: Path) -> None:
    """Nothing of this machine or of its user was sent."""
    everything = server.everything()
    # short names are parts of words, and `root` is one of style sheets
    names = (socket.gethostname(), getpass.getuser())
    hidden = [form.format(name) for name in names for form in ('"{}"', "/{}/", "{}@", "@{}", ": {}\n")]
    for secret in (str(folder), "pytest-of", str(Path(__file__).parents[2]), *hidden):
        at = everything.find(secret.encode())
        assert at < 0, everything[max(0, at - 100) : at + 100]


def nothing_private(server, study: Config, *, folder: Path) -> None:
    """Nothing of a patient, of this machine or of its user was sent."""
    nothing_of_the_machine(server, folder=folder)
    everything = server.everything()
    assert not SECRET.search(everything.decode("latin-1"))
    images = np.load(Paths(study.results).images("ours"))
    assert not [number for number, image in enumerate(images) if image.tobytes()[:256] in everything]


@pytest.mark.slow
def test_a_grid_that_is_tracked_online_sends_results_and_nothing_of_patients_or_the_machine(tmp_path, server):
    content = config_of(archive(tmp_path / "QUILLFEATHER_MRN77"))
    # the archive's terms allow tables only, which is not what this test is about: preflight is not asked here
    content |= {"tracking": {"wandb": "online", "project": "p"}, "results": "results/small"}
    study = study_config.load(content)
    grid, paths, tracking = study.grid(), Paths(study.results), run_ids.told(study)
    trained(study)
    compared(study)

    runs = list(grid.runs("ours"))
    fits = {run.path: files.read_record(Path(paths.fit(run.path))) for run in runs}
    ids = {run.path: run_ids.of_training(run, tracking=tracking, content=fits[run.path]["identity"]) for run in runs}
    of_study = run_ids.of_study(tracking)
    assert set(server.runs) == {*ids.values(), of_study}
    values = pd.read_parquet(paths.compared("ours", "values"))
    for run in runs:
        sent, summary = server.run(ids[run.path]), server.summary(ids[run.path])
        told = expected(study, run.source.name)
        assert f"source/auroc/{MACRO}" in told
        assert {name: summary[name] for name in told} == pytest.approx(told, rel=1e-12)
        own = values[(values["source"] == run.source.name) & (values["seed"] == run.seed)]
        for row in own.to_dict("records"):
            assert summary[f"test/{row['metric']}/{row['label']}"] == pytest.approx(row["value"], rel=1e-12)
            # TensorBoard keeps values in single precision
            [shown] = in_tensorboard(Path(paths.run(run.path)), f"test/{row['metric']}/{row['label']}")
            assert shown == pytest.approx(row["value"], rel=1e-6)
        assert (summary["kept/step"], summary["kept/score"]) == (fits[run.path]["kept_step"], fits[run.path]["score"])
        parts = {name: sent["config"][name]["value"] for name in ("study", "dataset", "source", "recipe", "seed")}
        assert list(parts.values()) == ["small", "ours", run.source.name, "finetune", run.seed]
        assert set(sent["tags"]) == {"small", "ours", run.source.name, "finetune", str(run.seed)}
        assert sent["config"]["machine"]["value"] == "cpu" and sent["displayName"] == run.path
        last = server.history(ids[run.path])[-1]
        assert last["machine/images_per_second"] > 0 and last["machine/memory_gib"] > 0

    shown = server.summary(of_study)
    assert {"tables/significance", "tables/macro", "tables/price", "tables/test_values", "page"} <= shown.keys()
    assert any(name.startswith("figures/forest") for name in shown) and "figures/roc_ours" in shown
    table = json.loads(server.files[f"{of_study}/{shown['tables/significance']['path']}"])
    differences = pd.DataFrame(table["data"], columns=table["columns"])
    said = pd.read_csv(paths.table("significance"))
    assert list(differences["source"]) == list(said["source"])
    assert differences["difference"].astype(float).to_numpy() == pytest.approx(said["difference"], nan_ok=True)
    assert shown["process_hours"] > 0 and server.run(of_study)["config"]["plan"]["value"]["seeds"] == [0, 1]

    nothing_private(server, study, folder=tmp_path)
    assert not server.artifacts, "none was asked for"
    assert not server.unknown

    before = {name: (server.summary(name), len(server.history(name))) for name in ids.values()}
    compared(study)
    assert set(server.runs) == {*ids.values(), of_study}
    for name, (summary, points) in before.items():
        again = server.summary(name)
        kept = [key for key in summary if not key.startswith("_")]
        assert {key: again[key] for key in kept} == {key: summary[key] for key in kept}
        assert len(server.history(name)) == points
