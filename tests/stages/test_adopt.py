import hashlib
import json

import pytest
import timm
import torch

import rounding
from headwater.core.command_line import door
from headwater.core.errors import UserError
from headwater.models import backbones, weight_files
from headwater.models.encoder import restore
from headwater.models.weights import timm as timm_layout
from headwater.stages.adopt import adopt
from headwater.study.source import Source


def source(path="", *, backbone="timm/test_resnet", layout="timm", coverage=0.95, **options):
    weights = {"layout": {"name": layout, **options}, "path": str(path), "coverage": coverage}
    return Source(name="published", backbone=backbone, weights=weights)


def published(path, network, *, prefix="", head=True):
    tensors = {prefix + key: tensor for key, tensor in network.state_dict().items()}
    if head:
        tensors[f"{prefix}fc.weight"] = torch.zeros(5, 3)
    torch.save({"state_dict": tensors, "epoch": 3}, path)
    return path


def adopted(tmp_path, wanted, *, size=32):
    """(encoder, report) that adopt writes."""
    adopt(source=wanted, size=size, encoder=tmp_path / "e.safetensors", coverage=tmp_path / "c.json")
    tensors, metadata = weight_files.load_weights(tmp_path / "e.safetensors")
    encoder, _ = restore(tensors, metadata, name=wanted.backbone, size=size, file="e")
    return encoder.eval(), json.loads((tmp_path / "c.json").read_text())


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=0).eval()


def test_a_whole_checkpoint_gives_the_same_features(tmp_path, network, capsys):
    encoder, report = adopted(tmp_path, source(published(tmp_path / "x.pth", network)))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        normalised = (images - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
        assert torch.equal(encoder(images), network(normalised))
    assert report["share"] == 1
    content = (tmp_path / "x.pth").read_bytes()
    origin = report["origin"]
    assert origin["sha256"] == hashlib.sha256(content).hexdigest() and origin["file"] == str(tmp_path / "x.pth")
    assert origin["title"] == timm_layout.CARD.title and origin["licence"] == timm_layout.CARD.licence
    assert json.loads(weight_files.load_weights(tmp_path / "e.safetensors")[1]["origin"]) == origin
    assert list(report["dropped"]) == ["fc.weight"]
    assert "fresh head" in report["dropped"]["fc.weight"]
    printed = capsys.readouterr().out
    assert "coverage 100 %" in printed and "dropped" in printed


def test_a_wrong_prefix_covers_nothing_and_says_the_right_one(tmp_path, network, capsys):
    wanted = source(published(tmp_path / "x.pth", network, prefix="model."))
    arguments = ["--source", wanted.as_json(), "--size", "32"]
    arguments += ["--encoder", str(tmp_path / "e.safetensors"), "--coverage", str(tmp_path / "c.json")]
    with pytest.raises(SystemExit) as stopped:
        door(adopt, arguments)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    tensors = len([key for key in network.state_dict() if not key.endswith("num_batches_tracked")])
    assert f"coverage 0 % (0 of {tensors} tensors) is below 95 %" in printed.err
    assert "set prefix: model." in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert "unexpected" in printed.out
    assert not (tmp_path / "e.safetensors").exists()
    assert json.loads((tmp_path / "c.json").read_text())["share"] == 0


def test_the_right_prefix_covers_all(tmp_path, network):
    path = published(tmp_path / "x.pth", network, prefix="model.")
    encoder, report = adopted(tmp_path, source(path, prefix="model."))
    assert report["share"] == 1
    assert len(report["renamed"]) == report["tensors"]["loaded"]
    assert all(torch.equal(encoder.tensors()[key], tensor) for key, tensor in network.state_dict().items())


def test_what_stayed_random_is_named_in_the_file(tmp_path, network):
    tensors = network.state_dict()
    gone = tensors.pop("bn1.weight")
    torch.save(tensors, tmp_path / "x.pth")
    _, report = adopted(tmp_path, source(tmp_path / "x.pth"))
    assert report["missing"] == ["bn1.weight"]
    assert report["parameters"]["expected"] - report["parameters"]["loaded"] == gone.numel()
    _, metadata = weight_files.load_weights(tmp_path / "e.safetensors")
    assert json.loads(metadata["coverage"])["unfilled"] == ["bn1.weight"]
    with pytest.raises(UserError, match="is below 100 %"):
        adopted(tmp_path, source(tmp_path / "x.pth", coverage=1))


def test_nothing_is_too_little_even_where_nothing_is_demanded(tmp_path, network):
    path = published(tmp_path / "x.pth", network, prefix="model.")
    with pytest.raises(UserError, match="coverage 0 %"):
        adopted(tmp_path, source(path, coverage=0))


def test_another_network_does_not_fit(tmp_path, network):
    with pytest.raises(UserError, match="check backbone"):
        adopted(tmp_path, source(published(tmp_path / "x.pth", network), backbone="timm/test_vit"))


@rounding.in_float64()
def test_timms_dinov2_with_a_larger_grid_gives_the_features_of_its_network(tmp_path):
    name = "vit_small_patch14_dinov2"
    torch.manual_seed(2)
    network = timm.create_model(name, num_classes=0, img_size=70, dynamic_img_size=True).eval()
    torch.save(network.state_dict(), tmp_path / "dinov2.pth")
    encoder, report = adopted(tmp_path, source(tmp_path / "dinov2.pth", backbone=f"timm/{name}"), size=28)
    assert report["share"] == 1
    assert report["interpolated"] == {"pos_embed": "1 x 26 x 384 -> 1 x 5 x 384"}
    images = torch.rand(2, 3, 28, 28)
    with torch.no_grad():
        normalised = (images - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
        # timm interpolates on the fly where the network meets a smaller image
        torch.testing.assert_close(encoder(images), network(normalised), **rounding.NEAR)


@rounding.in_float64()
def test_torchvision_gives_the_features_of_its_network(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(3)
    network = resnet18(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    wanted = source(tmp_path / "resnet18.pth", backbone="timm/resnet18", layout="torchvision")
    encoder, report = adopted(tmp_path, wanted)
    network.fc = torch.nn.Identity()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        normalised = (images - encoder.mean.view(3, 1, 1)) / encoder.std.view(3, 1, 1)
        torch.testing.assert_close(encoder(images), network(normalised), **rounding.NEAR)
    assert report["share"] == 1
    assert sorted(report["dropped"]) == ["fc.bias", "fc.weight"]


def test_our_own_files_bring_their_normalisation(tmp_path):
    encoder = backbones.build("timm/test_resnet", size=32, mean=(0.1, 0.2, 0.3), std=(0.4,), seed=5)
    tensors = {f"encoder.backbone.{key}": tensor for key, tensor in encoder.tensors().items()}
    tensors |= {"head.weight": torch.zeros(2, encoder.width), "head.bias": torch.zeros(2)}
    weight_files.save_weights(tensors, tmp_path / "model.safetensors", encoder.metadata())
    again, report = adopted(tmp_path, source(tmp_path / "model.safetensors", layout="headwater"))
    assert report["share"] == 1
    assert sorted(report["dropped"]) == ["head.bias", "head.weight"]
    assert torch.equal(again.mean, encoder.mean) and torch.equal(again.std, encoder.std)


def test_a_declared_normalisation_goes_before_the_layouts(tmp_path, network):
    path = published(tmp_path / "x.pth", network)
    encoder, _ = adopted(tmp_path, source(path, mean=[0.18], std=[0.19]))
    assert encoder.mean.tolist() == pytest.approx([0.18] * 3)
    assert encoder.std.tolist() == pytest.approx([0.19] * 3)


def test_a_layout_without_a_hub_asks_for_a_file(tmp_path):
    with pytest.raises(UserError, match="set path"):
        adopted(tmp_path, source(layout="dinov2", backbone="timm/test_vit"))


def test_an_empty_path_asks_timms_own_hub(network, monkeypatch):
    asked = []

    def create_model(name, *, pretrained, num_classes):
        asked.append((name, pretrained, num_classes))
        return network

    monkeypatch.setattr("headwater.models.weights.timm.timm.create_model", create_model)
    tensors = timm_layout.download("timm/test_resnet.r160_in1k")
    assert asked == [("test_resnet.r160_in1k", True, 0)]
    assert tensors.keys() == network.state_dict().keys()
