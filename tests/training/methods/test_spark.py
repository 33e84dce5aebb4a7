"""SparK's encoder knows nothing of what is hidden, and stays an ordinary network."""

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

pytestmark = pytest.mark.usefixtures("float64")

NETWORKS = ["timm/test_resnet", "timm/resnet18", "timm/test_convnext", "timm/convnext_atto"]


def learner(*, backbone="timm/test_resnet", size=96, **options):
    return spark.learner(
        backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0),
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


def test_twenty_of_49_squares_are_seen_as_published():
    assert learner(backbone="timm/resnet18", size=224).seen == 20


def test_networks_that_look_at_the_whole_image_at_once_are_refused():
    with pytest.raises(
        UserError, match=r"spark trains networks of timm/resnet and timm/convnext only \(got timm/vit_tiny"
    ):
        methods.check("spark", backbone="timm/vit_tiny_patch16_224", size=224)
    with pytest.raises(UserError, match=r"masks squares of 32 pixels.*; prepare the corpus with size 96"):
        methods.check("spark", backbone="timm/resnet50", size=100)
    with pytest.raises(UserError, match="SEModule would mix visible and hidden"):
        learner(backbone="timm/seresnet50")
    with pytest.raises(UserError, match="GlobalResponseNormMlp would mix visible and hidden"):
        learner(backbone="timm/convnextv2_atto")
