"""The loss and the evidence of outlines."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.losses import DeepSupervisionLoss, DiceCELoss

from headwater.models.tasks import segmentation

pytestmark = pytest.mark.usefixtures("float64")

WEIGHTS = {"weights": torch.ones(2), "form": "exclusive"}


def drawn(seed, *, cases=4, unknown=()):
    chance = torch.Generator().manual_seed(seed)
    outputs = torch.randn(cases, 3, 4, 5, 3, generator=chance)
    targets = torch.randint(0, 3, (cases, 4, 5, 3), generator=chance).to(torch.uint8)
    targets[list(unknown)] = segmentation.UNKNOWN
    return outputs, targets


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), unknown=st.sampled_from([(), (1,), (0, 2)]))
def test_the_loss_of_a_batch_is_the_mean_over_its_shares(seed, unknown):
    outputs, targets = drawn(seed, unknown=unknown)
    whole = segmentation.loss(outputs, targets, **WEIGHTS)
    shares = [segmentation.loss(outputs[rank::2], targets[rank::2], **WEIGHTS) for rank in range(2)]
    assert torch.isclose(whole, sum(shares) / 2, rtol=1e-9)


def test_the_loss_is_monais_where_all_is_known():
    outputs, targets = drawn(3)
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    expected = torch.stack(
        [theirs(*(part[case : case + 1] for part in (outputs, targets[:, None].long()))) for case in range(4)]
    )
    assert torch.isclose(segmentation.loss(outputs, targets, **WEIGHTS), expected.mean(), rtol=1e-9)


def test_the_loss_of_several_resolutions_is_nnunets():
    _, targets = drawn(5)
    chance = torch.Generator().manual_seed(6)
    targets = targets.repeat_interleave(4, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    targets = targets[:, 1:, 2:-2, :12]
    several = [torch.randn(4, 3, *sides, generator=chance) for sides in ((15, 16, 12), (8, 8, 6), (4, 4, 3))]
    # nnU-Net: 1 / 2^i, and then divided by their sum; MONAI thins the label maps as nnU-Net does
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)
    thinning = DeepSupervisionLoss(theirs)
    expected = [
        weight * thinning.get_loss(output[case : case + 1], targets[case : case + 1, None].double())
        for output, weight in zip(several, (4 / 7, 2 / 7, 1 / 7), strict=True)
        for case in range(4)
    ]
    told = segmentation.loss(several, targets, **WEIGHTS)
    assert torch.isclose(told, sum(expected) / 4, rtol=1e-9)
    assert not torch.isclose(told, segmentation.loss(several[0], targets, **WEIGHTS), rtol=1e-3)
    targets[1] = segmentation.UNKNOWN
    several = [output.requires_grad_() for output in several]
    segmentation.loss(several, targets, **WEIGHTS).backward()
    assert all(output.grad[0].any() and not output.grad[1].any() for output in several)


def test_what_is_unknown_pulls_at_nothing():
    outputs, targets = drawn(4, unknown=(1,))
    outputs.requires_grad_()
    segmentation.loss(outputs, targets, **WEIGHTS).backward()
    assert outputs.grad[0].abs().sum() > 0 and (outputs.grad[1] == 0).all()


def test_evidence_is_what_was_measured_and_unknown_without_a_reference():
    outputs = torch.arange(2 * 3 * len(segmentation.MEASURES)).double().view(2, 3, -1)
    targets = np.array([[1, 0, 1], [np.nan] * 3])
    told = segmentation.evidence(outputs, targets, form="exclusive")
    assert tuple(told) == segmentation.EVIDENCE
    assert told["true_positive"][0].tolist() == outputs[0, :, 1].tolist() and np.isnan(told["predicted_ml"][1]).all()
    assert segmentation.loss_of(outputs, torch.from_numpy(targets)) == outputs[0, 0, 0] / 2
    chosen = segmentation.evidence(outputs, targets[:, [2]], form="exclusive", columns=[2])
    assert chosen["hausdorff95"][0].tolist() == [outputs[0, 2, 4]]


def test_the_score_is_the_mean_dice_of_structures_that_references_show():
    evidence = {
        "target": np.array([[1, 0, 0], [1, 1, 0], [np.nan] * 3]),
        "true_positive": np.array([[4, 0, 0], [0, 3, 0], [np.nan] * 3]),
        "false_positive": np.array([[0, 9, 9], [2, 3, 0], [np.nan] * 3]),
        "false_negative": np.array([[0, 0, 0], [2, 3, 0], [np.nan] * 3]),
    }
    assert segmentation.validation_score(evidence) == pytest.approx(((1 + 0) / 2 + 0.5) / 2)
    empty = {name: held[2:] for name, held in evidence.items()}
    assert segmentation.validation_score(empty) is None
    assert segmentation.eligible(evidence["target"]).tolist() == [True, True, False]
