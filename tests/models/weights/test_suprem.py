"""SuPreM's three networks load whole from its spelling, heads and all, and compute what the published ones compute."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets import SegResNet, SwinUNETR

import rounding
from headwater.core.errors import UserError
from headwater.models import backbones, weight_files
from headwater.models.backbones import genesis
from headwater.models.encoder import restore
from headwater.stages.adopt import adopt
from headwater.study.source import Source

pytestmark = pytest.mark.usefixtures("float64")

SCRIPTS = Path(__file__).parents[3] / "scripts"

LEVELS = {
    "down_tr64": (1, 32, 64), "down_tr128": (64, 64, 128), "down_tr256": (128, 128, 256), "down_tr512": (256, 256, 512),
    "up_tr256": (768, 256, 256), "up_tr128": (384, 128, 128), "up_tr64": (192, 64, 64),
}  # fmt: skip
"""Channels of the two convolutions of each level of Models Genesis' U-Net, before, between and after."""

WORDS = {
    **{"organ_embedding": (32, 512), "precls_conv.0.weight": (64,), "precls_conv.2.weight": (8, 64, 1, 1, 1)},
    **{"GAP.0.weight": (512,), "GAP.3.weight": (256, 512, 1, 1, 1), "controller.weight": (153, 512, 1, 1, 1)},
    **{"text_to_vision.weight": (256, 512)},
}
"""What lies beside the backbone of the networks that are told organs by words."""


def unet():
    """The U-Net's tensors as published, with random numbers."""
    tensors = {}
    for level, (inputs, middle, outputs) in LEVELS.items():
        for number, (before, after) in enumerate([(inputs, middle), (middle, outputs)]):
            here = f"{level}.ops.{number}"
            tensors[f"{here}.conv1.weight"] = torch.randn(after, before, 3, 3, 3) / (27 * before) ** 0.5
            tensors[f"{here}.bn1.running_var"] = torch.rand(after) + 0.5
            tensors[f"{here}.bn1.weight"] = torch.rand(after) + 0.5
            rest = ("conv1.bias", "bn1.bias", "bn1.running_mean")
            tensors |= {f"{here}.{name}": torch.randn(after) * 0.1 for name in rest}
            tensors[f"{here}.bn1.num_batches_tracked"] = torch.tensor(7)
    for level, width in (("up_tr256", 512), ("up_tr128", 256), ("up_tr64", 128)):
        tensors[f"{level}.up_conv.weight"] = torch.randn(width, width, 2, 2, 2) / width**0.5
        tensors[f"{level}.up_conv.bias"] = torch.randn(width) * 0.1
    return tensors


def unet_computes(tensors, volumes):
    """(features, what its last layer looks at), written from the paper and the names."""

    def level(x, name):
        for number in range(2):
            weights = {key: tensors[f"{name}.ops.{number}.{key}"] for key in ("conv1.weight", "conv1.bias")}
            x = F.conv3d(x, *weights.values(), padding=1)
            statistics = (tensors[f"{name}.ops.{number}.bn1.{key}"] for key in ("running_mean", "running_var"))
            scale, shift = (tensors[f"{name}.ops.{number}.bn1.{key}"] for key in ("weight", "bias"))
            x = F.relu(F.batch_norm(x, *statistics, scale, shift))
        return x

    x, beside = volumes, []
    for name in ("down_tr64", "down_tr128", "down_tr256", "down_tr512"):
        x = level(F.max_pool3d(x, 2) if beside else x, name)
        beside.append(x)
    features = x.mean((2, 3, 4))
    for name, skipped in zip(("up_tr256", "up_tr128", "up_tr64"), beside[-2::-1], strict=True):
        x = F.conv_transpose3d(x, tensors[f"{name}.up_conv.weight"], tensors[f"{name}.up_conv.bias"], stride=2)
        x = level(torch.cat([x, skipped], dim=1), name)
    return features, x


def parameters(tensors):
    return sum(one.numel() for key, one in tensors.items() if key.rpartition(".")[2] in ("weight", "bias"))


def stirred(network):
    """The network with norms that change something."""
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.1
    return network.eval()


def saved(path, tensors, *, prefix):
    """A checkpoint as SuPreM's training writes it."""
    told = {f"module.{key}": torch.zeros(shape) for key, shape in WORDS.items()} if "backbone" in prefix else {}
    content = {"net": {prefix + key: one for key, one in tensors.items()} | told, "epoch": 400}
    torch.save({**content, "optimizer": {"state": {}, "param_groups": []}, "scheduler": {"last_epoch": 400}}, path)
    return path


def adopted(folder, path, backbone, *, layout="suprem", size=32):
    """(encoder, report) that adopt writes."""
    source = Source(name="suprem", backbone=backbone, weights={"layout": {"name": layout}, "path": str(path)})
    adopt(source=source, size=size, encoder=folder / "e.safetensors", coverage=folder / "c.json")
    tensors, metadata = weight_files.load_weights(folder / "e.safetensors")
    encoder, _ = restore(tensors, metadata, name=backbone, size=size, file="e")
    return encoder.eval(), json.loads((folder / "c.json").read_text())


def is_whole(report):
    return report["share"] == 1 and not (report["missing"] or report["unexpected"] or report["shape_mismatched"])


def test_the_unet_loads_whole_and_computes_the_same(tmp_path):
    tensors, volumes = unet(), torch.rand(2, 1, 16, 24, 32)
    assert round(parameters(tensors) / 1e6, 2) == 19.07
    encoder, report = adopted(tmp_path, saved(tmp_path / "x.pth", tensors, prefix="module.backbone."), "genesis/unet")
    assert is_whole(report) and set(report["dropped"]) == {f"module.{key}" for key in WORDS}
    assert report["footnotes"] == [genesis.FOOTNOTE]
    with torch.no_grad():
        features, outlined = unet_computes(tensors, volumes)
        assert features.std() > 0.1 and (encoder(volumes) - features).abs().max() < rounding.NEAR["atol"]
        ours = encoder.decoded(encoder.levels(volumes))[0]
    assert (ours - outlined).abs().max() < rounding.NEAR["atol"] * outlined.std()


def test_the_segresnet_loads_whole_and_computes_the_same(tmp_path):
    published = stirred(SegResNet(init_filters=16, blocks_down=(1, 2, 2, 4), out_channels=32, dropout_prob=0.0))
    tensors, volumes = published.state_dict(), torch.rand(2, 1, 16, 24, 32)
    assert len(tensors) == 83 and round(parameters(tensors) / 1e6, 2) == 4.70
    encoder, report = adopted(tmp_path, saved(tmp_path / "x.pth", tensors, prefix="module."), "monai/segresnet")
    assert is_whole(report) and report["tensors"] == {"loaded": 81, "expected": 81}
    head = {f"module.conv_final.2.conv.{key}" for key in ("weight", "bias")}
    assert set(report["dropped"]) == head and not report["footnotes"]
    assert all(torch.equal(encoder.tensors()[key], tensors[key]) for key in encoder.tensors())
    with torch.no_grad():
        features = published.encode(volumes)[0].mean((2, 3, 4))
        assert features.std() > 0.1 and (encoder(volumes) - features).abs().max() < rounding.NEAR["atol"]
        published.conv_final[2] = torch.nn.Identity()
        difference = encoder.decoded(encoder.levels(volumes))[0] - published(volumes)
    assert difference.abs().max() < rounding.NEAR["atol"]


def test_the_swin_unetr_loads_whole_and_computes_the_same(tmp_path):
    published = stirred(SwinUNETR(in_channels=1, out_channels=14, feature_size=48))
    tensors, volumes = published.state_dict(), torch.rand(1, 1, 32, 32, 64)
    assert round(sum(one.numel() for one in published.parameters()) / 1e6, 2) == 62.19
    # which places are beside which follows from the network: a file may hold these tables or not
    kept = {key: one for key, one in tensors.items() if "layers1" in key or not key.endswith("relative_position_index")}
    assert len(kept) < len(tensors)
    encoder, report = adopted(tmp_path, saved(tmp_path / "x.pth", kept, prefix="module.backbone."), "monai/swin_unetr")
    assert is_whole(report)
    head = {f"module.backbone.out.conv.conv.{key}" for key in ("weight", "bias")}
    assert set(report["dropped"]) == head | {f"module.{key}" for key in WORDS}
    assert all(torch.equal(encoder.tensors()[key], tensors[key]) for key in encoder.tensors())
    with torch.no_grad():
        features = published.swinViT(volumes, True)[-1].mean((2, 3, 4))
        assert features.std() > 0.1 and (encoder(volumes) - features).abs().max() < rounding.NEAR["atol"]


def test_what_was_adopted_is_adopted_again_as_our_own(tmp_path):
    path = saved(tmp_path / "x.pth", unet(), prefix="module.backbone.")
    encoder, _ = adopted(tmp_path, path, "genesis/unet")
    again, report = adopted(
        tmp_path, (tmp_path / "e.safetensors").rename(tmp_path / "ours.safetensors"), "genesis/unet", layout="headwater"
    )
    assert is_whole(report) and report["footnotes"] == [genesis.FOOTNOTE]
    assert all(torch.equal(one, again.tensors()[key]) for key, one in encoder.tensors().items())


def test_another_network_s_checkpoint_fills_nothing_and_both_sides_are_named(tmp_path):
    path = saved(tmp_path / "x.pth", unet(), prefix="module.backbone.")
    with pytest.raises(
        UserError,
        match=r"coverage 0 % \(0 of 81 tensors, encoder 0 %, decoder 0 %\).*"
        r"has module\.backbone\.down_tr64.*network expects convInit",
    ):
        adopted(tmp_path, path, "monai/segresnet")


@pytest.mark.parametrize(
    ("backbone", "layout", "said"),
    [
        ("genesis/unet", "swav", "swav holds networks for slices, but genesis/unet takes volumes"),
        ("timm/resnet18", "suprem", "suprem holds networks for volumes, but timm/resnet18 takes slices"),
        ("genesis/unet", "supremm", "did you mean 'suprem'"),
    ],
)
def test_slices_and_volumes_are_told_apart_before_the_file_is_opened(tmp_path, backbone, layout, said):
    with pytest.raises(UserError, match=said):
        adopted(tmp_path, tmp_path / "none.pth", backbone, layout=layout)


def test_three_colours_are_refused_for_grey_volumes():
    with pytest.raises(UserError, match=r"mean has 3 values; give one, as its images are grey"):
        backbones.build("genesis/unet", size=16, mean=(0.5, 0.5, 0.5), std=(1.0,), seed=0)


def test_slices_are_refused_by_a_network_for_volumes():
    unet = backbones.build("genesis/unet", size=16, mean=(0.0,), std=(1.0,), seed=0)
    with pytest.raises(UserError, match="genesis/unet takes images of 3 dimensions, not 2"):
        unet(torch.rand(1, 3, 16, 16))


def test_a_library_that_is_not_there_is_named(monkeypatch):
    # as if neither the library nor what is made of it had been imported
    for name in [name for name in sys.modules if name.partition(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    for name in ("monai", "_segresnets", "_swin_unetrs", "_unets", "_resnets"):
        monkeypatch.delitem(sys.modules, f"headwater.models.backbones.{name}", raising=False)
        monkeypatch.delattr(backbones, name, raising=False)
    with pytest.raises(UserError, match=r"needs a library that is not installed: .*monai.*; run make setup"):
        backbones.build("monai/segresnet", size=16, mean=(0.0,), std=(1.0,), seed=0)


def test_by_hand_in_one_line(tmp_path):
    """As config/README.md tells: the grid has no volumes yet."""
    path = saved(tmp_path / "x.pth", unet(), prefix="module.backbone.")
    source = {"name": "suprem", "backbone": "genesis/unet", "weights": {"layout": "suprem", "path": str(path)}}
    told = ["--size", "96", "--encoder", str(tmp_path / "e.safetensors"), "--coverage", str(tmp_path / "c.json")]
    command = [sys.executable, str(SCRIPTS / "adopt.py"), "--source", json.dumps(source), *told]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "coverage 100 % (90 of 90 tensors, encoder 100 %, decoder 100 %)" in done.stdout
        and (tmp_path / "e.safetensors").is_file()
    )
    assert not [line for line in done.stderr.splitlines() if "Warning" in line]
