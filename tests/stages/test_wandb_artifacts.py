"""Encoders and the report's files at Weights & Biases, with what made and what used them, where the config asks."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import wandb_server
from headwater.core.errors import UserError
from headwater.models.weight_files import save_weights
from headwater.reporting import crate
from headwater.reporting.dashboards import making, study_run, test_values
from headwater.reporting.dashboards.sync import sync
from headwater.stages.finetune import finetune
from headwater.stages.pretrain import pretrain
from headwater.study import config as study_config
from headwater.study import run_ids
from headwater.study.config import Config
from headwater.study.paths import Paths, history
from headwater.training import wandb_artifacts, wandb_session
from prepared_made import archive
from stages.test_wandb_online import nothing_of_the_machine, server  # noqa: F401

pytest.importorskip("wandb", reason="wandb is an extra")

SHORT = {"steps": 2, "batch": 16}
RUN = "made/after/finetune/seed0"


def study(wandb: str, **tracking) -> Config:
    """One pre-training, one that goes on from it, and a fine-tuning of the latter."""
    learned = {"method": "supervised", "corpus": "made", "training": SHORT, "backbone": "timm/test_resnet"}
    return study_config.load({
        "results": "results/mine",
        "archives": {"made": {"kind": "chestxray14", "folder": "made", "size": 32}},
        "sources": {"zlast": learned, "after": {**learned, "start": "zlast"}},
        "datasets": {"made": {"archive": "made", "labels": ["stripes"]}},
        "recipes": {"finetune": {"training": {**SHORT, "validations": 1}}},
        "seeds": [0],
        "comparison": {"reference": "zlast"},
        "tracking": {"wandb": wandb, "project": "p", **tracking},
    })  # fmt: skip


def trained(config: Config) -> dict[str, str]:
    """Train it, and give the id of each training by its name."""
    grid, paths, tracking = config.grid(), Paths(config.results), run_ids.told(config)
    made = archive(Path("made"))
    both = {"cases": made.cases, "images": made.images}
    for name in ("zlast", "after"):
        encoder, source = Path(paths.encoder(name)), grid.source(name)
        start = Path(paths.encoder(source.start)) if source.start else None
        pretrain(
            source=source, size=[32], **both, rows=made.rows, encoder=encoder, history=Path(history(str(encoder))),
            progress=Path(f"{name}.pt"), start=start, tracking=tracking,
        )  # fmt: skip
    run = next(run for run in grid.runs("made") if run.source.name == "after")
    finetune(
        run=run, **both, encoder=Path(paths.encoder("after")), model=Path(paths.model(run.path)),
        fit=Path(paths.fit(run.path)), progress=Path("run.pt"), tracking=tracking,
    )  # fmt: skip
    return making.finished(config, tracking=tracking)


def held(listening: wandb_server.Server) -> dict[str, tuple[list[str], list[str]]]:
    """(runs that made it, runs that used it) of each artifact."""
    return {one["is"][0]: (one["made"], one["used"]) for one in listening.artifacts.values()}


@pytest.mark.slow
@pytest.mark.parametrize("wandb", ["online", "offline"])
def test_an_encoder_is_kept_once_with_what_made_it_and_what_started_from_it(tmp_path, server, wandb):  # noqa: F811
    config = study(wandb, artifacts=["encoders"])
    ids = trained(config)
    # its test values, with which an offline run is written anew
    folder = Path(Paths(config.results).run(RUN))
    test_values.add([folder], rows=[], values=[], tracking=run_ids.told(config))
    if wandb == "offline":
        assert not server.requests
        Path("config.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json(exclude_unset=True))))
        sync(Path("config.yaml"))
    assert set(server.runs) == set(ids.values())
    assert held(server) == {"mine-zlast": ([ids["zlast"]], [ids["after"]]), "mine-after": ([ids["after"]], [ids[RUN]])}
    for name in ("zlast", "after"):
        encoder = Path(Paths(config.results).encoder(name)).read_bytes()
        assert [content for content in server.files.values() if content == encoder]
    assert not server.unknown
    nothing_of_the_machine(server, folder=tmp_path)


@pytest.mark.slow
def test_the_report_is_kept_where_asked_with_the_encoders_that_it_is_about(tmp_path, server):  # noqa: F811
    config = study("online", artifacts=["encoders", "report"])
    paths, tracking = Paths(config.results), run_ids.told(config)
    ids = trained(config)
    report = Path(paths.report())
    report.mkdir(parents=True)
    for name in ("significance.csv", "index.html", "summary.txt"):
        (report / name).write_text(f"this is {name}")
    listed = [{"@type": "File", "name": name} for name in ("significance.csv", "index.html")]
    (report / crate.NAME).write_text(json.dumps({"@graph": [{"@type": "Dataset", "name": "x"}, *listed]}))
    session = wandb_session.begin(report, named=study_run.named(tracking), config={}, tracking=tracking)
    study_run.keep_files(session, config.grid(), paths=paths, report=report, tracking=tracking)
    session.close()
    of_study = run_ids.of_study(tracking)
    assert held(server) == {
        "mine-zlast": ([ids["zlast"]], [ids["after"], of_study]),
        "mine-after": ([ids["after"]], [ids[RUN], of_study]),
        "mine-report": ([of_study], []),
    }
    sent = {content.decode() for content in server.files.values() if content.startswith(b"this is")}
    assert sent == {"this is significance.csv", "this is index.html"}
    nothing_of_the_machine(server, folder=tmp_path)


def test_weights_that_others_published_and_folders_of_this_machine_are_not_told(tmp_path, capsys):
    tracking = run_ids.told(study("offline", artifacts=["encoders", "report"]))
    published = {"source": json.dumps({"name": "imagenet", "method": None}), "digest": "d"}
    save_weights({"weight": torch.zeros(1)}, tmp_path / "encoder.safetensors", published)
    assert wandb_artifacts.encoder(tmp_path / "encoder.safetensors", tracking=tracking) is None
    assert not capsys.readouterr().err
    assert wandb_artifacts.encoder(tmp_path / "gone.safetensors", tracking=tracking) is None
    assert "is no longer there" in capsys.readouterr().err
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((tmp_path / "encoder.safetensors").read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="has changed since headwater wrote it"):
        wandb_artifacts.encoder(damaged, tracking=tracking)
    damaged.write_bytes(b"no weights")
    with pytest.raises(UserError, match="missing, corrupt or truncated"):
        wandb_artifacts.encoder(damaged, tracking=tracking)
    with pytest.raises(UserError, match="its folder would be told to Weights & Biases"):
        wandb_artifacts.report([tmp_path / "encoder.safetensors"], tracking=tracking)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"results": "/scratch/me/study"}, r"would be told the folder /scratch/me/study; link it \(ln -s /scratch/me"),
        ({"results": "~/study"}, "would be told the folder ~/study"),
        ({"results": "../study"}, r"would be told the folder \.\./study"),
        ({"tracking": {"aggregates_only": True}}, "aggregates_only lets no encoder leave; remove encoders"),
    ],
)
def test_what_must_not_leave_is_refused_in_the_config(content, message):
    asked = study("offline", artifacts=["encoders"]).model_dump(exclude_unset=True)
    tracking = {**asked["tracking"], **content.pop("tracking", {})}
    with pytest.raises(UserError, match=message):
        study_config.load(json.loads(json.dumps({**asked, **content, "tracking": tracking}, default=str)))
