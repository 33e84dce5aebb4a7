"""SparK's encoder knows nothing of what is hidden, and stays an ordinary network."""

import contextlib
from functools import partial

import numpy as np
import pytest
import timm
import torch
from torch import nn

import rounding
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.sparse import Shown, features, through
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import methods
from headwater.training.methods import spark
from headwater.training.views.draws import keys
from headwater.training.views.volumes import Patches
from ramps_made import parts_of_others, train, unseen

pytestmark = pytest.mark.usefixtures("float64")

NETWORKS = ["timm/test_resnet", "timm/resnet18", "timm/test_convnext", "timm/convnext_atto"]
OF_VOLUMES = {
    "genesis/unet": (16, 16, 16),
    "monai/dynunet_small": (16, 8, 8),
    "monai/resnet_small": (64, 32, 32),
    "monai/segresnet_ds_small": (16, 8, 8),
    "monai/segresnet_small": (16, 8, 8),
    "monai/unet_small": (16, 8, 8),
    "nnunet/resenc_test": (16, 8, 8),
    "stu_net/test": (64, 64, 64),
}
"""A network of each kind and the sides of a volume of several cubes."""


def learner(*, backbone="timm/test_resnet", size=96, orientation="RAS", **options):
    return spark.learner(
        backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0, orientation=orientation),
        options=spark.Options(**{"decoder_dimension": 64} | options),
        views=Views(),
        size=size,
        labels=0,
        task=Task(name="classification", labels=(), form="multilabel"),
        targets=np.empty((4, 0), dtype=np.float32),
        steps=10,
    )


def seen(module, cases=4):
    """(views, which squares are shown) of some random pictures."""
    side = module.encoder.size
    images = torch.randint(0, 255, (cases, 1, side, side), generator=torch.Generator().manual_seed(0)).byte()
    drawn = keys(seed=0, epochs=torch.zeros(cases, dtype=torch.int64), cases=torch.arange(cases))
    views = module.views(images, drawn)
    return views, module.shown(views[1])


def volumes_seen(module, values):
    """(views, which cubes are shown) of volumes (cases, x, y, z)."""
    cases = torch.arange(len(values))
    patches = Patches(values[:, None], torch.ones(len(values), 3))
    views = module.views(patches, keys(seed=0, epochs=torch.zeros_like(cases), cases=cases))
    return views, module.shown(views[1])


def noise(*sides, cases=2):
    return torch.rand(cases, *sides, generator=torch.Generator().manual_seed(0))


def shown(cells):
    return Shown(cells=cells, total=lambda tensor: tensor)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backbone", NETWORKS)
def test_hidden_pixels_never_influence_what_is_made_of_the_visible_ones(backbone, training):
    module = learner(backbone=backbone).train(training)
    (images, _), cells = seen(module)
    other = torch.where(cells.at(images), images, torch.rand_like(images))
    with torch.no_grad():
        one, two = (features(module.encoder.backbone, x, cells) for x in (images, other))
    assert not torch.equal(images, other)
    for left, right, side in zip(one, two, (24, 12, 6, 3), strict=True):
        assert left.shape[-2:] == (side, side) and torch.equal(left, right)
        assert left.masked_select(~cells.at(left)).eq(0).all() and left.masked_select(cells.at(left)).ne(0).any()


@pytest.mark.parametrize("backbone", OF_VOLUMES)
def test_hidden_voxels_never_influence_what_is_made_of_the_visible_ones(backbone):
    sides = OF_VOLUMES[backbone]
    module = learner(backbone=backbone, size=sides, decoder_dimension=32)
    (volumes, _), cubes = volumes_seen(module, noise(*sides))
    other = torch.where(cubes.at(volumes), volumes, 1 - volumes)
    assert cubes.cells.float().mean() == pytest.approx(0.4, abs=0.5 / cubes.cells[0].numel())
    with torch.no_grad():
        one, two = (features(module.encoder.backbone, x, cubes) for x in (volumes, other))
    assert not torch.equal(volumes, other)
    for left, right, stride in zip(one, two, module.encoder.strides, strict=True):
        assert left.shape[2:] == tuple(side // stride for side in sides) and torch.equal(left, right)
        assert left.masked_select(~cubes.at(left)).eq(0).all() and left.masked_select(cubes.at(left)).ne(0).any()


@pytest.mark.parametrize("backbone", [name for name in OF_VOLUMES if name.startswith(("monai", "nnunet"))])
def test_where_all_cubes_are_seen_it_is_the_networks_own_forward_pass(backbone):
    sides = OF_VOLUMES[backbone]
    module, own = (learner(backbone=backbone, size=sides) for _ in range(2))
    volumes = noise(*sides)[:, None]
    everything = shown(torch.ones(2, *module.grid, dtype=torch.bool))
    for training in (True, False):
        ours = features(module.encoder.backbone.train(training), volumes, everything)
        torch.testing.assert_close(ours, own.encoder.backbone.train(training).levels(volumes), **rounding.NEAR)
    torch.testing.assert_close(module.encoder.tensors(), own.encoder.tensors(), **rounding.NEAR)
    # afterwards the layers are their own again
    assert not any("forward" in vars(layer) for layer in module.modules())


@pytest.mark.parametrize("backbone", NETWORKS)
def test_where_everything_is_seen_it_is_timms_own_forward_pass(backbone):
    module, own = learner(backbone=backbone), learner(backbone=backbone).encoder.backbone
    images, everything = torch.rand(4, 3, 96, 96), shown(torch.ones(4, 3, 3, dtype=torch.bool))
    for training in (True, False):
        ours, theirs = features(module.encoder.backbone.train(training), images, everything)[-1], own.train(training)
        torch.testing.assert_close(ours, theirs.forward_features(images), **rounding.NEAR)
    torch.testing.assert_close(dict(module.encoder.backbone.state_dict()), dict(own.state_dict()), **rounding.NEAR)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_sparse_norm_is_torchs_norm_of_the_visible_places(momentum):
    ours, theirs = nn.BatchNorm2d(5, momentum=momentum), nn.BatchNorm1d(5, momentum=momentum)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.5)
    cells = torch.tensor([[[True, False], [True, True]], [[False, False], [True, False]]])
    for _ in range(3):
        x = (3 * torch.randn(2, 5, 8, 8) + 2).requires_grad_()
        place = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
        made = through(ours, x, shown(cells))
        expected = theirs(x.permute(0, 2, 3, 1)[place])  # (places, channels)
        torch.testing.assert_close(made.permute(0, 2, 3, 1)[place], expected, **rounding.NEAR)
        assert made.permute(0, 2, 3, 1)[~place].eq(0).all()
        weights = torch.randn(expected.shape)
        gradients = [
            torch.autograd.grad((y * weights).sum(), x, retain_graph=True)[0]
            for y in (made.permute(0, 2, 3, 1)[place], expected)
        ]
        torch.testing.assert_close(*gradients, **rounding.NEAR)
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    x = torch.randn(2, 5, 8, 8)
    made = through(ours.eval(), x, shown(cells))
    torch.testing.assert_close(made, theirs.eval()(x.flatten(2)).view_as(x) * place[:, None])


@pytest.mark.parametrize("norm", [partial(nn.GroupNorm, 2), nn.InstanceNorm3d, partial(nn.InstanceNorm3d, affine=True)])
def test_norms_of_each_image_are_torchs_of_its_visible_places(norm):
    norm = norm(6)
    if norm.weight is not None:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    cells = torch.tensor([[True, False, True], [False, False, True]]).view(2, 3, 1, 1)
    x = 3 * torch.randn(2, 6, 6, 2, 4) + 2
    made = through(norm, x, shown(cells))
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else 6
    for image, of_image, cells_of_image in zip(x, made, cells, strict=True):
        place = cells_of_image.repeat_interleave(2, 0).expand(6, 2, 4)
        alone = image[:, place][None]  # (1, channels, places)
        expected = nn.functional.group_norm(alone, groups, norm.weight, norm.bias, norm.eps)[0]
        torch.testing.assert_close(of_image[:, place], expected, **rounding.NEAR)
        assert of_image[:, ~place].eq(0).all()


def test_the_sparse_norm_of_two_ranks_is_that_of_all_their_images():
    whole, halves = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    x, cells = torch.randn(4, 3, 4, 4), torch.rand(4, 2, 2) < 0.5
    cells[:, 0, 0] = True
    expected = through(whole, x, shown(cells))
    # what the other rank adds: three sums, in the order in which they are asked for
    place = cells.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].float()
    mean = (x * place).sum((0, 2, 3)) / place.sum()
    squares = ((x - mean.view(1, -1, 1, 1)) * place).square()
    sums = iter([place[2:].sum().double(), (x * place)[2:].sum((0, 2, 3)), squares[2:].sum((0, 2, 3))])
    ours = through(halves, x[:2], Shown(cells=cells[:2], total=lambda tensor: tensor + next(sums)))
    torch.testing.assert_close(ours, expected[:2])
    torch.testing.assert_close(dict(whole.state_dict()), dict(halves.state_dict()))


@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_convnext"])
def test_the_kept_encoder_is_an_ordinary_network(backbone):
    module = learner(backbone=backbone)
    views, _ = seen(module)
    module.train()(views, torch.empty(4, 0)).backward()
    ordinary = timm.create_model(backbone.partition("/")[2], num_classes=0)
    tensors = module.encoder.tensors()
    assert {key: value.shape for key, value in tensors.items()} == {
        key: value.shape for key, value in ordinary.state_dict().items()
    }
    ordinary.load_state_dict(tensors)
    images = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(module.encoder.eval()(images), ordinary.eval()(module.encoder.normalised(images)))
    unreached = {name for name, one in module.named_parameters() if one.grad is None}
    assert all(name.startswith("encoder.backbone.head.") for name in unreached)


def test_the_loss_counts_hidden_squares_only():
    module = learner().eval()
    (images, shuffled), cells = seen(module)
    with torch.no_grad():
        module.decoder.draw.weight.zero_()
        module.decoder.draw.bias.fill_(0.3)
        loss = module([images, shuffled], torch.empty(4, 0)).item()
    squares = []
    for image, seen_cells in zip(module.encoder.normalised(images).numpy(), cells.cells.numpy(), strict=True):
        for row, column in np.argwhere(~seen_cells):
            square = image[:, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32].astype(np.float64)
            squares.append((((square - square.mean()) / np.sqrt(square.var(ddof=1) + 1e-6) - 0.3) ** 2).mean())
    assert len(squares) == 4 * (9 - module.seen)
    assert loss == pytest.approx(np.mean(squares), rel=1e-9)


@pytest.mark.parametrize("orientation", ["RAS", "SPL"])
def test_the_loss_of_a_volume_counts_hidden_cubes_only_on_the_axes_of_the_network(orientation):
    module = learner(backbone="monai/segresnet_ds_small", size=(16, 8, 12), orientation=orientation).eval()
    views, cubes = volumes_seen(module, noise(16, 8, 12))
    with torch.no_grad():
        module.decoder.draw.weight.zero_()
        module.decoder.draw.bias.fill_(0.3)
        loss = module(views, None).item()
    errors = []
    for volume, seen_cells in zip(module.encoder.normalised(views[0])[:, 0].numpy(), cubes.cells.numpy(), strict=True):
        for place in np.argwhere(~seen_cells):
            cube = volume[tuple(slice(4 * start, 4 * start + 4) for start in place)]
            errors.append((((cube - cube.mean()) / np.sqrt(cube.var(ddof=1) + 1e-6) - 0.3) ** 2).mean())
    assert len(errors) == 2 * (4 * 2 * 3 - module.seen)
    assert loss == pytest.approx(np.mean(errors), rel=1e-9)


def as_published(decoder, scales, masks):
    """The published decoder (github.com/keyu-tian/SparK, spark.py and decoder.py), of our weights."""
    x = 0
    for number, block in enumerate(decoder.blocks):
        if number < len(scales):
            mask, values, norm = masks[number], scales[number], decoder.norms[number]
            seen = values.permute(0, 2, 3, 1)[mask[:, 0]]
            if isinstance(norm, nn.BatchNorm2d):
                normed = (seen - seen.mean(0)) / (seen.var(0, unbiased=False) + norm.eps).sqrt()
            else:
                normed = nn.functional.layer_norm(seen, seen.shape[1:], eps=norm.eps)
            whole = decoder.embeddings[number].expand_as(values).permute(0, 2, 3, 1).clone()
            whole[mask[:, 0]] = normed
            projection = decoder.projections[number]
            same = number == 0 and whole.shape[-1] == decoder.blocks[0][0].in_channels
            assert isinstance(projection, nn.Identity) == same
            if not same:
                assert projection.kernel_size == ((1, 1) if number == 0 else (3, 3))
            x = x + projection(whole.permute(0, 3, 1, 2))
        x = block(x)
    return decoder.draw(x)


@pytest.mark.parametrize(("backbone", "width"), [("timm/test_resnet", 64), ("timm/convnext_atto", 320)])
def test_hidden_features_are_filled_in_as_published(backbone, width):
    module = learner(backbone=backbone, decoder_dimension=width)
    views, mask = seen(module)
    encoded = features(module.encoder.backbone, module.encoder.normalised(views[0]), mask)
    scales = [encoded[scale] for scale in module.scales]
    expected = as_published(module.decoder, scales, [mask.at(scale) for scale in scales])
    torch.testing.assert_close(module.decoder(scales, mask), expected, **rounding.NEAR)


def test_the_decoder_begins_with_weights_as_published():
    decoder = learner(decoder_dimension=256).decoder
    assert all(0.005 < embedding.std() < 0.02 >= embedding.abs().max() for embedding in decoder.embeddings)
    for layer in decoder.blocks.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            # He et al. 2015 over what leaves the layer, which torch counts by the second axis
            aim = (2 / (layer.weight.shape[0] * 16)) ** 0.5
        elif isinstance(layer, nn.Conv2d):
            aim = 0.02
        else:
            continue
        assert layer.bias is None or not layer.bias.any()
        # four standard errors of a standard deviation
        assert abs(layer.weight.std().item() / aim - 1) < 4 / (2 * layer.weight.numel()) ** 0.5


def test_twenty_of_49_squares_are_seen_as_published():
    assert learner(backbone="timm/resnet18", size=224).seen == 20


def test_networks_that_look_at_the_whole_image_at_once_are_refused():
    with pytest.raises(
        UserError, match=r"spark trains networks of timm/resnet and timm/convnext only \(got timm/vit_tiny"
    ):
        methods.check("spark", backbone="timm/vit_tiny_patch16_224", size=224)
    with pytest.raises(UserError, match=r"masks squares of 32 pixels.*; prepare the corpus with size 96"):
        methods.check("spark", backbone="timm/resnet50", size=100)
    with pytest.raises(UserError, match=r"masks cubes of 4 voxels.*; prepare the corpus with size \[8, 12, 16\]"):
        methods.check("spark", backbone="monai/segresnet_small", size=(4, 13, 16))
    methods.check("spark", backbone="monai/resnet50", size=(64, 96, 64))
    with pytest.raises(UserError, match=r"of monai/segresnet, .*, stu_net and genesis only \(got monai/swin_unetr\)"):
        methods.check("spark", backbone="monai/swin_unetr", size=64)
    with pytest.raises(UserError, match=r"only \(got timm/resnetv2_50\)"):
        methods.check("spark", backbone="timm/resnetv2_50", size=64)
    with pytest.raises(UserError, match="would mix visible and hidden"):
        learner(backbone="vit3d/test_patch8", size=16)
    with pytest.raises(UserError, match=r"one of 8 cubes, and the instance norm of a single .* lower"):
        learner(backbone="monai/dynunet_small", size=8, mask=0.9)
    learner(backbone="monai/segresnet_small", size=8, mask=0.9)
    with pytest.raises(UserError, match="SEModule would mix visible and hidden"):
        learner(backbone="timm/seresnet50")
    with pytest.raises(UserError, match="GlobalResponseNormMlp would mix visible and hidden"):
        learner(backbone="timm/convnextv2_atto")


@pytest.mark.parametrize("broken", [False, True])
def test_hidden_squares_of_unseen_pictures_are_predicted_better_than_by_one_who_sees_nothing(broken):
    module = learner(size=64)
    with parts_of_others() if broken else contextlib.nullcontext():
        train(module, steps=60, lr=2e-3)
    views = unseen(module.eval())
    with torch.no_grad():
        loss = module(views, None)
        # squares are standardised, so who sees nothing of a picture does best with their mean
        module.decoder.draw.weight.zero_()
        module.decoder.draw.bias.zero_()
        assert (loss / module(views, None) < 0.7) != broken
