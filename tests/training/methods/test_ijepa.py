"""I-JEPA's context encoder sees the context alone, and its loss is the published one, whatever the padding."""

import numpy as np
import pytest
import torch

from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.tasks import Task
from headwater.study.recipe import Training, Views
from headwater.training import methods
from headwater.training.methods import _boxes, _masking, ijepa
from ramps_made import drawn, train, unseen

pytestmark = pytest.mark.usefixtures("float64")

SMALL = {"predictor_dimension": 32, "predictor_depth": 2, "predictor_heads": 4}


def learner(*, backbone="timm/test_vit", size=96, **options):
    return ijepa.learner(
        backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0),
        options=ijepa.Options(**SMALL | options),
        views=Views(),
        size=size,
        labels=0,
        task=Task(name="classification", labels=(), form="multilabel"),
        targets=np.empty((4, 0), dtype=np.float32),
        steps=10,
    )


def pictures(cases=6, size=96):
    return torch.randint(0, 255, (cases, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def box(block, *, side):
    """(height, width) of a block of patches; fails unless it is a full rectangle."""
    rows, columns = np.nonzero(block.view(side, side).numpy())
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width
    return height, width


def test_blocks_have_the_published_sizes_and_the_context_none_of_them():
    module, cases = learner(size=224, context_limit=1.0), 200
    _, context, blocks = module.views(pictures(cases, 224), drawn(cases))
    assert context.shape == (cases, 196) and blocks.shape == (cases, 4, 196)
    assert not (context[:, None] & blocks).any() and context.any(dim=1).all()
    areas, ratios = [], []
    for block in blocks.flatten(0, 1):
        height, width = box(block, side=14)
        areas.append(height * width / 196)
        ratios.append(height / width)
    # sides are whole: each is off by half a patch at most, of at least 4.5 along a side
    assert min(areas) > 0.15 * (1 - 0.5 / 4.5) ** 2 and max(areas) < 0.2 * (1 + 0.5 / 4.5) ** 2
    assert 0.75 * (4 / 5) < min(ratios) < 0.8 and 1.4 < max(ratios) < 1.5 * (5 / 4)
    assert np.mean(areas) == pytest.approx(0.175, abs=0.005)
    # what is in neither lies outside the context block, whose sides are at least 12.9
    neither = ~(context | blocks.any(dim=1))
    assert neither.sum(dim=1).max() <= 196 - 13 * 13
    # every place is as likely as its mirror image
    mean = blocks.double().mean(dim=(0, 1)).view(14, 14)
    assert (mean - mean.flip(0)).abs().max() < 0.1 and mean.min() > 0


def test_contexts_are_cut_at_random_to_the_limit_and_are_the_same_otherwise():
    cases = 200
    (whole, blocks), (usual, same), (cut, _) = (
        learner(size=224, **options).views(pictures(cases, 224), drawn(cases))[1:]
        for options in ({"context_limit": 1.0}, {}, {"context_limit": 0.3})
    )
    counts = whole.sum(dim=1)
    assert torch.equal(blocks, same) and not ((usual | cut) & ~whole).any()
    assert torch.equal(usual.sum(dim=1), counts.clamp(max=118)) and 0.02 < (counts > 118).double().mean() < 0.15
    assert torch.equal(cut.sum(dim=1), counts.clamp(max=59)) and (counts > 59).double().mean() > 0.9
    # as much is left of the upper half of pictures as of the lower one
    upper, lower = ((cut[:, half].sum() / whole[:, half].sum()).item() for half in (slice(0, 98), slice(98, 196)))
    assert upper == pytest.approx(lower, abs=0.03)


@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (7, 5), (6, 6, 4), (4, 1, 6), (2, 9, 9)])
@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.15, 0.2), (0.75, 1.5)), ((0.01, 0.5), (0.2, 5.0)), ((0.8, 1.0), (1.0, 1.0))]
)
def test_no_box_has_more_patches_than_there_are_places_for(grid, scale, ratio):
    chance, count = torch.Generator().manual_seed(0), 20_000
    patches = scale[0] + (scale[1] - scale[0]) * torch.rand(count, generator=chance)
    ratios = ratio[0] + (ratio[1] - ratio[0]) * torch.rand(len(grid), count, generator=chance)
    lengths = _boxes.sides(patches * np.prod(grid), list(ratios), grid=grid)
    bound, largest = _boxes.most(scale[1] * np.prod(grid), ratio, grid=grid), torch.stack(lengths).prod(dim=0).max()
    assert largest <= bound <= np.prod(grid)
    # where a grid does not cut them, few places are wasted
    if ratio == (0.75, 1.5) and 2 not in grid:
        assert bound <= 1.5 * largest


def test_a_block_that_would_leave_no_context_is_no_target():
    module = learner(targets=6, target_scale=(0.6, 0.9), target_ratio=(1.0, 1.0), context_scale=(0.5, 0.6)).eval()
    views = module.views(pictures(50), drawn(50))
    _, context, blocks = views
    assert context.any(dim=1).all() and not (context[:, None] & blocks).any()
    left_out = ~blocks.any(dim=2)
    assert left_out.any() and not left_out.all()
    with torch.no_grad():
        assert module(views, None).isfinite()


def test_masks_follow_from_keys_alone():
    module = learner()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = module.views(pictures(), drawn())
    assert torch.equal(torch.get_rng_state(), before)
    part = module.views(pictures()[2:4], drawn()[2:4])
    assert all(torch.equal(one[2:4], other) for one, other in zip(whole, part, strict=True))
    assert not torch.equal(whole[2], module.views(pictures(), drawn(epoch=1))[2])


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_vit2"])
def test_with_all_patches_as_context_the_encoder_is_timms_own(backbone):
    module = learner(backbone=backbone).eval()
    images = torch.rand(2, 3, 96, 96)
    everything = torch.arange(36).expand(2, -1), torch.ones(2, 36, dtype=torch.bool)
    with torch.no_grad():
        expected = module.encoder.backbone.forward_features(module.encoder.normalised(images))
        torch.testing.assert_close(module.encode(images, everything), expected)


def test_what_is_not_in_the_context_never_reaches_the_encoder():
    module = learner().eval()
    images, context, _ = module.views(pictures(), drawn())
    assert len(set(context.sum(dim=1).tolist())) > 1
    seen = _masking.places(context, count=module.seen)
    pixels = context.view(-1, 1, 6, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)
    other = torch.where(pixels, images, torch.rand_like(images))
    with torch.no_grad():
        shown = torch.cat([torch.ones(6, 1, dtype=torch.bool), seen[1]], dim=1)
        whole, changed = (module.encode(each, seen)[shown] for each in (images, other))
        torch.testing.assert_close(whole, changed, rtol=0, atol=0)
        alone = torch.where(pixels, torch.rand_like(images), images)
        assert not torch.equal(module.encode(alone, seen)[shown], whole)


@pytest.mark.parametrize("loss", ["smooth_l1", "l2"])
def test_the_loss_is_the_published_one_of_each_image_and_block_by_itself(loss):
    """Without padding and attention masks: the encoder on the context's tokens, then the predictor on one block."""
    module = learner(loss=loss).eval()
    views = images, context, blocks = module.views(pictures(), drawn())
    with torch.no_grad():
        # a context encoder that has moved on
        for parameter in module.context.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        told = module(views, None).item()
        network, predictor, of_images = module.context.backbone, module.predictor, []
        aims = module.target.backbone.forward_features(module.target.normalised(images))[:, 1:]
        aims = (aims - aims.mean(dim=-1, keepdim=True)) / (aims.var(dim=-1, keepdim=True, correction=0) + 1e-5).sqrt()
        for case in range(6):
            patches = network.patch_embed(module.context.normalised(images[[case]])).flatten(1, 2)
            x = torch.cat([network.cls_token, patches], dim=1) + network.pos_embed
            given = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + context[case].nonzero().flatten()])
            encoded = network.norm(network.blocks(network.norm_pre(x[:, given])))
            errors = []
            for block in blocks[case]:
                asked = 1 + block.nonzero().flatten()
                tokens = [
                    module.embed(encoded) + predictor.pos_embed[:, given],
                    predictor.mask_token + predictor.pos_embed[:, asked],
                ]
                said = module.draw(predictor.norm(predictor.blocks(torch.cat(tokens, dim=1))))[0, len(given) :]
                away = (said - aims[case, asked - 1]).abs()
                errors.append(torch.where(away < 1, away**2 / 2, away - 0.5) if loss == "smooth_l1" else away**2)
            of_images.append(torch.cat(errors).mean().item())
    # the published code cuts all blocks of a batch to one size, with which this is the mean over all patches
    assert told == pytest.approx(np.mean(of_images), rel=1e-6)


def test_the_target_encoder_follows_along_a_line_and_is_kept():
    module = learner(target_momentum=0.9)
    assert module.encoder is module.target
    assert not any(parameter.requires_grad for parameter in module.target.parameters())
    for step, share in ((0, 0.1), (5, 0.05), (10, 0.0)):
        with torch.no_grad():
            for parameter, old in zip(module.context.parameters(), module.target.parameters(), strict=True):
                parameter.copy_(old + 1)
        before = [parameter.clone() for parameter in module.target.parameters()]
        module.after_step(step=step, steps=11)
        for parameter, old in zip(module.target.parameters(), before, strict=True):
            torch.testing.assert_close(parameter, old + share)


def test_what_it_cannot_train_is_refused():
    with pytest.raises(UserError, match=r"ijepa trains networks of timm/vision_transformer only \(got timm/resnet50"):
        methods.check("ijepa", backbone="timm/resnet50", size=224)
    for options, said in (
        ({"size": 16}, "prepare larger images"),
        ({"target_scale": (0.3, 0.2)}, "target_scale must be a range of image fractions"),
        ({"context_scale": (0.5, 1.2)}, "context_scale must be a range of image fractions"),
        ({"target_ratio": (2.0, 1.0)}, "target_ratio must be a range of ratios"),
        ({"predictor_heads": 5}, "predictor_dimension must be a multiple of predictor_heads"),
    ):
        with pytest.raises(UserError, match=said):
            learner(**options)
    with pytest.raises(UserError, match=r"leave out training\.ema"):
        learner().parameter_groups(Training(steps=1, ema=0.9))


def seeing_the_next(module):
    """Show the context encoder, from here on, the next picture instead of each, at the same places."""
    encode = module.encode
    module.encode = lambda images, seen: encode(images.roll(1, dims=0), seen)


@pytest.mark.parametrize("broken", [False, True])
def test_features_of_unseen_pictures_are_predicted_better_than_those_of_others(broken):
    """Not a constant: the predictions for a picture fit its own features, and less those of the next picture."""
    module = learner()
    if broken:
        seeing_the_next(module)
    train(module, steps=60, lr=1e-3)
    views = unseen(module.eval())
    with torch.no_grad():
        loss = module(views, None)
        seeing_the_next(module)
        assert (loss / module(views, None) < 0.9) != broken
