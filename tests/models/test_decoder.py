"""Maps of features of every kind of backbone, and the decoders that bring them back to the image's resolution."""

import pytest
import torch
from monai.networks.nets import SwinUNETR

from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.decoder import Decoder

pytestmark = pytest.mark.usefixtures("float64")

PICTURES = [
    ("timm/test_resnet", 65, (2, 4, 8, 16, 32)),
    ("timm/test_convnext", 64, (4, 8, 16, 32)),
    ("timm/test_vit", 64, (16,)),
]
VOLUMES = [
    ("genesis/unet", (8, 8, 16), (1, 2, 4, 8)),
    ("monai/segresnet", (16, 8, 24), (1, 2, 4, 8)),
    ("monai/segresnet_ds_small", (8, 8, 16), (1, 2, 4)),
    ("monai/segresnet_small", (8, 8, 16), (1, 2, 4)),
    ("monai/unet_small", (16, 8, 24), (2, 4, 4)),
    ("monai/dynunet_small", (16, 8, 24), (1, 2, 4)),
    ("nnunet/resenc_test", (16, 8, 24), (1, 2, 4)),
    ("monai/resnet_small", (33, 32, 40), (2, 4, 8, 16, 32)),
    ("vit3d/test_patch8", (24, 8, 16), (8,)),
]
OUTLINING = [volume[:2] for volume in VOLUMES if not volume[0].startswith(("vit3d", "monai/resnet"))]


def encoder(name, *, size):
    return backbones.build(name, size=size, mean=(0.5,), std=(0.5,), seed=0).eval()


def image(network, *, cases=2):
    return torch.rand(cases, network.colours, *network.space, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("name", "size", "strides"), PICTURES + VOLUMES)
def test_levels_are_what_widths_and_strides_say(name, size, strides):
    network = encoder(name, size=size)
    with torch.no_grad():
        levels, features = network.levels(image(network, cases=1)), network(image(network, cases=1))
    assert network.strides == strides and len(levels) == len(strides)
    assert features.shape == (1, network.width)
    for level, width, stride in zip(levels, network.widths, strides, strict=True):
        assert level.shape == (1, width, *(-(-side // stride) for side in network.space))


@pytest.mark.parametrize(
    ("name", "size"), [("timm/test_resnet", 64), *OUTLINING, ("monai/resnet_small", 32)], ids=lambda value: str(value)
)
def test_the_deepest_level_is_what_features_are_pooled_from(name, size):
    network = encoder(name, size=size)
    images = image(network)
    with torch.no_grad():
        deepest = network.levels(images)[-1]
        torch.testing.assert_close(deepest.flatten(2).mean(dim=2), network(images))


def test_tokens_lie_where_their_patches_are():
    network = encoder("timm/test_vit", size=64)
    images = image(network, cases=1)
    with torch.no_grad():
        (level,) = network.levels(images)
        tokens = network.backbone.forward_features(network.normalised(images))[:, network.backbone.num_prefix_tokens :]
    assert torch.equal(level.flatten(2).transpose(1, 2), tokens)


@pytest.mark.parametrize(("name", "size"), OUTLINING)
def test_own_decoders_return_to_the_resolution_of_the_volume_level_by_level(name, size):
    network = encoder(name, size=size)
    with torch.no_grad():
        decoded = network.decoded(network.levels(image(network, cases=1)))
    assert network.outlines[0][1] == 1
    for output, (width, stride) in zip(decoded, network.outlines, strict=True):
        assert output.shape == (1, width, *(side // stride for side in size))


@pytest.mark.parametrize(("name", "size"), OUTLINING)
def test_features_hang_on_no_key_of_the_decoder_and_on_all_others(name, size):
    network = encoder(name, size=size)
    network(image(network, cases=1)).sum().backward()
    unused = {key for key, parameter in network.backbone.named_parameters() if parameter.grad is None}
    named = {key for key, _ in network.backbone.named_parameters() if key.startswith(backbones.decoder(name))}
    assert unused == named != set()


@pytest.mark.parametrize(("name", "size", "strides"), PICTURES[:3])
def test_a_plain_decoder_returns_to_the_resolution_of_the_picture(name, size, strides):
    network = encoder(name, size=size)
    decoder = Decoder(network.widths, network.strides, dimensions=2, seed=0, width=8)
    with torch.no_grad():
        levels = network.levels(image(network))
        outlined, *lower = decoder(levels, space=network.space)
        alone, *_ = decoder([level[1:] for level in levels], space=network.space)
    assert outlined.shape == (2, 8, size, size)
    for output, (width, stride) in zip(lower, decoder.outlines[1:], strict=True):
        assert output.shape == (2, width, -(-size // stride), -(-size // stride))
    torch.testing.assert_close(outlined[1:], alone)  # a case's output does not move with its neighbours


def test_a_swin_unetr_outlines_as_the_library_does():
    network = encoder("monai/swin_unetr_v2_12", size=(64, 32, 32))
    volume = image(network, cases=1)
    with torch.no_grad():
        levels = network.levels(volume)
        # its last layer is the identity
        library = SwinUNETR.forward(network.backbone, network.normalised(volume))
        torch.testing.assert_close(network.decoded(levels)[0], library)
    assert [level.shape[1] for level in levels] == list(network.widths) == [1, 12, 24, 48, 96, 192]
    assert [64 // level.shape[2] for level in levels] == list(network.strides)
    with pytest.raises(UserError, match="volumes this small"):
        network.decoded([level[:, :, : level.shape[2] // 2] for level in levels])


@pytest.mark.parametrize(("strides", "said"), [((12, 17), "strides 12, 17 cannot be joined")])
def test_levels_that_cannot_be_joined_are_refused(strides, said):
    with pytest.raises(UserError, match=said):
        Decoder((8, 8), strides, dimensions=2, seed=0)


def test_a_plain_decoder_of_volumes_joins_every_level():
    levels = [torch.rand(1, 4 * 2**depth, *(side // 2**depth for side in (12, 8, 16))) for depth in range(3)]
    for level in levels:
        level.requires_grad_()
    decoder = Decoder((4, 8, 16), (1, 2, 4), dimensions=3, seed=0, width=8)
    outlined = decoder(levels)[0]
    assert outlined.shape == (1, 8, 12, 8, 16)
    outlined.square().sum().backward()
    assert all(level.grad.abs().sum() > 0 for level in levels)


@pytest.mark.parametrize(
    ("strides", "steps"),
    [((1, 2, 4), [2, 1]), ((2, 4, 8), [4, 2, 1]), ((14,), [7, 1]), ((1,), [1]), ((2, 4, 4), [4, 2, 1])],
)
def test_steps_halve_the_stride_down_to_that_of_the_image(strides, steps):
    decoder = Decoder((8,) * len(strides), strides, dimensions=2, seed=0, width=8)
    assert list(decoder.steps) == list(map(str, steps))
    levels = [torch.rand(1, 8, -(-28 // stride), -(-56 // stride)) for stride in strides]
    assert decoder(levels)[0].shape == (1, 8, 28, 56)


def test_the_seed_and_nothing_else_draws_a_decoder():
    torch.manual_seed(1)
    first, after = Decoder((4, 8), (1, 2), dimensions=3, seed=5), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    again, other = (Decoder((4, 8), (1, 2), dimensions=3, seed=seed) for seed in (5, 6))
    weights = [decoder.state_dict()["steps.1.up.weight"] for decoder in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_what_a_backbone_lacks_is_said():
    network = encoder("timm/test_resnet", size=64)
    with pytest.raises(UserError, match="no decoder of its own"):
        network.decoded(network.levels(image(network, cases=1)))
