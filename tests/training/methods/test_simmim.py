"""SimMIM's encoder knows nothing of what is hidden, which alone makes the loss and becomes predictable."""

import contextlib

import numpy as np
import pytest
import torch

from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import methods
from headwater.training.methods import simmim
from ramps_made import drawn, parts_of_others, train, unseen

pytestmark = pytest.mark.usefixtures("float64")


def learner(*, backbone="timm/test_vit", size=64, **options):
    return simmim.learner(
        backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0),
        options=simmim.Options(**{"mask_side": 16} | options),
        views=Views(flip=0.5),
        size=size,
        labels=0,
        task=Task(name="classification", labels=(), form="multilabel"),
        targets=np.empty((4, 0), dtype=np.float32),
        steps=10,
    )


def pictures(cases=6, size=64):
    return torch.randint(0, 255, (cases, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def spread(hidden, *, grid, side):
    """The hidden patches as pixels (batch, 1, h, w)."""
    return hidden.view(-1, 1, *grid).repeat_interleave(side, 2).repeat_interleave(side, 3)


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_vit2"])
def test_with_nothing_hidden_the_encoder_is_timms_own(backbone):
    module = learner(backbone=backbone).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole = module.encoder.backbone.forward_features(module.encoder.normalised(images))
        told = module.encode(images, torch.zeros(2, 16, dtype=torch.bool))
        torch.testing.assert_close(told, whole[:, module.encoder.backbone.num_prefix_tokens :])


def test_what_is_hidden_never_reaches_the_encoder_and_alone_makes_the_loss():
    module = learner().eval()
    images, hidden = module.views(pictures(), drawn())
    pixels = spread(hidden, grid=(4, 4), side=16)
    other = torch.where(pixels, torch.rand_like(images), images)
    with torch.no_grad():
        assert torch.equal(module.encode(other, hidden), module.encode(images, hidden))
        assert module([other, hidden], None) != module([images, hidden], None)
        # a head that is blind to its input leaves the targets alone: those of visible pixels do not count
        module.draw.weight.zero_()
        visible = torch.where(pixels, images, torch.rand_like(images))
        assert module([visible, hidden], None) == module([images, hidden], None)


def test_the_loss_is_that_of_the_published_code():
    """`models/simmim.py` of microsoft/SimMIM: masked L1 of the image that a convolution and PixelShuffle make."""
    module = learner().eval()
    images, hidden = module.views(pictures(), drawn())
    with torch.no_grad():
        loss = module([images, hidden], None)
        tokens = module.encode(images, hidden)
        # their head is a convolution whose channels PixelShuffle puts colour by colour, ours a layer with colours last
        order = torch.arange(3 * 256).view(16, 16, 3).permute(2, 0, 1).flatten()
        features = tokens.transpose(1, 2).reshape(6, -1, 4, 4)
        drawn_by = torch.nn.functional.conv2d(
            features, module.draw.weight[order][:, :, None, None], module.draw.bias[order]
        )
        reconstructed = torch.nn.functional.pixel_shuffle(drawn_by, 16)
        mask = spread(hidden, grid=(4, 4), side=16).double()
        errors = (module.encoder.normalised(images) - reconstructed).abs()
        assert loss.item() == pytest.approx(((errors * mask).sum() / mask.sum() / 3).item(), rel=1e-9)


@pytest.mark.parametrize(
    ("size", "options", "squares", "hidden"),
    [
        (224, {"mask_side": 32}, 49, 30),  # the paper's: 196 patches, two along a side of a square
        (224, {"mask_side": 16}, 196, 118),
        (64, {"mask": 0.01}, 16, 1),
        (64, {"mask": 0.99}, 16, 15),
        (64, {"mask_side": 40}, 4, 3),  # two patches and a half are two
        (64, {"mask_side": 1}, 16, 10),
    ],
)
def test_so_many_squares_are_hidden_as_in_the_published_code(size, options, squares, hidden):
    module = learner(size=size, **options)
    mask = module.views(pictures(2, size), drawn(2))[1]
    side = module.side
    cells = mask.view(2, -1, side, size // 16 // side, side).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
    assert cells.shape[1] == squares
    assert torch.equal(cells.all(dim=2), cells.any(dim=2)) and cells.all(dim=2).sum(dim=1).tolist() == [hidden] * 2


def test_squares_are_cut_at_an_edge_and_each_image_counts_alike():
    module = learner(size=80, mask_side=32).eval()
    images, hidden = module.views(pictures(12, 80), drawn(12))
    assert hidden.shape == (12, 25) and len(set(hidden.sum(dim=1).tolist())) > 1
    with torch.no_grad():
        each = [module([images[[case]], hidden[[case]]], None).item() for case in range(12)]
        assert module([images, hidden], None).item() == pytest.approx(np.mean(each), rel=1e-9)


def test_masks_follow_from_keys_alone():
    module = learner()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = module.views(pictures(), drawn())[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[2:4], module.views(pictures()[2:4], drawn()[2:4])[1])
    assert not torch.equal(first, module.views(pictures(), drawn(epoch=1))[1])
    assert len({tuple(row) for row in first.tolist()}) == len(first)


def test_what_it_cannot_train_is_refused():
    with pytest.raises(UserError, match=r"simmim trains networks of timm/vision_transformer only \(got timm/resnet50"):
        methods.check("simmim", backbone="timm/resnet50", size=224)
    with pytest.raises(UserError, match=r"hides squares or cubes of 64 pixels.*lower method\.mask_side"):
        learner(mask_side=64)


@pytest.mark.parametrize("broken", [False, True])
def test_hidden_squares_of_unseen_pictures_are_predicted_better_than_by_one_who_sees_nothing(broken):
    module = learner()
    with parts_of_others() if broken else contextlib.nullcontext():
        train(module, steps=200, lr=1e-3)
    views = unseen(module.eval())
    with torch.no_grad():
        loss = module(views, None)
        # opposite directions are as likely, so who sees nothing of a picture does best with the middle grey, 0 here
        module.draw.weight.zero_()
        module.draw.bias.zero_()
        assert (loss / module(views, None) < 0.7) != broken
