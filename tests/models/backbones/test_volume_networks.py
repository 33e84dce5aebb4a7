"""Networks of volumes: what the library computes, small ones of each form, and sizes that they take."""

import pytest
import torch
from monai.networks.nets import DynUNet, ResNet, SegResNetDS, UNet

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.backbones import vit3d
from headwater.models.encoder import restore, size_in
from headwater.study import initialisation

pytestmark = pytest.mark.usefixtures("float64")

VOLUMES = ["monai", "vit3d", "stu_net", "genesis", "nnunet"]
PLAIN = {"spatial_dims": 3, "in_channels": 1, "out_channels": 8}


def build(name, *, size, seed=0):
    return backbones.build(name, size=size, mean=(0.0,), std=(1.0,), seed=seed).eval()


def outline(network, volume):
    with torch.no_grad():
        return network.decoded(network.levels(volume))[0]


def test_the_dynunet_outlines_as_the_library_does():
    network, volume = build("monai/dynunet_small", size=16), torch.rand(1, 1, 16, 8, 24)
    library = DynUNet(
        **PLAIN, kernel_size=[3] * 3, strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=(8, 16, 32)
    ).eval()
    library.output_block = torch.nn.Identity()
    # not strict: the library names its layers a second time, within its skip connections
    loaded = library.load_state_dict(network.tensors(), strict=False)
    assert not loaded.unexpected_keys and all(name.startswith("skip_layers.") for name in loaded.missing_keys)
    with torch.no_grad():
        torch.testing.assert_close(outline(network, volume), library(volume), **rounding.NEAR)
    # the library's own has each layer under two names
    assert len(network.expected()) < len(library.state_dict()) / 1.9


def test_the_unet_keeps_its_last_norm_and_else_outlines_as_the_library_does():
    network, volume = build("monai/unet_small", size=16), torch.rand(2, 1, 16, 8, 24)
    library = UNet(**PLAIN, channels=(8, 16, 32), strides=(2, 2), num_res_units=2).eval()
    library.load_state_dict({key: one for key, one in network.tensors().items() if key in library.state_dict()})
    last = network.backbone.model[2][1].conv.unit0[-1]
    with torch.no_grad():
        inner = library.model[2][1].conv(library.model[2][0](joined(library, volume)))
        shortcut = library.model[2][1].residual(library.model[2][0](joined(library, volume)))
        torch.testing.assert_close(outline(network, volume), last(inner) + shortcut, **rounding.NEAR)


def joined(library, volume):
    """What the last layer of the library's U-Net gets."""
    return library.model[1](library.model[0](volume))


def test_the_segresnet_for_deep_supervision_outlines_as_the_library_does():
    network, volume = build("monai/segresnet_ds_small", size=8), torch.rand(1, 1, 8, 16, 8)
    library = SegResNetDS(spatial_dims=3, init_filters=8, blocks_down=(1, 1, 1)).eval()
    library.up_layers[-1]["head"] = torch.nn.Identity()
    library.load_state_dict(network.tensors())
    with torch.no_grad():
        torch.testing.assert_close(outline(network, volume), library(volume), **rounding.NEAR)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnets_compute_what_the_library_does(shortcut):
    network = build("monai/resnet_small", size=32)
    form = {"spatial_dims": 3, "n_input_channels": 1, "conv1_t_stride": 2, "feed_forward": False}
    library = ResNet("basic", [1] * 4, [8, 16, 32, 64], **form, shortcut_type=shortcut, bias_downsample=False).eval()
    if shortcut == "A":
        network.backbone = type(network.backbone)("basic", (1,) * 4, (8, 16, 32, 64), shortcut="A").eval()
    library.load_state_dict(network.tensors())
    volume = torch.rand(2, 1, 33, 32, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(volume), library(volume).flatten(1), **rounding.NEAR)


def test_a_shortcut_without_parameters_lets_gradients_through():
    network = build("monai/resnet_small", size=32)
    network.backbone = type(network.backbone)("basic", (1,) * 4, (8, 16, 32, 64), shortcut="A").eval()
    for key, parameter in network.backbone.named_parameters():
        # nothing but the shortcuts passes the last two stages
        if key.startswith(("layer3", "layer4")) and "bn2" in key:
            parameter.data.zero_()
    volume = torch.rand(1, 1, 32, 32, 32, requires_grad=True)
    network(volume).sum().backward()
    assert volume.grad.abs().sum() > 0


def test_cubes_keep_their_places():
    network = build("vit3d/test_patch8", size=(16, 8, 24))
    first, other = torch.rand(2, 1, 16, 8, 24)
    tokens = network.backbone.patch_embed(first[None])
    changed = first.clone()
    changed[:, 8:, :, 16:] = other[:, 8:, :, 16:]
    with torch.no_grad():
        moved = (network.backbone.patch_embed(changed[None]) - tokens).abs().sum(dim=2)[0]
    assert moved.nonzero().flatten().tolist() == [5]
    assert network.backbone.patch_embed.grid_size == (2, 1, 3)


def test_small_views_of_volumes_have_their_positions_stretched():
    network = build("vit3d/test_patch8", size=32)
    assert network.sides(0.4 * 32) == 16
    ramp = torch.linspace(0, 1, 4).view(4, 1, 1, 1).expand(4, 4, 4, 2).reshape(1, 64, 2)
    positions = torch.cat([torch.full((1, 1, 2), 7.0), ramp], dim=1)
    smaller = vit3d.stretched(positions, (4, 4, 4), (2, 4, 1))
    expected = torch.nn.functional.interpolate(
        ramp.view(1, 4, 4, 4, 2).permute(0, 4, 1, 2, 3), size=(2, 4, 1), mode="trilinear"
    )
    assert (smaller[:, 0] == 7).all()
    torch.testing.assert_close(smaller[0, 1:].T.view(1, 2, 2, 4, 1), expected, **rounding.NEAR)
    with torch.no_grad():
        assert network(torch.rand(2, 1, 16, 16, 16)).shape == (2, network.width)


def test_an_encoder_of_volumes_comes_back_with_its_three_sides():
    encoder = build("vit3d/test_patch8", size=(16, 8, 24), seed=1)
    size = size_in(encoder.metadata())
    again, _ = restore(encoder.tensors(), encoder.metadata(), name="vit3d/test_patch8", size=size, file="encoder")
    volume = torch.rand(1, 1, 16, 8, 24)
    assert again.space == (16, 8, 24)
    with torch.no_grad():
        assert torch.equal(encoder(volume), again.eval()(volume))


@pytest.mark.parametrize("library", VOLUMES)
def test_every_start_says_how_it_is_drawn(library):
    for model in backbones.models(library):
        assert "as" not in initialisation.named(f"{library}/{model}", residual=None).split()


def test_the_plan_knows_the_stride_of_the_deepest_features_of_convolutional_networks():
    for name in (f"{library}/{model}" for library in VOLUMES for model in backbones.models(library)):
        library, _, model = name.partition("/")
        if model in ("resnet101", "resnet152", "resnet200", "large", "huge"):
            # as their smaller kin, but building them takes a while
            continue
        if library == "vit3d" or model.startswith("swin"):
            assert backbones.stride(name) == 1
            continue
        with torch.device("meta"):  # shapes without numbers
            network, _ = registry.load("backbones", library).create(model, size=64)
        assert backbones.stride(name) == network.pyramid[-1][1], name


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("monai/dynunet_small", (16, 8, 4), r"multiple of 4 voxels, at least 8 .* use size \[16, 8, 8\]"),
        ("vit3d/base_patch16", (32, 40, 32), r"multiple of 16 voxels \(got \(32, 40, 32\)\); use size \[32, 32, 32\]"),
        ("stu_net/small", 32, "at least 64 .* use size 64"),
        ("monai/unet", (32, 32), "give size as one side or three"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_nearest(name, size, said):
    with pytest.raises(UserError, match=said):
        build(name, size=size)
