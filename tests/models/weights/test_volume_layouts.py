"""Published networks of volumes: each made in its publisher's spelling, with what its files hold beside the network.

A checkpoint holds a small network's own tensors under the published names; all must come back, bit by bit.
"""

import json
import re
from functools import cache

import pytest
import torch
import torch.nn.functional as F

import adaptation_plan_made
import rounding
from headwater.core import registry
from headwater.models import backbones, published_weights, weight_coverage
from headwater.models.checkpoint_files import WRAPPERS
from headwater.models.encoder import NO_WEIGHTS
from headwater.models.weight_files import load_weights
from headwater.models.weights import dino_3d
from headwater.study.source import Source

pytestmark = pytest.mark.usefixtures("float64")

LAYOUTS = [
    name for name in registry.names("weights") if 3 in registry.constant("weights", name, "DIMENSIONS", default=())
]


@cache
def network_of(backbone, size):
    """The tensors of a network with random weights; not to be changed."""
    return backbones.build(backbone, size=size, mean=(0.0,), std=(1.0,), seed=8).tensors()


def kept(tensors, decoder=()):
    """The tensors of an encoder alone."""
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(decoder)}


def prefixed(tensors, prefix):
    return {prefix + key: tensor for key, tensor in tensors.items()}


def respelt(tensors, *rules):
    """The tensors with published names: the reverse of a layout's own rules, written from the publisher's code."""
    renamed = {}
    for key, tensor in tensors.items():
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    return renamed


def medicalnet(tensors):
    beside = {"conv_seg.0.weight": torch.rand(64, 32, 2, 2, 2), "conv_seg.1.running_mean": torch.rand(32)}
    return {"state_dict": prefixed(tensors | beside, "module."), "optimizer": {}}


def models_genesis(tensors):
    beside = {"out_tr.final_conv.weight": torch.rand(1, 64, 1, 1, 1), "out_tr.final_conv.bias": torch.rand(1)}
    return {"epoch": 1, "state_dict": prefixed(tensors | beside, "module.")}


def swin_of_5050(tensors):
    """model_swinvit.pt: the transformer alone, without `swinViT.`, and timm's names of its two linear layers."""
    own = respelt(kept(tensors, ("encoder", "decoder")), (r"^swinViT\.", ""), (r"\.linear([12])\.", r".fc\1."))
    beside = {"norm.weight": torch.rand(192), "rotation_head.weight": torch.rand(4, 192)}
    beside |= {"contrastive_head.bias": torch.rand(512), "convTrans3d.weight": torch.rand(192, 1, 32, 32, 32)}
    return {"state_dict": prefixed(own | beside, "module.")}


def swin_of_50000(tensors):
    """The transformer under `encoder.`, its stages one deeper; the decoder under its own names."""
    own = respelt(tensors, (r"^swinViT\.(layers\d\.0)\.", r"encoder.\1.0."), (r"^swinViT\.", "encoder."))
    beside = {"encoder.mask_token": torch.rand(1, 1, 12), "out.conv.conv.weight": torch.rand(1, 12, 1, 1, 1)}
    return {"model": own | beside | {"encoder.norm.weight": torch.rand(192), "encoder.norm.bias": torch.rand(192)}}


def voco(tensors):
    return kept(tensors, ("decoder",))


def voco_in_training(tensors):
    beside = {"out.conv.conv.weight": torch.rand(21, 12, 1, 1, 1)}
    return {"state_dict": prefixed(respelt(tensors, (r"^swinViT\.", "swin_vit.")) | beside, "module.backbone.")}


def stu_net_model(tensors):
    return {"state_dict": tensors | {"seg_outputs.0.weight": torch.rand(105, 32, 1, 1, 1)}}


def stu_net_pth(tensors):
    return {"network_weights": tensors | {"seg_outputs.4.bias": torch.rand(105)}, "current_epoch": 1000}


def ct_fm(tensors):
    own = respelt(kept(tensors, ("up_layers.",)), (r"^encoder\.", ""))
    return {"state_dict": prefixed(own, "backbone.") | {"projection_head.0.weight": torch.rand(8, 32)}}


def ct_fm_bare(tensors):
    return respelt(kept(tensors, ("up_layers.",)), (r"^encoder\.", ""))


def ct_fm_outlining(tensors):
    return tensors | {"up_layers.1.head.weight": torch.rand(118, 8, 1, 1, 1)}


def dino_3d_teacher(tensors):
    """Blocks in chunks of one, numbered throughout; heads beside the backbone."""
    own = respelt(tensors, (r"^blocks\.(\d+)\.", r"blocks.\1.\1."))
    beside = {"backbone.mask_token": torch.zeros(1, 48), "dino_head.mlp.0.weight": torch.rand(8, 48)}
    return {"teacher": prefixed(own, "backbone.") | beside}


def nnssl(tensors):
    """Each convolution and norm a second time in order, and the whole encoder once more within the decoder."""
    again = respelt(tensors, (r"\.conv\.(weight|bias)$", r".all_modules.0.\1"), (r"\.norm\.", ".all_modules.1."))
    twice = tensors | again
    within = {f"decoder.{key}": tensor for key, tensor in twice.items() if key.startswith("encoder.")}
    beside = {"decoder.seg_layers.0.weight": torch.rand(1, 8, 1, 1, 1)}
    return {"network_weights": twice | within | beside, "nnssl_adaptation_plan": adaptation_plan_made.plan()}


def nnssl_encoder(tensors):
    return {"network_weights": respelt(kept(tensors, ("decoder.",)), (r"^encoder\.", ""))}


PUBLISHED = [
    ("nnssl", "nnunet/resenc_test", 8, nnssl),
    ("nnssl", "nnunet/resenc_test", 8, nnssl_encoder),
    ("medicalnet", "monai/resnet_small", 32, medicalnet),
    ("models_genesis", "genesis/unet", 8, models_genesis),
    ("monai_swin_unetr_ssl", "monai/swin_unetr_12", 32, swin_of_5050),
    ("monai_swin_unetr_ssl", "monai/swin_unetr_12", 32, swin_of_50000),
    ("voco", "monai/swin_unetr_v2_12", 32, voco),
    ("voco", "monai/swin_unetr_v2_12", 32, voco_in_training),
    ("stu_net", "stu_net/test", 64, stu_net_model),
    ("stu_net", "stu_net/test", 64, stu_net_pth),
    ("ct_fm", "monai/segresnet_ds_small", 8, ct_fm),
    ("ct_fm", "monai/segresnet_ds_small", 8, ct_fm_bare),
    ("ct_fm", "monai/segresnet_ds_small", 8, ct_fm_outlining),
    ("dino_3d", "vit3d/test_patch8_dinov2", 16, dino_3d_teacher),
]


@pytest.mark.parametrize(
    ("layout", "backbone", "size", "publish"), PUBLISHED, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_every_tensor_of_a_published_file_finds_its_place(tmp_path, layout, backbone, size, publish):
    published = network_of(backbone, size)
    content = publish(published)
    torch.save(content, tmp_path / "x.pth")
    source = Source(
        name="published", backbone=backbone, weights={"layout": layout, "path": str(tmp_path / "x.pth")}, seed=9
    )
    weights = published_weights.read(source, size=size)
    report = weights.report()
    assert (
        weights.enough
        and report["encoder"]["share"] == 1
        and not report["unexpected"]
        and not report["shape_mismatched"]
    )
    whole = publish not in (swin_of_5050, voco, ct_fm, ct_fm_bare, nnssl_encoder)
    assert (report["share"] == 1) == whole and (report.get("decoder", {"share": 1})["share"] == 1) == whole
    weights.write(tmp_path / "e.safetensors")
    tensors, _ = load_weights(tmp_path / "e.safetensors")
    loaded = published if whole else kept(published, backbones.decoder(backbone))
    assert loaded and all(torch.equal(tensors[key], tensor) for key, tensor in loaded.items())
    (held,) = [value for key, value in content.items() if key in WRAPPERS] or [content]
    weights = [key for key in held if not key.endswith(NO_WEIGHTS)]
    assert report["tensors"]["loaded"] + len(report["dropped"]) == len(weights)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_volumes_states_its_input_in_the_same_words(layout):
    def told(which):
        return registry.constant("weights", layout, which, default=None)

    assert told("ORIENTATION") is None or sorted("".join(sorted(told("ORIENTATION"))).translate(AXES)) == list("xyz")
    assert told("CHANNELS") in (None, 1)
    for which, kind in (("SPACING", float), ("PATCH", int)):
        assert told(which) is None or (len(told(which)) == 3 and all(type(value) is kind for value in told(which)))
    intensity = told("INTENSITY")
    assert intensity in (None, "zscore") or (intensity[0] in ("window", "percentiles") and intensity[1] < intensity[2])


AXES = str.maketrans("RLAPSI", "xxyyzz")


def test_3dino_stretches_positions_as_its_own_code_does():
    positions = torch.rand(1, 1 + 6**3, 4)
    # as interpolate_pos_encoding of its DinoVisionTransformer3d, for a volume of 7 cubes along each axis
    scale = (7 + 0.1) / 216 ** (1 / 3)
    cube = positions[:, 1:].reshape(1, 6, 6, 6, 4).permute(0, 4, 1, 2, 3)
    cube = F.interpolate(cube, scale_factor=(scale,) * 3, mode="trilinear").permute(0, 2, 3, 4, 1).view(1, -1, 4)
    fitting = dino_3d.resample("pos_embed", positions, (1, 1 + 7**3, 4))
    torch.testing.assert_close(fitting, torch.cat([positions[:, :1], cube], dim=1))
    assert dino_3d.resample("pos_embed", positions, (1, 1 + 100, 4)) is None


def test_layer_scales_are_folded_where_the_network_has_none():
    scaled = backbones.build("vit3d/test_patch8_dinov2", size=16, mean=(0.5,), std=(0.5,), seed=1).eval()
    for key, tensor in scaled.backbone.state_dict().items():
        if key.endswith(".gamma"):
            tensor.uniform_(0.5, 1.5)
    plain = backbones.build("vit3d/test_patch8", size=16, mean=(0.5,), std=(0.5,), seed=2).eval()
    covered = weight_coverage.match(
        dino_3d_teacher(scaled.tensors())["teacher"],
        expected=plain.expected(),
        layout=dino_3d,
        prefix="",
        resample=plain.resample,
    )
    plain.backbone.load_state_dict(covered.tensors)
    volume = torch.rand(1, 1, 16, 16, 16)
    assert covered.share == 1
    with torch.no_grad():
        torch.testing.assert_close(plain(volume), scaled(volume), **rounding.NEAR)


def test_a_decoder_that_is_missing_is_told_apart_from_the_encoder(tmp_path):
    tensors = network_of("genesis/unet", 8)
    torch.save({"state_dict": prefixed(kept(tensors, ("up_tr",)), "module.")}, tmp_path / "x.pth")
    checkpoint = {"layout": "models_genesis", "path": str(tmp_path / "x.pth")}
    source = Source(name="genesis", backbone="genesis/unet", weights=checkpoint)
    weights = published_weights.read(source, size=8)
    # its files hold a decoder, so without one something is wrong
    assert not weights.enough
    assert "encoder 100 %, decoder 0 %) is below 100 %" in str(weights.too_little(tmp_path / "c.json"))
    lines = weights.coverage.table().splitlines()
    assert re.fullmatch(r"  encoder +100 %: (\d+,\d+,\d+) of \1 parameters", lines[1])
    assert re.fullmatch(r"  decoder +0 %: 0 of \d+,\d+,\d+ parameters", lines[2])
    report = weights.report()
    assert report["encoder"]["share"] == 1 and report["decoder"]["loaded"] == 0
    weights.write(tmp_path / "e.safetensors")
    written = json.loads(load_weights(tmp_path / "e.safetensors")[1]["coverage"])
    assert (written["encoder"], written["decoder"]) == (1, 0)
