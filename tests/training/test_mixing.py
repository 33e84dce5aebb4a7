"""Mixed pairs are timm's, whatever the number of ranks; unknown labels stay unknown."""

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data.mixup import Mixup, cutmix_bbox_and_lam, mixup_target

import rounding
from headwater.core.errors import UserError
from headwater.models.tasks import classification
from headwater.training import batches, loop
from headwater.training.ddp import World
from headwater.training.mixing import Mixing
from headwater.training.views import draws
from training_made import ALONE, Small, pictures, recipe

pytestmark = pytest.mark.usefixtures("float64")

BATCH = 8


def keys(count: int = BATCH) -> torch.Tensor:
    cases = torch.arange(count)
    return draws.keys(seed=5, epochs=torch.zeros_like(cases), cases=cases)


def ordered(values: torch.Tensor) -> torch.Tensor:
    """A batch as timm pairs it: the first of each pair, then their partners from the last to the first."""
    return torch.cat([values[0::2], values[1::2].flip(0)])


@pytest.mark.parametrize("alphas", [{"mixup": 0.4, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}])
def test_images_and_labels_are_mixed_as_timm_mixes_pairs(alphas, monkeypatch):
    mixing, images = Mixing(**alphas), torch.rand(BATCH, 3, 24, 16)
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (BATCH, 4))).double()
    mixed, softened = mixing.images(images, keys()), mixing.targets(labels, keys=keys(), space=(24, 16))
    kept = mixing._kept(keys(), (24, 16))
    theirs = Mixup(mixup_alpha=1.0, mode="pair", num_classes=4)
    boxed = bool(alphas["cutmix"])
    drawn = kept[:, 0, 0].numpy().astype(np.float32)

    def of_our_box(shape, share, **_):
        inside = next(boxes)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else (0, 0, 0, 0)
        return box, 1 - (box[1] - box[0]) * (box[3] - box[2]) / (24 * 16)

    boxes = iter((kept == 0).numpy())
    monkeypatch.setattr("timm.data.mixup.cutmix_bbox_and_lam", of_our_box)
    own = np.full(BATCH // 2, 0.5, np.float32) if boxed else drawn
    monkeypatch.setattr(theirs, "_params_per_elem", lambda count: (own, np.full(count, boxed)))
    reference = ordered(images).clone()
    shares = theirs._mix_pair(reference)
    wanted = mixup_target(ordered(labels), 4, shares.double(), multi_label=True)
    # timm keeps shares in float32
    near = {"rtol": 0, "atol": 4 * torch.finfo(torch.float32).eps}
    torch.testing.assert_close(ordered(mixed), reference.double(), **near)
    torch.testing.assert_close(ordered(softened), wanted.double(), **near)
    assert not torch.equal(mixed, images) and not torch.equal(softened, labels)


def test_a_box_is_timms_of_the_same_share_and_middle(monkeypatch):
    mixing, space = Mixing(mixup=0.0, cutmix=1.0), (24, 16)
    inside = (mixing._kept(keys(64), space) == 0).numpy()
    pairs = keys(64)[::2]
    drawn, *middles = draws.uniforms(pairs, 2_000_001, 3)
    for pair, box in enumerate(inside):
        share = float(mixing.boxed[int(drawn[pair] * 2**16)])
        middle = iter([int(middles[axis][pair] * side) for axis, side in enumerate(space)])
        monkeypatch.setattr(np.random, "randint", lambda *_, size=None, middle=middle: next(middle))
        (top, bottom, left, right), kept = cutmix_bbox_and_lam((1, 3, *space), share)
        wanted = np.zeros(space, bool)
        wanted[top:bottom, left:right] = True
        assert (box == wanted).all() and kept == pytest.approx(1 - box.mean())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_of_the_beta_distribution(alpha):
    kept = Mixing(mixup=alpha, cutmix=0.0)._kept(keys(8000), (1, 1)).flatten().numpy()
    assert stats.kstest(kept, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    other = stats.beta(alpha * 1.5, alpha * 1.5)
    assert stats.kstest(kept, other.cdf).pvalue < 1e-3


def test_with_both_half_of_the_pairs_exchange_a_box():
    boxed = Mixing(mixup=0.8, cutmix=1.0)._boxed(keys(2000)[::2]).float().mean()
    # five standard deviations of a thousand throws of a coin
    assert abs(float(boxed) - 0.5) < 5 * 0.5 / 1000**0.5
    assert not Mixing(mixup=0.8, cutmix=0.0)._boxed(keys(200)).any()
    assert Mixing(mixup=0.0, cutmix=0.8)._boxed(keys(200)).all()


@pytest.mark.parametrize("alphas", [{"mixup": 0.4, "cutmix": 0.0}, {"mixup": 0.0, "cutmix": 1.0}])
def test_a_label_that_either_lacks_is_unknown_of_both(alphas):
    labels = torch.ones(4, 3)
    labels[0, 1] = labels[3, 2] = torch.nan
    mixed = Mixing(**alphas).targets(labels, keys=keys(4), space=(8, 8))
    assert mixed.isnan().tolist() == [[False, True, False]] * 2 + [[False, False, True]] * 2
    assert mixed[mixed.isfinite()].tolist() == pytest.approx([1.0] * 8)


def test_patches_and_slices_of_volumes_exchange_boxes_too():
    mixing = Mixing(mixup=0.0, cutmix=1.0)
    for space in ((8, 8, 8), (8, 8, 1)):
        inside = mixing._kept(keys(200), space) == 0
        shares = inside.flatten(1).float().mean(dim=1)
        assert inside.any() and not inside.all() and shares.max() > 0.5
        mixed = mixing.images(torch.arange(200.0).view(-1, *[1] * 4).expand(-1, 1, *space), keys(200))
        labels = mixing.targets(torch.arange(200.0)[:, None], keys=keys(200), space=space)
        torch.testing.assert_close(mixed.flatten(1).mean(dim=1), labels[:, 0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("ranks", "parts"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2)])
def test_pairs_are_the_same_on_any_number_of_ranks_and_in_parts(ranks, parts):
    images, targets = pictures()
    rows = np.arange(len(images))

    def pairs(size: int, count: int) -> set[tuple[int, ...]]:
        found = set()
        for rank in range(size):
            world = World(rank=rank, size=size, device=torch.device("cpu"))
            asked = {"images": images, "rows": rows, "targets": targets, "batch": BATCH, "seed": 1}
            for batch in batches.training_batches([0, 7], **asked, world=world, together=2):
                for part, _ in batch.to(torch.device("cpu")).parts(count):
                    found |= {tuple(pair) for pair in part.cases.view(-1, 2).tolist()}
        return found

    assert pairs(ranks, parts) == pairs(1, 1) and len(pairs(1, 1)) == BATCH


def test_a_batch_that_parts_pairs_is_refused():
    rows, alone, in_pairs = np.arange(28), Small(), Small()
    in_pairs.together = 2
    with pytest.raises(UserError, match="make batch a multiple of 16"):
        loop._check(in_pairs, rows, recipe(batch=8, accumulate=8), ALONE)
    loop._check(alone, rows, recipe(batch=8, accumulate=8), ALONE)


def test_smoothing_is_torchs_of_classes_and_timms_of_findings():
    logits, weights = torch.randn(6, 3), torch.tensor([0.5, 1.0, 3.0])
    one, many = torch.eye(3)[[0, 1, 2, 2, 1, 0]], (torch.rand(6, 3) < 0.5).double()
    soft = classification.softened(one, share=0.1, form="multiclass")
    ours = classification.loss(logits, soft, weights=weights, form="multiclass")
    theirs = torch.nn.functional.cross_entropy(
        logits, one.argmax(dim=1), weight=weights, label_smoothing=0.1, reduction="none"
    )
    torch.testing.assert_close(ours, theirs.mean(), **rounding.NEAR)
    soft = classification.softened(many, share=0.1, form="multilabel")
    torch.testing.assert_close(soft, mixup_target(many, 3, 1.0, smoothing=0.1, multi_label=True), **rounding.NEAR)
