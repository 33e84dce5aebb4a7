import subprocess
import sys

import pytest
import timm
import torch

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.encoder import restore

HALF = {"mean": (0.5,), "std": (0.25,)}
NETWORKS = ("timm/test_resnet", "timm/test_vit", "timm/test_convnext")


def build(name, *, size=32, seed=0):
    return backbones.build(name, size=size, seed=seed, **HALF)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


def test_models_are_listed_without_the_library():
    code = (
        "import sys; from headwater.models import backbones; known = backbones.models('timm');"
        "assert 'test_resnet' in known and 'vit_base_patch14_dinov2' in known;"
        "assert not {'torch', 'timm'} & set(sys.modules), 'imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "scripts"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_listed_models_are_those_that_timm_has():
    # timm's own list leaves out tags and hidden models, ours may not invent any
    assert set(timm.list_models()) <= set(backbones.models("timm"))
    assert all(timm.is_model(name) for name in backbones.models("timm"))


@pytest.mark.parametrize("name", NETWORKS)
@rounding.in_float64()
def test_features_are_of_the_normalised_image(name):
    encoder = build(name).eval()
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        features = encoder(images)
        torch.testing.assert_close(features, encoder.backbone((images - 0.5) / 0.25), **rounding.NEAR)
    assert features.shape == (3, encoder.width)
    assert features.std(dim=0).mean() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_and_nothing_else_draws_the_weights(name):
    torch.manual_seed(1)
    first, after = build(name, seed=3), torch.rand(1)
    torch.manual_seed(1)
    expected_after = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(after, expected_after)
    assert same(first.tensors(), build(name, seed=3).tensors())
    assert not same(first.tensors(), build(name, seed=4).tensors())


@pytest.mark.parametrize("name", NETWORKS)
def test_small_views_have_the_same_width(name):
    encoder = build(name, size=64)
    side = encoder.sides(64 * 96 / 224)
    assert side < 64
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, encoder.width)


@pytest.mark.parametrize(
    ("model", "multiple"),
    [
        ("vit_base_patch14_dinov2", 14),
        ("vit_base_patch14_reg4_dinov2", 14),
        ("vit_base_patch16_dinov3", 16),
        ("vit_base_patch16_dinov3_qkvb.lvd1689m", 16),
        ("vit_base_patch16_224.augreg_in21k", 16),
        ("convnext_base.dinov3_lvd1689m", 32),
        ("resnet50", 1),
    ],
)
@pytest.mark.parametrize("size", [224, 448])
def test_published_networks_are_made_for_the_sizes_of_studies(model, multiple, size):
    with torch.device("meta"):  # shapes without numbers
        network, told = registry.load("backbones", "timm").create(model, size=size)
        assert told == multiple
        for side in (size, 6 * 7 * 8 if "dinov3" in model else size):
            assert network(torch.rand(1, 3, side, side)).shape == (1, network.num_features)


def test_features_of_dinov3_are_the_class_token():
    network, _ = registry.load("backbones", "timm").create("vit_small_patch16_dinov3", size=32)
    network.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), network.forward_features(images)[:, 0])


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("timm/test_resnett", 32, "did you mean 'test_resnet'"),
        ("timm/resnet50.a1_in1kk", 32, "did you mean 'a1_in1k'"),
        ("timmm/resnet50", 32, "did you mean 'timm'"),
        ("timm/test_vit", 40, "use size 32"),
        ("timm/vit_base_patch14_dinov2", 230, "use size 224"),
        ("timm/vit_base_patch16_dinov3", 230, "use size 224"),
        ("monai/segresnett", 32, "did you mean 'segresnet'"),
        ("monai/segresnet.suprem", 16, "no such model"),
        ("monai/swin_unetr", 48, r"must be a multiple of 32 voxels \(got 48\); use size 64"),
        ("genesis/unet.suprem", 16, "no such model"),
        ("genesis/unet", 20, r"must be a multiple of 8 voxels \(got 20\); use size 16"),
        ("genesis/unet", 0, r"must be a multiple of 8 voxels \(got 0\); use size 8"),
    ],
)
def test_refusals_say_the_remedy(name, size, said):
    with pytest.raises(UserError, match=said):
        build(name, size=size)


def test_weights_come_back_whole():
    encoder = build("timm/test_resnet", seed=1)
    again, interpolated = restore(
        encoder.tensors(), encoder.metadata(), name="timm/test_resnet", size=32, file="encoder"
    )
    assert same(encoder.tensors(), again.tensors())
    assert interpolated == []
    assert torch.equal(again.mean, encoder.mean)


@rounding.in_float64()
def test_weights_for_another_size_have_their_grid_interpolated():
    encoder = build("timm/test_vit", size=64, seed=1).eval()
    again, interpolated = restore(encoder.tensors(), encoder.metadata(), name="timm/test_vit", size=32, file="encoder")
    images = torch.rand(2, 3, 32, 32)
    assert interpolated == ["pos_embed"]
    with torch.no_grad():
        # timm interpolates in the same way where a network meets a smaller image
        torch.testing.assert_close(encoder(images), again.eval()(images), **rounding.NEAR)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("conv1.0.weight"), "1 tensors missing"),
        (lambda tensors: tensors.update({"other.weight": torch.zeros(1)}), "1 unknown"),
        (lambda tensors: tensors.update({"conv1.0.weight": torch.zeros(1)}), "conv1.0.weight is 1"),
    ],
)
def test_no_tensor_stays_random_in_silence(change, said):
    encoder = build("timm/test_resnet")
    tensors = encoder.tensors()
    change(tensors)
    with pytest.raises(UserError, match=said):
        restore(tensors, encoder.metadata(), name="timm/test_resnet", size=32, file="encoder")


def test_weights_of_another_network_are_refused():
    encoder = build("timm/test_resnet")
    with pytest.raises(UserError, match="holds a timm/test_resnet"):
        restore(encoder.tensors(), encoder.metadata(), name="timm/test_vit", size=32, file="encoder")
