"""A pre-training that collapses is stopped while it runs, and a healthy one is not."""

import dataclasses
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import prepared_made
import rounding
import warm
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.fingerprints import sha256
from headwater.data import store, tables
from headwater.data.dropping import DROPPED
from headwater.data.store import CASES
from headwater.models import backbones, weight_files
from headwater.models.encoder import restore
from headwater.stages.pretrain import pretrain
from headwater.study.paths import seconds_of_training
from headwater.study.recipe import Views
from headwater.study.source import Probe, Source
from headwater.training import ddp, fitting, pretraining
from headwater.training.collapse_monitor import CollapseMonitor, evenly, probe_set
from headwater.training.feature_probe import GRID
from headwater.training.feature_spread import lidar
from headwater.training.loop import Learner
from headwater.training.methods import supervised
from headwater.training.views import draws
from headwater.training.views.pictures import as_float

ALONE = ddp.World(rank=0, size=1, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepared_made.archive(tmp_path_factory.mktemp("made"))


def source(**changes):
    training = {"steps": 60, "batch": 16, "lr": 3e-3, "validations": 6, **changes.pop("training", {})}
    options = {"name": "supervised"}
    return Source(
        **{"name": "made", "backbone": "timm/test_resnet", "method": options, "corpus": "made", "training": training}
        | changes
    )


def trained(folder, wanted, made, **files):
    pretrain(
        source=wanted,
        size=32,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        encoder=folder / "e.safetensors",
        history=folder / "history",
        progress=folder / "progress.pt",
        **files,
    )
    return weight_files.load_weights(folder / "e.safetensors")


def curve(folder, name):
    metrics = pd.read_csv(folder / "history" / "metrics.csv")
    return metrics.loc[metrics["name"] == name].set_index("step")["value"].astype(float)


FIGURES = {"spread", "rank", "uniformity", "alignment", "lidar"}


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("supervised", "timm/test_resnet"),
        ("simclr", "timm/test_resnet"),
        ("moco", "timm/test_resnet"),
        ("byol", "timm/test_resnet"),
        ("swav", "timm/test_resnet"),
        ("dino", "timm/test_vit"),
        ("ibot", "timm/test_vit"),
        ("ijepa", "timm/test_vit"),
        ("mae", "timm/test_vit"),
        ("simmim", "timm/test_vit"),
        ("spark", "timm/test_resnet"),
    ],
)
def test_figures_of_views_are_those_of_the_views_that_the_method_makes(tmp_path, made, method, backbone):
    size = {"size": 64} if method in ("simmim", "spark") else {}
    made = prepared_made.archive(tmp_path / "made", **size) if size else made
    wanted = source(method=method, backbone=backbone, views={"crop": 0.5, "flip": 0.5}, training={"steps": 2})
    corpus = store.read(made.cases, images=made.images)
    rows = corpus.rows("train")
    first = pretraining.first_weights(wanted, size=corpus.size, start=None)
    learner = pretraining.learner_of(wanted, corpus, rows, encoder=first)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    watch = CollapseMonitor(source=wanted, images=corpus.images, rows=rows, world=ALONE)
    told = watch.quality(learner)
    assert told.keys() == FIGURES and np.isfinite(list(told.values())).all() and told["alignment"] > 1e-4
    # nothing of the training is touched: weights, statistics of BatchNorm, torch's random state, modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state) and learner.training and learner.encoder.training
    # by hand: two calls of the method's own views, of which the first are as large as they come
    at_once = 1 if method in ("supervised", "ijepa", "mae", "simmim", "spark") else 2
    features, cases = [], torch.from_numpy(rows)
    learner.encoder.eval()
    with torch.no_grad():
        for call in range(10 // at_once):
            keys = draws.keys(seed=wanted.seed, epochs=torch.full_like(cases, -1 - call), cases=cases)
            seen = learner.views(torch.from_numpy(corpus.images[rows]), keys)
            features += [learner.encoder(view) for view in seen[:at_once]]
    views = torch.stack(features, dim=1).double()
    unit = F.normalize(views, dim=2)
    pairs = [(unit[:, one] - unit[:, other]).pow(2).sum(dim=1).mean() for one in range(10) for other in range(one)]
    assert told["alignment"] == pytest.approx(float(sum(pairs) / len(pairs)), rel=1e-3)
    assert told["lidar"] == pytest.approx(lidar(views.numpy()), rel=1e-3)


def test_views_that_are_all_alike_are_left_out_with_a_word(tmp_path, made, capsys):
    trained(tmp_path, source(training={"steps": 2}), made)
    assert "supervised: `views` changes nothing, so alignment and LiDAR" in capsys.readouterr().err
    record = json.loads((tmp_path / "history" / "features.json").read_text())
    assert record["features"].keys() == {"spread", "rank", "uniformity"} and record["views"] == 0
    assert curve(tmp_path, "features/alignment").empty


def test_the_log_tells_how_it_stands_and_how_it_ended(tmp_path, made, other, capsys):
    wanted = choosing(lr=2e-2).model_copy(update={"views": Views(flip=0.5, crop=0.5)})
    chosen(tmp_path, wanted, made, other)
    *_, progress, end = capsys.readouterr().err.splitlines()
    figures = ("spread", "rank", "uniformity", "alignment", "lidar")
    assert progress.startswith("training: 36 of 36 in ")
    for name in ("loss", *(f"features {name}" for name in figures), "probe auroc"):
        value = curve(tmp_path, name.replace(" ", "/") if name != "loss" else "training/loss").iloc[-6:]
        assert f"{name} {(value.mean() if name == 'loss' else value.iloc[-1]):.3g}, " in progress
    step = json.loads((tmp_path / "history" / "features.json").read_text())["step"]
    best = curve(tmp_path, "probe/auroc").max()
    assert end.startswith(
        f"made: step {step} of 36 is kept, with the best AUROC ({best:.3g}, knn on other); its features"
    )
    assert all(f"{name} {curve(tmp_path, f'features/{name}')[step]:.3g}" in end for name in figures)
    assert re.search(r"; training loss at the end \S+; \d+ % of the time waiting for images$", end)


def test_the_record_beside_the_encoder_has_the_figures_of_its_step(tmp_path, made, other):
    wanted = choosing(lr=2e-2).model_copy(update={"views": Views(flip=0.5, crop=0.5)})
    _, metadata = chosen(tmp_path, wanted, made, other)
    record = json.loads((tmp_path / "history" / "features.json").read_text())
    step = json.loads(metadata["probe"])["step"]
    assert record["step"] == step and record["source"] == wanted.digest and record["views"] == 10
    assert record["features"].keys() == FIGURES
    for name, value in record["features"].items():
        assert value == pytest.approx(curve(tmp_path, f"features/{name}")[step], rel=1e-5)
    assert "lidar" not in metadata and metadata["rank"] == f"{record['features']['rank']:.6g}"


class Constant(Learner):
    """Learns to give every image the same answer, as a method without its safeguards does."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def views(self, images, keys):
        return [as_float(images)]

    def forward(self, views, targets):
        return 100 * F.normalize(self.encoder(views[0]), dim=1).var(dim=0, correction=0).sum()


@pytest.fixture
def collapsing(monkeypatch):
    module = registry.load("methods", "supervised")
    monkeypatch.setattr(module, "learner", lambda encoder, **_: Constant(encoder))


def test_a_healthy_training_goes_on_and_its_curves_and_its_encoder_tell_so(tmp_path, made):
    tensors, metadata = trained(tmp_path, source(), made)
    for name in ("spread", "rank"):
        assert curve(tmp_path, f"features/{name}").index.tolist() == [10, 20, 30, 40, 50, 60]
        assert float(metadata[name]) == pytest.approx(curve(tmp_path, f"features/{name}")[60], rel=1e-5)
    assert curve(tmp_path, "features/spread").min() > 0.05 and curve(tmp_path, "features/rank").min() > 1.1
    encoder, _ = restore(tensors, metadata, name="timm/test_resnet", size=32, file="e")
    corpus = store.read(made.cases, images=made.images)
    looked_at = CollapseMonitor(source=source(), images=corpus.images, rows=corpus.rows("train"), world=ALONE).features(
        encoder
    )
    assert looked_at["spread"] == pytest.approx(float(metadata["spread"]), rel=1e-5)


def test_looking_changes_nothing_of_what_is_learned(tmp_path, made):
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    one, _ = trained(often, source(training={"steps": 6}), made)
    other, _ = trained(seldom, source(training={"steps": 6, "validations": 1}), made)
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert len(curve(often, "features/spread")) == 6 and len(curve(seldom, "features/spread")) == 1


def test_a_collapse_is_stopped_in_one_line_and_leaves_no_encoder(tmp_path, made, collapsing):
    said = r"^source 'made' collapsed: at step \d+ the spread of .* is \S+, below 0\.01, .*; lower lr.*spread$"
    wanted = source(backbone="timm/test_vit", training={"steps": 400, "validations": 40, "lr": 1e-3})
    with pytest.raises(UserError, match=said) as refusal:
        trained(tmp_path, wanted, made)
    step = int(str(refusal.value).partition("at step ")[2].partition(" ")[0])
    spreads = curve(tmp_path, "features/spread")
    assert spreads.index[-1] == step < 400 and spreads.iloc[-1] < 0.01 < spreads.iloc[:-1].min()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_floors_are_the_users(tmp_path, made):
    with pytest.raises(UserError, match=r"at step 10 the rank of its features is .*, below 50"):
        trained(tmp_path / "rank", source(collapse={"rank": 50}), made)
    with pytest.raises(UserError, match=r"at step 10 the spread of its features is .*, below 30"):
        trained(tmp_path / "spread", source(collapse={"spread": 30}), made)
    assert source(collapse={"spread": 0.01}).digest == source().digest != source(collapse={"spread": 0.1}).digest


def test_what_is_no_number_is_a_collapse_and_one_image_is_none():
    images = np.zeros((1, 1, 32, 32), dtype=np.uint8)
    told = {"features/spread": float("nan"), "features/rank": float("nan")}
    CollapseMonitor(source=source(), images=images, rows=np.arange(1), world=ALONE).refuse_collapse(3, told)
    with pytest.raises(UserError, match="at step 3 the spread of its features is nan"):
        CollapseMonitor(source=source(), images=images, rows=np.arange(2), world=ALONE).refuse_collapse(3, told)


def test_some_rows_are_spread_evenly():
    assert evenly(np.arange(5), most=9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(np.arange(10, 21), most=3).tolist() == [10, 15, 20]


def test_untrained_networks_are_far_above_the_floor(made):
    images = store.read(made.cases, images=made.images).images
    for backbone in ("timm/test_resnet", "timm/test_vit", "timm/test_convnext"):
        encoder = backbones.build(backbone, size=32, mean=(0.5,), std=(0.25,), seed=1)
        watch = CollapseMonitor(source=source(), images=images, rows=np.arange(len(images)), world=ALONE)
        assert watch.features(encoder)["spread"] > 5 * watch.source.collapse.spread


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The archive of the probe, with some labels unknown."""
    return prepared_made.archive(tmp_path_factory.mktemp("other"), cases=90, seed=5, unknown=0.1)


def choosing(**changes):
    return source(probe={"archive": "other", "neighbours": 5}, training={"steps": 36, **changes})


def chosen(folder, wanted, made, other):
    return trained(folder, wanted, made, probe_cases=[other.cases], probe_images=[other.images])


@pytest.mark.parametrize("kind", ["knn", "linear_probe"])
def test_the_kept_encoder_is_that_of_the_step_with_the_best_probe(tmp_path, made, other, kind):
    wanted = choosing(lr=2e-2).model_copy(update={"probe": Probe(archive="other", kind=kind, neighbours=5)})
    tensors, metadata = chosen(tmp_path, wanted, made, other)
    aurocs = curve(tmp_path, "probe/auroc")
    assert aurocs.index.tolist() == [6, 12, 18, 24, 30, 36]
    said = json.loads(metadata["probe"])
    best = {"archive": "other", "kind": kind, "auroc": aurocs.max(), "step": int(aurocs.idxmax()), "of": 36}
    assert said == best and said["step"] < 36
    encoder, _ = restore(tensors, metadata, name="timm/test_resnet", size=32, file="e")
    data = store.read(other.cases, images=other.images)
    watch = CollapseMonitor(
        source=wanted,
        images=data.images,
        rows=np.arange(2),
        world=ALONE,
        probed={"probe": probe_set(wanted.probe, data, file=other.cases)},
    )
    assert watch.probe(encoder)["auroc"] == pytest.approx(aurocs.max(), abs=1e-6)
    assert json.loads((tmp_path / "history" / "features.json").read_text())["probe"] == {"auroc": aurocs.max()}
    assert float(metadata["spread"]) == pytest.approx(curve(tmp_path, "features/spread")[said["step"]], rel=1e-5)
    assert json.loads(metadata["origin"])["probe"] != json.loads(metadata["origin"])["cases"]


def test_the_penalty_is_chosen_without_the_validation_split_and_recorded(tmp_path, made, other):
    probe = {"archive": "other", "kind": "linear_probe", "inverse_penalty": "chosen"}
    wanted = choosing(lr=2e-2).model_copy(update={"probe": Probe(**probe)})
    _, metadata = chosen(tmp_path, wanted, made, other)
    penalties = curve(tmp_path, "probe/inverse_penalty")
    assert set(penalties) <= set(GRID) and len(penalties) == 6
    record = json.loads((tmp_path / "history" / "features.json").read_text())
    assert record["probe"] == {
        "auroc": curve(tmp_path, "probe/auroc")[record["step"]],
        "inverse_penalty": penalties[record["step"]],
    }
    assert json.loads(metadata["probe"])["step"] == record["step"]
    # other labels in the validation split choose another step, perhaps, but no other penalty
    frame = CASES.read(other.cases)
    labels = [name for name in frame if name.startswith(tables.TARGET)]
    frame.loc[frame["split"] == "validation", labels] = 1 - frame.loc[frame["split"] == "validation", labels]
    turned = dataclasses.replace(other, cases=tmp_path / "cases.parquet")
    CASES.write(frame, turned.cases)
    chosen(tmp_path / "turned", wanted, made, turned)
    assert curve(tmp_path / "turned", "probe/inverse_penalty").equals(penalties)
    np.testing.assert_allclose(
        curve(tmp_path / "turned", "probe/auroc"), 1 - curve(tmp_path, "probe/auroc"), **rounding.NEAR
    )


def test_further_probes_are_told_and_recorded_and_choose_nothing(tmp_path, made, other):
    third = prepared_made.archive(tmp_path / "third", cases=80, seed=9)
    further = (Probe(archive="other", kind="linear_probe"), Probe(archive="third", neighbours=3, labels=("stripes",)))
    alone = choosing(lr=2e-2)
    wanted = alone.model_copy(update={"further_probes": further})
    assert list(wanted.probes) == ["probe", "further_probes.0", "further_probes.1"]
    _, of_one = chosen(tmp_path / "alone", alone, made, other)
    archives = [other, other, third]
    files = {"probe_cases": [one.cases for one in archives], "probe_images": [one.images for one in archives]}
    _, metadata = trained(tmp_path, wanted, made, **files)
    assert metadata["probe"] == of_one["probe"] and metadata["digest"] != of_one["digest"]
    assert curve(tmp_path, "probe/auroc").equals(curve(tmp_path / "alone", "probe/auroc"))
    record = json.loads((tmp_path / "history" / "features.json").read_text())
    names = {"auroc", "auroc/other/linear_probe", "auroc/third/knn"}
    assert record["probe"] == {name: curve(tmp_path, f"probe/{name}")[record["step"]] for name in names}
    # each is what it is where it chooses
    as_chooser = wanted.model_copy(update={"probe": further[1], "further_probes": ()})
    chosen(tmp_path / "chooser", as_chooser, made, third)
    assert curve(tmp_path / "chooser", "probe/auroc").equals(curve(tmp_path, "probe/auroc/third/knn"))
    origin = json.loads(metadata["origin"])
    assert origin["probe"] == origin["further_probes.0"] == sha256(other.cases)
    assert origin["further_probes.1"] == sha256(third.cases)
    # lists of cases to leave out, one of each archive
    cases = CASES.read(other.cases)
    some = cases.loc[cases["split"] == "validation", ["case", "split"]].iloc[:4].assign(kinds="identical", tests="x")
    lists = [tmp_path / f"dropped{number}.parquet" for number in range(3)]
    for number, path in enumerate(lists):
        DROPPED.write(some if number == 0 else some.iloc[:0], path)
    _, left = trained(tmp_path / "dropped", wanted, made, **files, probe_dropped=lists)
    named = json.loads(left["origin"])
    assert named["probe_dropped"] == sha256(lists[0]) != named["further_probes.1_dropped"] == sha256(lists[2])
    paths = pretraining.Files(cases=made.cases, images=made.images, rows=made.rows, **files, probe_dropped=lists)
    read = pretraining.probe_sets_of(wanted, paths, size=32)
    assert len(read["probe"].validation) == len(read["further_probes.0"].validation) - 4
    assert curve(tmp_path / "dropped", "probe/auroc/third/knn").equals(curve(tmp_path, "probe/auroc/third/knn"))
    # without one that chooses, the last step is kept
    watching = wanted.model_copy(update={"probe": None, "further_probes": further[1:]})
    _, last = chosen(tmp_path / "watching", watching, made, third)
    assert "probe" not in last
    assert json.loads((tmp_path / "watching" / "history" / "features.json").read_text())["step"] == 36
    with pytest.raises(UserError, match="source 'made' has 3 probes; give 3 of each of --probe-cases, --probe-images"):
        chosen(tmp_path / "few", wanted, made, other)


def test_patients_are_on_one_side_where_the_penalty_is_chosen(other):
    data = store.read(other.cases, images=other.images)
    probed = probe_set(Probe(archive="other"), data, file=other.cases)
    patients = data.cases["patient"].to_numpy()[probed.training]
    held, kept = set(patients[probed.held]), set(patients[~probed.held])
    assert len(held) == len(held | kept) // 5 and not held & kept
    # one label of both classes in the split, but of one class among those held out
    frame = data.cases.copy()
    labels = [name for name in frame if name.startswith(tables.TARGET)]
    frame.loc[frame["patient"].isin(held), labels] = 0.0
    poor = store.Prepared(cases=frame, images=data.images)
    asked = Probe(archive="other", kind="linear_probe", inverse_penalty="chosen")
    with pytest.raises(UserError, match=r"no label has both classes among the \d+ images held out"):
        probe_set(asked, poor, file="cases")
    probe_set(asked.model_copy(update={"inverse_penalty": 1.0}), poor, file="cases")


def test_the_probe_changes_no_step_and_never_reads_a_test_image_or_label(tmp_path, made, other):
    chosen(tmp_path / "with", choosing(), made, other)
    trained(tmp_path / "without", choosing().model_copy(update={"probe": None}), made)
    losses = [curve(tmp_path / name, "training/loss").tolist() for name in ("with", "without")]
    assert losses[0] == losses[1] and len(losses[0]) == 36

    frame, images = CASES.read(other.cases), np.load(other.images)
    test = (frame["split"] == "test").to_numpy()
    frame.loc[test, [name for name in frame if name.startswith(tables.TARGET)]] = 0.0
    images[test] = 255
    spoilt = prepared_made.Made(
        cases=tmp_path / "cases.parquet", images=tmp_path / "images.npy", rows=tmp_path / "rows.parquet"
    )
    CASES.write(frame, spoilt.cases)
    prepared_made.replace_images(spoilt, images)
    chosen(tmp_path / "spoilt", choosing(), made, spoilt)
    assert test.any() and curve(tmp_path / "spoilt", "probe/auroc").equals(curve(tmp_path / "with", "probe/auroc"))


class Stopped(fitting.Fitting):
    """Hears a signal after a step."""

    at: int

    def after_step(self, *, step, steps):
        super().after_step(step=step, steps=steps)
        if step + 1 == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory, made, other):
    """The folder of a training with a probe that ran to its end."""
    folder = tmp_path_factory.mktemp("never_stopped")
    chosen(folder, choosing(lr=2e-2), made, other)
    return folder


@pytest.mark.parametrize("at", [7, 24, 29])
def test_stopped_anywhere_it_chooses_the_same_step_and_writes_the_same_bytes(
    tmp_path, made, other, monkeypatch, never_stopped, at
):
    with monkeypatch.context() as patched:
        Stopped.at = at
        patched.setattr(supervised.fitting, "Fitting", Stopped)
        with pytest.raises(SystemExit):
            chosen(tmp_path / "stopped", choosing(lr=2e-2), made, other)
    chosen(tmp_path / "stopped", choosing(lr=2e-2), made, other)
    for file in ("e.safetensors", "history/metrics.csv"):
        assert (never_stopped / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


def test_the_progress_of_other_cases_of_the_probe_is_left_aside(tmp_path, made, other, capsys):
    chosen(tmp_path, choosing(), made, other)
    again = prepared_made.archive(tmp_path / "again", cases=90, seed=6)
    chosen(tmp_path, choosing(), made, again)
    assert "belongs to another training" in capsys.readouterr().err


def test_what_cannot_choose_is_refused(tmp_path, made, other):
    with pytest.raises(UserError, match="source 'made' has a probe; give --probe-cases"):
        trained(tmp_path, choosing(), made)
    with pytest.raises(UserError, match="source 'made' has no probe"):
        chosen(tmp_path, source(), made, other)
    data = store.read(other.cases, images=other.images)
    with pytest.raises(UserError, match="has no label 'stripe'; did you mean 'stripes'"):
        probe_set(Probe(archive="other", labels=("stripe",)), data, file="cases")
    blind = store.Prepared(cases=data.cases[data.cases["split"] != "validation"], images=data.images)
    with pytest.raises(UserError, match="no label has both classes in the train and in the validation split"):
        probe_set(Probe(archive="other"), blind, file="cases")
    large = prepared_made.archive(tmp_path / "large", size=64)
    with pytest.raises(UserError, match="has images of 64 pixels, not 32"):
        chosen(tmp_path, choosing(), made, large)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [False, True])
@rounding.in_float64()
def test_two_ranks_choose_as_one_does(tmp_path, made, other, fsdp):
    wanted = choosing(optimiser="sgd", lr=1e-3).model_copy(update={"views": Views(flip=0.5, crop=0.5)})
    if fsdp:
        wanted = wanted.model_copy(update={"backbone": "timm/test_vit"})
    (tmp_path / "one").mkdir()
    chosen(tmp_path / "one", wanted, made, other)
    words = ["--source", wanted.as_json(), "--size", 32, "--cases", made.cases, "--images", made.images]
    words += ["--rows", made.rows, "--encoder", tmp_path / "e.safetensors", "--history", tmp_path / "history"]
    words += ["--progress", tmp_path / "progress.pt", "--probe-cases", other.cases, "--probe-images", other.images]
    words += ["--fsdp"] * fsdp
    launch = [warm.python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--"]
    door = Path(__file__).parents[2] / "scripts" / "pretrain.py"
    done = subprocess.run([*launch, rounding.__file__, door, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("probe/auroc", *(f"features/{name}" for name in FIGURES)):
        np.testing.assert_allclose(curve(tmp_path, name), curve(tmp_path / "one", name), **rounding.NEAR)
    spent = json.loads(seconds_of_training(tmp_path / "history").read_text())
    assert spent["ranks"] == 2 and spent.get("fsdp", False) is fsdp
    one, two = (weight_files.load_weights(folder / "e.safetensors")[0] for folder in (tmp_path / "one", tmp_path))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, **rounding.NEAR)
