"""Every published kind of checkpoint loads whole, computes what its publisher's network computes, or is refused."""

import json
import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

import prepared_made
import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import weight_coverage, weight_files
from headwater.models.encoder import restore
from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD
from headwater.stages.adopt import adopt
from headwater.stages.pretrain import pretrain
from headwater.study.source import Source
from weights_made import PUBLISHED, Form, Published, augreg

pytestmark = pytest.mark.usefixtures("float64")

SINGLE = 2.0**-24
"""The largest relative error of one operation in float32."""
KINDS = {published.name: published for published in PUBLISHED}
CREATE = timm.create_model


@pytest.fixture(params=PUBLISHED, ids=lambda published: published.name)
def published(request, monkeypatch):
    make_small(monkeypatch, request.param)
    return request.param


def make_small(monkeypatch, published):
    """Make timm's networks as small as the checkpoints are here."""
    monkeypatch.setattr(timm, "create_model", lambda name, **how: CREATE(name, **{**how, **published.arguments}))


def saved(folder, published, tensors):
    if published.layout == "augreg":
        np.savez(folder / "x.npz", **{key: tensor.numpy() for key, tensor in tensors.items()})
        return folder / "x.npz"
    torch.save({"model": tensors}, folder / "x.pth")
    return folder / "x.pth"


def adopted(folder, published, tensors, *, layout="", backbone="", size=0, coverage=1.0, **options):
    """(encoder, report) that adopt writes; refuses as adopt does."""
    size = size or published.size
    weights = {"layout": {"name": layout or published.layout, **options}, "coverage": coverage}
    weights["path"] = str(saved(folder, published, tensors))
    source = Source(name="published", backbone=backbone or published.backbone, weights=weights)
    adopt(source=source, size=size, encoder=folder / "e.safetensors", coverage=folder / "c.json")
    tensors, metadata = weight_files.load_weights(folder / "e.safetensors")
    encoder, _ = restore(tensors, metadata, name=source.backbone, size=size, file="e")
    return encoder.eval(), json.loads((folder / "c.json").read_text())


def allowed(published):
    """How far the features may lie apart: timm makes rotary angles, up to 2 pi, in float32 by some four operations."""
    return 4 * 2 * math.pi * SINGLE if published.layout.startswith("dinov3") else rounding.NEAR["atol"]


def difference(encoder, published, tensors, *, size=0, forward=None):
    """Largest difference between our features and the publisher's, of images normalised as the layout says."""
    images = torch.rand(2, 3, size or published.size, size or published.size)
    mean, std = registry.load("weights", published.layout).normalisation(published.backbone, {})
    normalised = (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        theirs = (forward or published.forward)(tensors, normalised, published.form)
        assert theirs.std() > 0.1 and (theirs[0] - theirs[1]).abs().max() > 1e-3  # the images are seen
        return (encoder(images) - theirs).abs().max().item()


def test_it_computes_what_its_publishers_network_computes(tmp_path, published):
    tensors = published.tensors()
    encoder, report = adopted(tmp_path, published, tensors)
    assert report["share"] == 1
    assert not report["missing"] and not report["unexpected"] and not report["interpolated"]
    assert all(len(what) > 10 for what in report["arranged"].values())
    assert difference(encoder, published, tensors) < allowed(published)


def test_every_tensor_of_the_real_one_has_its_place(published, monkeypatch):
    # nothing is computed with the real sizes: weights are shapes without numbers, biases are zeros
    monkeypatch.setattr(timm, "create_model", CREATE)
    shapes = published.shapes(published.full)
    assert len(shapes) == published.count
    found = {key: torch.empty(shape, device="meta" if len(shape) > 1 else "cpu") for key, shape in shapes.items()}
    found = {key: torch.zeros_like(tensor) if tensor.ndim == 1 else tensor for key, tensor in found.items()}
    library = registry.load("backbones", "timm")
    with torch.device("meta"):
        network, _ = library.create(published.backbone.partition("/")[2], size=224)
    covered = weight_coverage.match(
        found,
        expected=network.state_dict(),
        layout=registry.load("weights", published.layout),
        prefix="",
        resample=lambda key, tensor: library.resample(key, tensor, network),
    )
    assert covered.share == 1 and len(covered.tensors) == len(network.state_dict())
    assert not covered.unexpected and not covered.mismatched


def test_no_tensor_of_it_may_be_missing(tmp_path, published):
    tensors = published.tensors()
    encoder, report = adopted(tmp_path, published, tensors)
    layout = registry.load("weights", published.layout)
    needed = [key for key in tensors if key not in report["dropped"] and not key.endswith("bias_mask")]
    needed = [key for key in needed if not published.zero or not key.endswith(published.zero)]
    expected, resample = encoder.expected(), encoder.resample
    for gone in needed:
        rest = {key: tensor for key, tensor in tensors.items() if key != gone}
        covered = weight_coverage.match(rest, expected=expected, layout=layout, prefix="", resample=resample)
        assert covered.share < 1 and covered.missing, gone
    del tensors[next(key for key in needed if "norm" in key.lower())]
    with pytest.raises(UserError, match=r"coverage 99.* tensors\) is below 100 %; check backbone, layout and wrapper"):
        adopted(tmp_path, published, tensors)


def test_another_width_is_refused(tmp_path, published):
    wide = {**vars(published.form), "width": 48, "widths": (16, 24, 32, 40)}
    with pytest.raises(UserError, match=r"is below 100 %; check backbone, layout and wrapper"):
        adopted(tmp_path, published, published.tensors(form=Form(**wide)))


def test_a_forgotten_prefix_is_told(tmp_path, published):
    tensors = {f"backbone.{key}": tensor for key, tensor in published.tensors().items()}
    with pytest.raises(UserError, match=r"coverage 0 % .*; set prefix: backbone\.$"):
        adopted(tmp_path, published, tensors)
    assert adopted(tmp_path, published, tensors, prefix="backbone.")[1]["share"] == 1


# headwater's own layout first asks for the normalisation, which only its own files tell; those for volumes are refused
OTHERS = [
    name
    for name in registry.names("weights")
    if name != "headwater" and 2 in registry.constant("weights", name, "DIMENSIONS", default=(2,))
]


@pytest.mark.parametrize("layout", OTHERS)
def test_under_another_layout_it_is_the_same_or_refused(tmp_path, published, layout):
    tensors = published.tensors()
    try:
        encoder, _ = adopted(tmp_path, published, tensors, layout=layout)
    except UserError as refusal:
        assert layout != published.layout
        told = re.search(r"did you mean layout: (\w+)\?$", str(refusal))
        assert told and told[1] == published.layout
        assert len(str(refusal).splitlines()) == 1
    else:
        mean, std = registry.load("weights", published.layout).normalisation(published.backbone, {})
        encoder.mean, encoder.std = torch.tensor(mean), torch.tensor(std)
        assert difference(encoder, published, tensors) < allowed(published)


def a_kind(monkeypatch, name):
    make_small(monkeypatch, KINDS[name])
    return KINDS[name]


INTERPOLATED = ["dinov2", "dinov2 registers", "dinov2_huggingface", "dinov2_huggingface registers", "augreg"]


@pytest.mark.parametrize("name", INTERPOLATED)
def test_a_larger_grid_of_positions_is_interpolated_as_its_publisher_does(tmp_path, monkeypatch, name):
    published = a_kind(monkeypatch, name)
    tensors = published.tensors(form=replace(published.form, grid=5))
    encoder, report = adopted(tmp_path, published, tensors)
    assert report["share"] == 1 and list(report["interpolated"]) == ["pos_embed"]
    assert not report["footnotes"]
    assert difference(encoder, published, tensors) < allowed(published)


def test_rotary_positions_fit_every_size(tmp_path, monkeypatch):
    published = a_kind(monkeypatch, "dinov3")
    encoder, report = adopted(tmp_path, published, published.tensors(), size=32)
    assert not report["interpolated"]
    for size in (32, 48, 80):
        assert difference(encoder, published, published.tensors(), size=size) < allowed(published)


def test_the_bias_of_the_key_must_be_masked(tmp_path, monkeypatch):
    published = a_kind(monkeypatch, "dinov3")
    tensors = {key: tensor for key, tensor in published.tensors().items() if not key.endswith("bias_mask")}
    with pytest.raises(UserError, match=r"the key part of the checkpoint's blocks\.0\.attn\.qkv\.bias is not zero"):
        adopted(tmp_path, published, tensors)
    zero = {key: tensor * ("qkv.bias" not in key) for key, tensor in tensors.items()}
    assert adopted(tmp_path, published, zero)[1]["share"] == 1


@pytest.mark.parametrize("layout", ["dinov3", "dinov3_huggingface"])
def test_biases_without_a_place_must_be_zero(tmp_path, monkeypatch, layout):
    published = a_kind(monkeypatch, layout)
    with pytest.raises(
        UserError, match=r"blocks\.0\.attn\.q_bias is not zero.*use the backbone whose name ends in _qkvb"
    ):
        adopted(tmp_path, published, published.tensors(), backbone="timm/vit_base_patch16_dinov3")


@pytest.mark.parametrize("layout", ["dinov2", "dinov2_huggingface"])
def test_registers_without_a_place_are_refused(tmp_path, monkeypatch, layout):
    published = a_kind(monkeypatch, f"{layout} registers")
    with pytest.raises(UserError, match=r"has register tokens.*use a backbone with registers"):
        adopted(tmp_path, published, published.tensors(), backbone="timm/vit_base_patch14_dinov2")


def test_layers_may_lie_one_deeper_at_hugging_face(tmp_path, monkeypatch):
    published = a_kind(monkeypatch, "dinov3_huggingface")
    deeper = {f"model.{key}" if key.startswith("layer.") else key: x for key, x in published.tensors().items()}
    encoder, report = adopted(tmp_path, published, deeper)
    assert report["share"] == 1 and not report["unexpected"]
    assert difference(encoder, published, published.tensors()) < allowed(published)


def test_jaxs_gelu_is_another(tmp_path, monkeypatch):
    published = a_kind(monkeypatch, "augreg")
    tensors = published.tensors()
    encoder, _ = adopted(tmp_path, published, tensors)
    assert 1e-5 < difference(encoder, published, tensors, forward=partial(augreg, gelu="tanh")) < 1e-2


@pytest.mark.parametrize("layout", ["dinov2", "dinov2_huggingface"])
def test_patches_are_resampled_only_when_asked_for(tmp_path, monkeypatch, layout):
    published = a_kind(monkeypatch, layout)
    tensors, other = published.tensors(), {"backbone": "timm/vit_base_patch16_224", "size": 32}
    with pytest.raises(UserError, match=r"patches are as large as the checkpoint's, or set patch: resample$"):
        adopted(tmp_path, published, tensors, **other)
    encoder, report = adopted(tmp_path, published, tensors, patch="resample", **other)
    assert report["share"] == 1 and not report["unexpected"]
    assert report["footnotes"] == [
        "patch_embed.proj.weight was resampled (32 x 3 x 14 x 14 -> 32 x 3 x 16 x 16): "
        "the first layer is no longer the published one"
    ]
    assert sum("layer scale; multiplied" in what for what in report["arranged"].values()) == 2 * published.form.depth
    _, metadata = weight_files.load_weights(tmp_path / "e.safetensors")
    assert json.loads(metadata["coverage"])["footnotes"] == report["footnotes"]
    # of enlarged patches the resampled layer makes what the published one makes of the patches
    patches = torch.rand(2, 3, 2, 2, 14, 14)
    large = F.interpolate(patches.flatten(0, 3)[:, None], size=(16, 16), mode="bicubic", antialias=True)
    images, enlarged = (
        x.reshape(2, 3, 2, 2, side, side).transpose(3, 4).reshape(2, 3, 2 * side, 2 * side)
        for x, side in ((patches, 14), (large, 16))
    )
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        theirs = published.forward(tensors, (images - mean) / std, published.form)
        # timm resamples in float32: sums of 14 * 14 products by a matrix whose condition is 2.5
        assert (encoder(enlarged) - theirs).abs().max() < 14 * 14 * 2.5 * SINGLE


def test_a_layout_and_a_prefix_are_told_together(tmp_path, monkeypatch):
    published = a_kind(monkeypatch, "dinov2_huggingface")
    tensors = {f"dinov2.{key}": tensor for key, tensor in published.tensors().items()}
    with pytest.raises(UserError, match=r"did you mean layout: dinov2_huggingface\? then set prefix: dinov2\.$"):
        adopted(tmp_path, published, tensors, layout="convnext")


def test_timms_own_files_fit_each_of_the_networks(tmp_path, published):
    network = (
        timm.create_model(published.backbone.partition("/")[2], img_size=published.size)
        if ("vit" in published.backbone)
        else timm.create_model(published.backbone.partition("/")[2])
    )
    encoder, report = adopted(tmp_path, replace(published, layout="timm"), network.state_dict())
    assert report["share"] == 1 and not report["unexpected"] and not report["renamed"]
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in encoder.tensors().items())


def test_torchvisions_resnet_50_computes_what_it_computes_there(tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(4)
    network = resnet50(weights=None)
    network(torch.randn(8, 3, 32, 32))  # running statistics that differ from one and zero
    network.eval()
    tensors = network.state_dict()
    kind = Published(
        name="",
        layout="torchvision",
        backbone="timm/resnet50",
        shapes=dict,
        count=320,
        form=Form(),
        full=Form(),
        size=64,
        forward=lambda tensors, images, form: torch.nn.Sequential(*list(network.children())[:-1])(images)[..., 0, 0],
    )
    encoder, report = adopted(tmp_path, kind, tensors)
    assert report["share"] == 1 and sorted(report["dropped"]) == ["fc.bias", "fc.weight"]
    assert difference(encoder, kind, tensors) < rounding.NEAR["atol"]


@pytest.mark.parametrize("name", ["dinov2", "dinov2 registers", "dinov3", "dinov3 zero", "augreg", "convnext"])
def test_a_pretraining_goes_on_from_each_of_them(tmp_path, monkeypatch, name):
    published = a_kind(monkeypatch, name)
    made = prepared_made.archive(tmp_path / "made", size=published.size)
    adopted(tmp_path, published, published.tensors())
    more = {"name": "more", "backbone": published.backbone, "start": "published", "corpus": "made"}
    still = {"steps": 1, "batch": 8, "lr": 1e-30, "weight_decay": 0}
    method = {"name": "dino", "output_dimension": 64, "hidden_dimension": 32, "bottleneck_dimension": 16}
    pretrain(
        source=Source(**more, method=method, training=still),
        size=published.size,
        cases=made.cases,
        images=made.images,
        rows=made.rows,
        start=tmp_path / "e.safetensors",
        encoder=tmp_path / "more.safetensors",
        history=tmp_path / "more",
        progress=tmp_path / "more.pt",
    )
    old, new = (weight_files.load_weights(tmp_path / f"{file}.safetensors") for file in ("e", "more"))
    assert old[1]["mean"] == new[1]["mean"]
    encoder, _ = restore(*new, name=published.backbone, size=published.size, file="more")
    assert difference(encoder.eval(), published, published.tensors()) < allowed(published)
