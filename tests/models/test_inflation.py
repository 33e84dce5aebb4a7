"""Inflated networks: on a volume that is the same in each of its slices they give what the network of slices gave."""

import re

import pytest
import timm
import torch
from monai.networks.nets import ResNet

import rounding
from headwater.core import registry
from headwater.models import backbones, published_weights, weight_coverage
from headwater.models.inflation import Inflation
from headwater.study.source import Source

pytestmark = pytest.mark.usefixtures("float64")

COLOURS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def standing(picture, *, plane, depth):
    """A grey picture (rows, columns) as a volume (1, 1, x, y, z) of equal slices, upright as radiologists look at them.

    Its top is anterior or superior and its left edge the patient's right, or anterior in sagittal slices.
    """
    along = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    upright = torch.rot90(picture, 2).T  # both of its axes grow against those of the volume; columns come first
    return torch.stack([upright] * depth, dim=along)[None, None]


def in_colours(picture):
    means, stds = (torch.tensor(values).view(1, 3, 1, 1) for values in COLOURS)
    return (picture.expand(1, 3, *picture.shape) - means) / stds


def inflated(slices, name, *, size, plane):
    """The network of volumes with the weights of one of slices, and the coverage."""
    network = backbones.build(name, size=size, mean=(sum(COLOURS[0]) / 3,), std=(sum(COLOURS[1]) / 3,), seed=5).eval()
    grid = getattr(getattr(network.backbone, "patch_embed", None), "grid_size", None)
    inflation = Inflation(plane=plane, slices=COLOURS, grid=grid)
    covered = weight_coverage.match(
        slices.state_dict(),
        expected=network.expected(),
        layout=registry.load("weights", "timm"),
        prefix="",
        resample=network.resample,
        inflate=inflation.inflated,
    )
    assert covered.share == 1 and not covered.unexpected and not covered.mismatched
    network.backbone.load_state_dict({**network.backbone.state_dict(), **covered.tensors})
    return network, covered


def stirred(network):
    """The network with norms and running statistics that change something."""
    for key, tensor in network.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor) * 0.2 if "var" in key else torch.randn_like(tensor) * 0.1)
    return network.eval()


RESNET = {
    "spatial_dims": 2,
    "n_input_channels": 3,
    "conv1_t_stride": 2,
    "feed_forward": False,
    "bias_downsample": False,
}
SHAPE = ("basic", [1] * 4, [8, 16, 32, 64])


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_one_grey_in_place_of_three_colours_gives_the_same_but_at_the_border_of_the_picture(plane):
    slices = stirred(ResNet(*SHAPE, **RESNET))
    network, covered = inflated(slices, "monai/resnet_small", size=33, plane=plane)
    picture = torch.rand(33, 33)  # odd, so that strides meet the same pixels from either end
    with torch.no_grad():
        flat = slices.act(slices.bn1(slices.conv1(in_colours(picture))))
        level = network.levels(standing(picture, plane=plane, depth=33))[0]
    middle = level.select({"axial": 4, "coronal": 3, "sagittal": 2}[plane], 8)
    difference = middle - torch.rot90(flat, 2, dims=(2, 3)).transpose(2, 3)
    # outside of the picture both see zeros after normalisation, of colours and of grey
    assert difference[..., 2:-2, 2:-2].abs().max() < rounding.NEAR["atol"] < difference.abs().max()
    assert {key for key, change in covered.inflated.items() if "8 x 3 x 7 x 7 ->" in change} == {"conv1.weight"}


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_resnet_of_one_grey_gives_exactly_what_it_gave_on_the_slice(plane):
    # with one mean for all colours, borders agree as well
    slices = stirred(ResNet(*SHAPE, **RESNET))
    network = backbones.build("monai/resnet_small", size=33, mean=(0.5,), std=(0.25,), seed=5).eval()
    tensors, _ = Inflation(plane=plane, slices=((0.5,), (0.25,))).inflated(slices.state_dict(), network.expected())
    network.backbone.load_state_dict(tensors)
    picture, along = torch.rand(33, 33), {"axial": 4, "coronal": 3, "sagittal": 2}[plane]
    with torch.no_grad():
        x = slices.maxpool(slices.act(slices.bn1(slices.conv1((picture.expand(1, 3, 33, 33) - 0.5) / 0.25))))
        flat = slices.layer4(slices.layer3(slices.layer2(slices.layer1(x))))
        level = network.levels(standing(picture, plane=plane, depth=257))[-1]
    middle = level.select(along, level.shape[along] // 2)
    torch.testing.assert_close(middle, torch.rot90(flat, 2, dims=(2, 3)).transpose(2, 3), **rounding.NEAR)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_transformer_gives_what_it_gave_on_the_slice(plane):
    form = {"img_size": 24, "patch_size": 8, "num_classes": 0, "embed_dim": 48, "depth": 2, "num_heads": 2}
    slices = stirred(timm.models.VisionTransformer(**form))
    size = {"axial": (24, 24, 8), "coronal": (24, 8, 24), "sagittal": (8, 24, 24)}[plane]
    network, covered = inflated(slices, "vit3d/test_patch8", size=size, plane=plane)
    picture = torch.rand(24, 24)
    with torch.no_grad():
        # one layer of cubes: as many tokens as the slice had
        torch.testing.assert_close(
            network(standing(picture, plane=plane, depth=8)), slices(in_colours(picture)), **rounding.NEAR
        )
    assert covered.inflated["patch_embed.proj.weight"] == "48 x 3 x 8 x 8 -> 48 x 1 x 8 x 8 x 8"


def test_deeper_volumes_get_the_positions_of_the_slice_in_each_layer():
    slices = timm.models.VisionTransformer(img_size=24, patch_size=8, num_classes=0, embed_dim=48, depth=2, num_heads=2)
    _, covered = inflated(slices, "vit3d/test_patch8", size=(24, 24, 16), plane="axial")
    cube = covered.tensors["pos_embed"][0, 1:].view(3, 3, 2, 48)
    square = slices.pos_embed[0, 1:].view(3, 3, 48)
    assert torch.equal(cube[:, :, 0], cube[:, :, 1])
    # row 0 is anterior (the last y), column 0 the patient's right (the last x)
    torch.testing.assert_close(cube[2, 1, 0], square[1, 0], **rounding.NEAR)
    torch.testing.assert_close(cube[1, 2, 0], square[0, 1], **rounding.NEAR)
    assert covered.inflated["pos_embed"] == "1 x 10 x 48 -> 1 x 19 x 48"


@pytest.mark.parametrize("depth", ["18", "50"])
def test_resnets_of_timm_have_a_place_for_every_tensor(depth):
    with torch.device("meta"):
        slices = timm.create_model(f"resnet{depth}", num_classes=0).state_dict()
        volumes = registry.load("backbones", "monai").create(f"resnet{depth}", size=32)[0].state_dict()
    assert slices.keys() == volumes.keys()
    for key, tensor in slices.items():
        assert volumes[key].shape[2:] == (
            tensor.shape[2:] if tensor.ndim != 4 else (*tensor.shape[2:], tensor.shape[2])
        )


def test_an_inflated_source_has_a_line_of_its_own_in_the_report(tmp_path):
    form = {"img_size": 24, "patch_size": 8, "num_classes": 5, "embed_dim": 48, "depth": 2, "num_heads": 2}
    torch.save(timm.models.VisionTransformer(**form).float().state_dict(), tmp_path / "x.pth")
    weights = {"layout": {"name": "timm", "mean": [0.5], "std": [0.5]}, "path": str(tmp_path / "x.pth")}
    source = Source(name="imagenet", backbone="vit3d/test_patch8", weights={**weights, "inflate": "axial"})
    adopted = published_weights.read(source, size=(24, 24, 16))
    report = adopted.report()
    assert report["share"] == 1 and set(report["inflated"]) == {"patch_embed.proj.weight", "pos_embed"}
    assert any("axial slices inflated" in footnote for footnote in report["footnotes"])
    assert set(report["dropped"]) == {"head.weight", "head.bias"}
    assert re.search(r"^inflated +2  ", adopted.coverage.table(), re.MULTILINE)


def test_misfits_of_inflation_are_told():
    weights = {"layout": "timm", "path": "x", "inflate": "axial"}
    assert "neither" in Source(name="a", backbone="timm/resnet18", weights=weights).misfit
    assert "neither" in Source(name="a", backbone="monai/resnet18", weights={**weights, "layout": "voco"}).misfit
    assert not Source(name="a", backbone="monai/resnet18", weights=weights).misfit
    assert (
        "networks for slices"
        in Source(name="a", backbone="monai/resnet18", weights={"layout": "timm", "path": "x"}).misfit
    )
