"""A masked autoencoder sees what it is shown, and is measured on what it is not."""

import numpy as np
import pytest
import torch
from lightly.models import utils as tokens

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models import backbones
from headwater.models.tasks import Task
from headwater.study.recipe import Views
from headwater.training import methods
from headwater.training.methods import _masking, mae
from headwater.training.views.draws import keys, order
from headwater.training.views.pictures import DRAWS

pytestmark = pytest.mark.usefixtures("float64")

SMALL = {"decoder_dimension": 32, "decoder_depth": 1, "decoder_heads": 2}


def learner(*, backbone="timm/test_vit", size=64, **options):
    return mae.learner(
        backbones.build(backbone, size=size, mean=(0.5,), std=(0.25,), seed=0),
        options=mae.Options(**SMALL | options),
        views=Views(flip=0.5),
        size=size,
        labels=0,
        task=Task(name="classification", labels=(), form="multilabel"),
        targets=np.empty((4, 0), dtype=np.float32),
        steps=10,
    )


def drawn(cases=6, epoch=0):
    return keys(seed=3, epochs=torch.full((cases,), epoch), cases=torch.arange(cases))


def pictures(cases=6, size=64):
    return torch.randint(0, 255, (cases, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_each_sample_has_its_own_order_which_follows_from_its_key_alone():
    whole = order(drawn(), DRAWS, 16)
    assert (whole.sort(dim=1).values == torch.arange(16)).all()
    assert len({tuple(row) for row in whole.tolist()}) == len(whole)
    assert torch.equal(order(drawn()[2:4], DRAWS, 16), whole[2:4])
    assert not torch.equal(order(drawn(epoch=1), DRAWS, 16), whole)
    assert not torch.equal(order(drawn(), DRAWS + 1, 16), whole)


def test_every_place_of_the_order_is_as_likely_as_any_other():
    many = order(keys(seed=0, epochs=torch.zeros(8000, dtype=torch.int64), cases=torch.arange(8000)), 0, 4)
    shares = torch.stack([(many == number).float().mean(dim=0) for number in range(4)])
    assert (shares - 0.25).abs().max() < 0.02


@pytest.mark.parametrize("backbone", ["timm/test_vit", "timm/test_vit2"])
def test_with_every_patch_kept_the_encoder_is_timms_own(backbone):
    module = learner(backbone=backbone).eval()
    images = torch.rand(2, 3, 64, 64)
    everything = torch.arange(module.prefix + module.patches).expand(2, -1)
    with torch.no_grad():
        expected = module.encoder.backbone.forward_features(module.encoder.normalised(images))
        torch.testing.assert_close(module.encode(images, everything), expected)


def test_what_is_hidden_never_reaches_the_encoder_and_alone_makes_the_loss():
    module = learner().eval()
    images, shuffled = module.views(pictures(), drawn())
    kept, hidden = module._places(shuffled)
    assert kept.shape == (6, 1 + 4) and hidden.shape == (6, 12) and (kept[:, 0] == 0).all()
    other = images.clone()
    for case, places in enumerate((hidden - 1).tolist()):
        for place in places:
            top, left = divmod(place, 4)
            other[case, :, 16 * top : 16 * top + 16, 16 * left : 16 * left + 16] = torch.rand(3, 16, 16)
    with torch.no_grad():
        assert torch.equal(module.encode(other, kept), module.encode(images, kept))
        assert module([other, shuffled], torch.empty(6, 0)) != module([images, shuffled], torch.empty(6, 0))


def test_the_loss_is_the_squared_error_of_the_hidden_patches_by_hand():
    module = learner().eval()
    images, shuffled = module.views(pictures(2), drawn(2))
    with torch.no_grad():
        module.draw.weight.zero_()
        module.draw.bias.fill_(0.3)
        loss = module([images, shuffled], torch.empty(2, 0)).item()
    squares = []
    for image, places in zip(module.encoder.normalised(images).numpy(), shuffled[:, 4:].tolist(), strict=True):
        for place in places:
            top, left = divmod(place, 4)
            patch = image[:, 16 * top : 16 * top + 16, 16 * left : 16 * left + 16].astype(np.float64)
            squares.append((((patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6) - 0.3) ** 2).mean())
    assert loss == pytest.approx(np.mean(squares), rel=1e-9)


@pytest.mark.parametrize(("mask", "seen"), [(0.75, 4), (0.6, 6), (0.999, 1), (0.001, 15)])
def test_something_is_always_seen_and_something_hidden(mask, seen):
    assert learner(mask=mask).seen == seen


def test_no_global_chance_and_no_second_name_of_a_weight():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    module = learner()
    first = [view.clone() for view in module.views(pictures(), drawn())]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(*pair) for pair in zip(first, module.views(pictures(), drawn()), strict=True))
    places = [tensor.data_ptr() for tensor in module.state_dict().values() if tensor.numel()]
    assert len(places) == len(set(places))


def test_other_networks_and_images_of_one_patch_are_refused():
    with pytest.raises(UserError, match=r"mae trains networks of timm/vision_transformer only \(got timm/resnet50"):
        methods.check("mae", backbone="timm/resnet50", size=224)
    with pytest.raises(UserError, match="prepare larger images"):
        learner(size=16)
    assert backbones.family("timm/vit_base_patch16_224.augreg_in21k") == "timm/vision_transformer"
    named = [registry.constant("methods", name, "BACKBONES", default=()) for name in registry.names("methods")]
    for kind in {kind for kinds in named for kind in kinds}:
        library = kind.partition("/")[0]
        assert any(backbones.belongs(f"{library}/{model}", [kind]) for model in backbones.models(library)), kind


@pytest.mark.parametrize("space", [(6, 4), (4, 6, 2)])
def test_parts_are_those_of_the_image_row_by_row(space):
    images = torch.arange(2 * 3 * np.prod(space)).view(2, 3, *space)
    parts = _masking.parts(images, side=2)
    first = images[(slice(None), slice(None), *[slice(2)] * len(space))]
    assert torch.equal(parts[:, 0], first.movedim(1, -1).flatten(1))
    last = images[(slice(None), slice(None), *[slice(-2, None)] * len(space))]
    assert torch.equal(parts[:, -1], last.movedim(1, -1).flatten(1))
    if len(space) == 2:
        square = images[:, :, :4]
        assert torch.equal(_masking.parts(square, side=2), tokens.patchify(square, 2))


def test_positions_tell_all_places_apart():
    drawn = _masking.positions((4, 3, 2), width=32)
    assert drawn.shape == (24, 32) and len(drawn.unique(dim=0)) == 24
    distances = torch.cdist(drawn, drawn)
    assert distances[0, 1] < distances[0, 5]
