"""iBOT's student knows nothing of what is masked, its loss is the published one, and DINOv2's networks go on by it."""

import math

import numpy as np
import pytest
import torch
from lightly.loss import IBOTPatchLoss
from lightly.models.utils import get_at_index

import rounding
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.tasks import Task
from headwater.models.weight_files import save_weights
from headwater.study.recipe import Training, Views
from headwater.study.source import Source
from headwater.training import methods, pretraining
from headwater.training.methods import _boxes, _masking, ibot
from ramps_made import drawn, train, unseen

pytestmark = pytest.mark.usefixtures("float64")

SMALL = {
    "output_dimension": 24, "hidden_dimension": 16, "bottleneck_dimension": 8, "local_views": 1, "masked_views": 0.7,
    "mask": (0.3, 0.6),
}  # fmt: skip


def made(encoder, *, size=64, **options):
    return ibot.learner(
        encoder,
        options=ibot.Options(**SMALL | options),
        views=Views(),
        size=size,
        labels=0,
        task=Task(name="classification", labels=(), form="multilabel"),
        targets=np.empty((4, 0), dtype=np.float32),
        steps=10,
    )


def learner(*, backbone="timm/test_vit", size=64, **options):
    return made(backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0), size=size, **options)


def told(module, branch, images, places, *, masked=None):
    """(logits of images, of their patches at these places, features of the images)."""
    features, patches = module._seen(branch, images, places, masked=masked)
    return branch.head(features), branch.of_patches(patches), features


def pictures(cases=6, size=64):
    return torch.randint(0, 255, (cases, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def blocks_one_by_one(chance, *, side, ratio):
    """The share of a grid that is masked by blocks, drawn one after the other until ten in a row do not fit."""
    wanted, masked, missed = ratio * side**2, set(), 0
    while len(masked) < wanted and missed < 10:
        left = wanted - len(masked)
        area, shape = chance.uniform(*sorted(((side // 3) ** 2, left))), math.exp(chance.uniform(-1, 1) * math.log(0.3))
        height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if max(height, width) >= side:
            missed += 1
            continue
        top, start = chance.integers(side - height + 1), chance.integers(side - width + 1)
        new = {(top + down, start + across) for down in range(height) for across in range(width)} - masked
        missed = 0 if 0 < len(new) <= left else missed + 1
        masked |= new if not missed else set()
    return len(masked) / side**2


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5])
def test_as_much_is_masked_as_by_blocks_drawn_one_by_one(ratio):
    chance, cases = np.random.default_rng(0), 500
    masks = _boxes.masks(drawn(cases), torch.full((cases,), ratio), grid=(14, 14), first_draw=0)
    ours = masks.flatten(1).double().mean(dim=1)
    theirs = np.array([blocks_one_by_one(chance, side=14, ratio=ratio) for _ in range(cases)])
    assert (ours <= ratio).all()
    # the last patches are missed now and then: by less than a hundredth of the grid, in which both agree
    assert abs(ours.mean().item() - theirs.mean()) < 0.01 and ratio - ours.mean().item() < 0.02


@pytest.mark.parametrize("grid", [(7, 5), (4, 6, 3), (4, 1, 6)])
def test_boxes_are_where_they_can_be_and_of_the_sides_asked_for(grid):
    count, axes = 4000, len(grid)
    chance = torch.rand(2 * axes + 1, count, generator=torch.Generator().manual_seed(0))
    lengths = _boxes.sides(1 + 9 * chance[0], [0.3 ** (2 * one - 1) for one in chance[1 : axes + 1]], grid=grid)
    boxes = _boxes.placed(lengths, chance[axes + 1 :], grid=grid)
    assert torch.equal(boxes.flatten(1).sum(dim=1).double(), torch.stack(lengths).prod(dim=0))
    assert boxes.any(dim=0).all() and all((length <= edge).all() for length, edge in zip(lengths, grid, strict=True))
    # uncut, a box has about as many patches as asked for: sides are rounded
    wide = _boxes.sides(torch.full((1,), 64.0), [torch.ones(1)] * axes, grid=(99,) * axes)
    assert [int(side) for side in wide] == [round(64 ** (1 / axes))] * axes


def test_so_many_views_are_masked_and_by_keys_alone():
    module = learner(size=128, mask=(0.1, 0.5), masked_views=0.5, local_views=0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    masked = module.views(pictures(300, 128), drawn(300))[-1]
    assert torch.equal(torch.get_rng_state(), before)
    assert masked.shape == (600, 64) and not torch.equal(masked[:300], masked[300:])
    share = masked.double().mean(dim=1)
    # half of 600, give or take four standard deviations
    assert abs((share > 0).double().mean() - 0.5) < 4 * math.sqrt(0.25 / 600)
    assert share.max() <= 0.5 and share[share > 0].min() < 0.15 and share.max() > 0.45
    part = module.views(pictures(300, 128)[2:4], drawn(300)[2:4])[-1]
    assert torch.equal(part, torch.cat([masked[2:4], masked[302:304]]))


def test_what_is_masked_never_reaches_the_student_but_the_teacher():
    module = learner().eval()
    first, second, _, masked = module.views(pictures(), drawn())
    assert masked.any() and not masked.all()
    large = torch.cat([first, second])
    pixels = masked.view(-1, 1, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    other = torch.where(pixels, torch.rand_like(large), large)
    with torch.no_grad():
        places, _ = _masking.places(masked, count=module.most)
        whole, changed = (told(module, module.student, images, places, masked=masked) for images in (large, other))
        assert all(map(torch.equal, whole, changed))
        whole, changed = (told(module, module.teacher, images, places) for images in (large, other))
        assert not torch.equal(whole[1], changed[1])


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("koleo", [0.0, 0.1])
def test_the_loss_is_the_published_one(untied, koleo):
    """Equations 1 and 2 of iBOT with its centring, and DINOv2's KoLeo, in words of numpy."""
    module = learner(untied_heads=untied, koleo=koleo, warmup=0.5).eval()
    with torch.no_grad():
        # a student that has moved on, and centres that are not 0
        for parameter in module.student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        module.criterion.center.copy_(torch.linspace(-0.01, 0.01, 24))
        module.of_patches.center.center.copy_(torch.linspace(0.02, -0.02, 24))
        module.before_step(step=2)
        views = module.views(pictures(), drawn())
        first, second, small, masked = views
        large = torch.cat([first, second])
        places = torch.arange(16).expand(len(large), -1)
        aims, patch_aims, _ = told(module, module.teacher, large, places)
        said, patches_said, features = (
            one.numpy() for one in told(module, module.student, large, places, masked=masked)
        )
        aims, patch_aims, patches_said = aims.numpy(), patch_aims[masked].numpy(), patches_said[masked.numpy()]
        small_said = module.student(small).numpy()
        loss = module(views, None).item()

    def soft(logits):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def crossed(aim, say, centre):
        # two fifths of the warm-up from 0.04 to 0.07 are over
        return -(soft((aim - centre) / 0.052) * np.log(soft(say / 0.1))).sum(axis=-1)

    aims, said, centre = aims.reshape(2, 6, 24), said.reshape(2, 6, 24), np.linspace(-0.01, 0.01, 24)
    terms = [crossed(aims[0], said[1], centre), crossed(aims[1], said[0], centre)]
    terms += [crossed(aim, small_said, centre) for aim in aims]
    expected = np.mean(terms)
    each, at = crossed(patch_aims, patches_said, np.linspace(0.02, -0.02, 24)), 0
    for view in masked.numpy():
        count = view.sum()
        # views without a mask count with nothing, as in the published code
        expected += each[at : at + count].sum() / max(1, count) / 12
        at += count
    for view in features.reshape(2, 6, -1):
        unit = view / np.linalg.norm(view, axis=1, keepdims=True)
        away = np.linalg.norm(unit[:, None] - unit[None], axis=2) + 9 * np.eye(6)
        expected += koleo * -np.log(away.min(axis=1)).mean()
    # lightly adds 1e-8 to each difference and to each distance
    assert loss == pytest.approx(expected, rel=1e-6)
    centres = (module.criterion.center.flatten(), module.of_patches.center.value.flatten())
    moved = [0.9 * old + 0.1 * rows.reshape(-1, 24).mean(axis=0) for old, rows in
             ((centre, aims), (np.linspace(0.02, -0.02, 24), patch_aims))]  # fmt: skip
    for ours, theirs in zip(centres, moved, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9)


def test_of_patches_the_loss_and_the_centre_are_lightlys():
    """Which take masked patches alone, in rows; ours takes as many places of each image, some of them padding."""
    chance = torch.Generator().manual_seed(0)
    masked = torch.rand(6, 4, 4, generator=chance) < torch.tensor([0.1, 0.2, 0.3, 0.5, 0.6, 0.4])[:, None, None]
    aims, said = torch.randn(2, 6, 16, 24, generator=chance)
    places, real = _masking.places(masked.flatten(1), count=12)
    ours, theirs = (form(24, student_temp=0.2) for form in (ibot._PatchLoss, IBOTPatchLoss))
    for step in range(2):
        given = [get_at_index(one, places) for one in (aims + step, said)]
        expected = theirs((aims + step)[masked.flatten(1)], said[masked.flatten(1)], masked, teacher_temp=0.05)
        assert ours(*given, real, teacher_temp=0.05).item() == pytest.approx(expected.item(), rel=1e-12)
        torch.testing.assert_close(ours.center.value, theirs.center.value, **rounding.NEAR)
    assert ours.state_dict().keys() == theirs.state_dict().keys()


@pytest.mark.parametrize("largest", [0.29, 0.3, 0.5, 1.0])
def test_no_more_patches_are_masked_than_there_are_places_for(largest):
    module = learner(size=160, mask=(largest, largest), masked_views=1.0, local_views=0)
    masked = module.views(pictures(400, 160), drawn(400))[-1]
    assert masked.sum(dim=1).max() <= module.most == math.ceil(100 * largest)
    places, real = _masking.places(masked, count=module.most)
    assert torch.equal(torch.zeros_like(masked).scatter(1, places, real), masked)


def test_a_batch_without_a_mask_has_no_loss_of_patches_and_leaves_its_centre():
    module = learner(masked_views=1e-9).eval()
    module.of_patches.center.center.fill_(0.5)
    module.before_step(step=5)
    views = module.views(pictures(), drawn())
    assert not views[-1].any()
    loss = module(views, None)
    loss.backward()
    assert loss.isfinite() and (module.of_patches.center.value == 0.5).all() and module.criterion.center.any()
    # a parameter without a gradient would keep several ranks waiting
    assert all(one.grad is not None and one.grad.isfinite().all() for one in module.parameters() if one.requires_grad)


def test_heads_are_shared_unless_untied():
    count = {untied: len(list(learner(untied_heads=untied).heads())) for untied in (False, True)}
    assert count == {False: 1, True: 2}
    module = learner(untied_heads=True, frozen_last_layer=0.5)
    for step, learns in ((4, False), (5, True)):
        module.before_step(step=step)
        assert [head.last_layer.weight_v.requires_grad for head in module.heads()] == [learns, learns]
    with torch.no_grad():
        module.student.patch_head.layers[0].weight.add_(1)
    module.after_step(step=0, steps=10)
    assert not torch.equal(
        module.teacher.patch_head.layers[0].weight, learner(untied_heads=True).teacher.patch_head.layers[0].weight
    )


@pytest.mark.parametrize(
    ("backbone", "size"),
    [
        ("timm/test_vit", 64),
        ("timm/test_vit2", 64),  # register tokens, no class token
        ("timm/vit_small_patch14_dinov2", 56),
        ("timm/vit_small_patch14_reg4_dinov2", 56),
    ],
)
def test_without_a_mask_the_networks_of_dinov2_compute_what_timm_does(backbone, size):
    module = learner(backbone=backbone, size=size).eval()
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        tokens = module.encode(module.encoder, images, None)
        network = module.encoder.backbone
        torch.testing.assert_close(tokens, network.forward_features(module.encoder.normalised(images)))
        torch.testing.assert_close(network.forward_head(tokens), module.encoder(images))
        assert math.isfinite(module(module.views(pictures(2, size), drawn(2)), None).item())


def test_it_goes_on_from_the_encoder_of_another_source(tmp_path):
    """Published weights are adopted as a source; at another size, positions are interpolated."""
    published = backbones.build("timm/vit_tiny_patch16_224", size=96, mean=(0.4,), std=(0.2,), seed=7)
    file = tmp_path / "e.safetensors"
    save_weights(published.tensors(), file, {**published.metadata(), "source": '{"name": "dinov2"}'})
    source = Source(
        name="mine", backbone="timm/vit_tiny_patch16_224", start="dinov2", corpus="made",
        method={"name": "ibot", **SMALL, "koleo": 0.1}, training=Training(steps=2, batch=2),
    )  # fmt: skip
    encoder = pretraining.first_weights(source, size=64, start=file)
    module = made(encoder, koleo=0.1)
    for branch in (module.student, module.teacher):
        assert torch.equal(
            branch.encoder.backbone.blocks[3].attn.qkv.weight, published.backbone.blocks[3].attn.qkv.weight
        )
    assert encoder.backbone.pos_embed.shape[1] == 17 and torch.equal(encoder.mean, published.mean)


def test_what_it_cannot_train_is_refused():
    with pytest.raises(UserError, match=r"ibot trains networks of timm/vision_transformer only \(got timm/resnet50"):
        methods.check("ibot", backbone="timm/resnet50", size=224)
    with pytest.raises(UserError, match="prepare larger images"):
        learner(size=16)
    with pytest.raises(UserError, match="mask must be a range of image fractions"):
        learner(mask=(0.5, 0.1))
    with pytest.raises(UserError, match=r"ibot's teacher is already a moving average.*leave out training\.ema"):
        learner().parameter_groups(Training(steps=1, ema=0.9))
    with pytest.raises(UserError, match="koleo compares the images of a batch"):
        learner(koleo=0.1).parameter_groups(Training(steps=1, batch=1))


@torch.no_grad()
def loss_of_patches(module, views, *, shown):
    """The mean cross-entropy of masked patches, of which the teacher sees the large views `shown` instead."""
    large, masked = torch.cat(views[:2]), views[-1]
    places, real = _masking.places(masked, count=module.most)
    _, said, _ = told(module, module.student, large, places, masked=masked)
    _, aims, _ = told(module, module.teacher, shown(large), places)
    aims = torch.softmax((aims[real] - module.of_patches.center.value) / 0.04, dim=1)
    return -(aims * torch.log_softmax(said[real] / 0.1, dim=1)).sum(dim=1).mean().item()


def ratio_of_patches(module):
    """The loss of masked patches of unseen pictures if the teacher sees them, by that if it sees the next ones."""
    views = unseen(module)
    own = loss_of_patches(module, views, shown=lambda large: large)
    return own / loss_of_patches(module, views, shown=of_the_next)


def of_the_next(large):
    return torch.cat([view.roll(1, dims=0) for view in large.chunk(2)])


@pytest.mark.parametrize("broken", [False, True])
def test_what_the_teacher_says_of_hidden_patches_of_unseen_pictures_is_learned(broken):
    """What is said of a picture fits it better than the next one; hardly so before, when a mask token tells nothing."""
    module = learner(masked_views=1.0, normalise_last_layer=True, teacher_temperature=0.04)
    assert ratio_of_patches(module) > 0.8
    if broken:
        seen = module.momentum_features
        module.momentum_features = lambda views: seen([*of_the_next(torch.cat(views[:2])).chunk(2), *views[2:]])
    train(module, steps=80, lr=5e-4)
    assert (ratio_of_patches(module) < 0.8) != broken
