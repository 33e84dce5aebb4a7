"""A pre-training that collapses is stopped while it runs, and a healthy one is not."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import prepared_made
from headwater import backbones, plugins, prepared
from headwater.backbones._encoder import restore
from headwater.engine import checkpoint, distributed
from headwater.engine.loop import Learner
from headwater.engine.views import as_float
from headwater.grid import Source
from headwater.pretrain import pretrain
from headwater.refusals import Refusal
from headwater.watched import Watch, evenly

ALONE = distributed.World(rank=0, size=1, device=torch.device("cpu"))


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
    return checkpoint.load_weights(folder / "e.safetensors")


def curve(folder, name):
    metrics = pd.read_csv(folder / "history" / "metrics.csv")
    return metrics.loc[metrics["name"] == name].set_index("step")["value"].astype(float)


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
    module = plugins.load("methods", "supervised")
    monkeypatch.setattr(module, "learner", lambda encoder, **_: Constant(encoder))


def test_a_healthy_training_goes_on_and_its_curves_and_its_encoder_tell_so(tmp_path, made):
    tensors, metadata = trained(tmp_path, source(), made)
    for name in ("spread", "rank"):
        assert curve(tmp_path, f"features/{name}").index.tolist() == [10, 20, 30, 40, 50, 60]
        assert float(metadata[name]) == pytest.approx(curve(tmp_path, f"features/{name}")[60], rel=1e-5)
    assert curve(tmp_path, "features/spread").min() > 0.05 and curve(tmp_path, "features/rank").min() > 1.1
    encoder, _ = restore(tensors, metadata, name="timm/test_resnet", size=32, file="e")
    corpus = prepared.read(made.cases, images=made.images)
    looked_at = Watch(source=source(), images=corpus.images, rows=corpus.rows("train"), world=ALONE).features(encoder)
    assert looked_at["spread"] == pytest.approx(float(metadata["spread"]), rel=1e-5)


def test_looking_changes_nothing_of_what_is_learned(tmp_path, made):
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    one, _ = trained(often, source(training={"steps": 6}), made)
    other, _ = trained(seldom, source(training={"steps": 6, "validations": 1}), made)
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())
    assert len(curve(often, "features/spread")) == 6 and len(curve(seldom, "features/spread")) == 1


def test_a_collapse_is_stopped_in_one_line_and_leaves_no_encoder(tmp_path, made, collapsing):
    said = r"^source 'made' collapsed: at step \d+ the spread of .* is \S+, below 0\.01: .*; lower lr.*spread$"
    wanted = source(backbone="timm/test_vit", training={"steps": 400, "validations": 40, "lr": 1e-3})
    with pytest.raises(Refusal, match=said) as refusal:
        trained(tmp_path, wanted, made)
    step = int(str(refusal.value).partition("at step ")[2].partition(" ")[0])
    spreads = curve(tmp_path, "features/spread")
    assert spreads.index[-1] == step < 400 and spreads.iloc[-1] < 0.01 < spreads.iloc[:-1].min()
    assert not list(tmp_path.rglob("*.safetensors"))


def test_floors_are_the_users(tmp_path, made):
    with pytest.raises(Refusal, match=r"at step 10 the rank of its features is .*, below 50"):
        trained(tmp_path / "rank", source(collapse={"rank": 50}), made)
    with pytest.raises(Refusal, match=r"at step 10 the spread of its features is .*, below 30"):
        trained(tmp_path / "spread", source(collapse={"spread": 30}), made)
    assert source(collapse={"spread": 0.01}).digest == source().digest != source(collapse={"spread": 0.1}).digest


def test_what_is_no_number_is_a_collapse_and_one_image_is_none():
    images = np.zeros((1, 1, 32, 32), dtype=np.uint8)
    told = {"features/spread": float("nan"), "features/rank": float("nan")}
    Watch(source=source(), images=images, rows=np.arange(1), world=ALONE).refuse_collapse(3, told)
    with pytest.raises(Refusal, match="at step 3 the spread of its features is nan"):
        Watch(source=source(), images=images, rows=np.arange(2), world=ALONE).refuse_collapse(3, told)


def test_some_rows_are_spread_evenly():
    assert evenly(np.arange(5), most=9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(np.arange(10, 21), most=3).tolist() == [10, 15, 20]


def test_untrained_networks_are_far_above_the_floor(made):
    images = prepared.read(made.cases, images=made.images).images
    for backbone in ("timm/test_resnet", "timm/test_vit", "timm/test_convnext"):
        encoder = backbones.build(backbone, size=32, mean=(0.5,), std=(0.25,), seed=1)
        watch = Watch(source=source(), images=images, rows=np.arange(len(images)), world=ALONE)
        assert watch.features(encoder)["spread"] > 5 * watch.source.collapse.spread
