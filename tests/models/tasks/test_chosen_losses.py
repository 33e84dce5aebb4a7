"""The focal and the asymmetric loss equal their libraries' and papers' where all is known, and pull at nothing else."""

import pytest
import timm.loss
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

import prepared_made
import rounding
from headwater.core.errors import UserError
from headwater.data import prepared
from headwater.models.tasks import classification
from headwater.study.grid import Run
from headwater.study.recipe import Loss
from headwater.training import fine_tuning

pytestmark = pytest.mark.usefixtures("float64")
ONES = torch.ones(3)
FOCAL, ASYMMETRIC = Loss(kind="focal", gamma=3), Loss(kind="asymmetric", gamma_positive=1, gamma_negative=3, clip=0.1)


@pytest.fixture
def given():
    chance = torch.Generator().manual_seed(0)
    return 3 * torch.randn(8, 3, generator=chance), (torch.rand(8, 3, generator=chance) < 0.4).double()


def loss(outputs, targets, chosen, *, weights=ONES, form="multilabel"):
    return classification.loss(outputs, targets, weights=weights.to(outputs.dtype), form=form, chosen=chosen)


def test_of_findings_they_are_the_libraries(given):
    theirs = sigmoid_focal_loss(*given, alpha=-1, gamma=3, reduction="mean")
    torch.testing.assert_close(loss(*given, FOCAL), theirs, **rounding.NEAR)
    summed = timm.loss.AsymmetricLossMultiLabel(gamma_neg=3, gamma_pos=1, clip=0.1, reduction="sum")(*given)
    torch.testing.assert_close(loss(*given, ASYMMETRIC), summed / 24, **rounding.NEAR)


def test_of_findings_they_are_the_papers(given):
    logits, targets = given
    chance = logits.sigmoid()
    focal = torch.where(targets == 1, -((1 - chance) ** 3) * chance.log(), -(chance**3) * (1 - chance).log())
    torch.testing.assert_close(loss(*given, FOCAL), focal.mean(), **rounding.NEAR)
    shifted = (chance - 0.1).clamp(min=0)
    each = torch.where(targets == 1, -(1 - chance) * chance.log(), -(shifted**3) * (1 - shifted).log())
    torch.testing.assert_close(loss(*given, ASYMMETRIC), each.mean(), **rounding.NEAR)


def test_of_classes_the_focal_loss_is_the_papers(given):
    logits, classes = given[0], torch.arange(8) % 3
    weights = torch.tensor([0.5, 1.0, 3.0])
    chance = logits.softmax(dim=1)[torch.arange(8), classes]
    theirs = (weights[classes] * -((1 - chance) ** 3) * chance.log()).mean()
    ours = loss(logits, torch.eye(3)[classes], FOCAL, weights=weights, form="multiclass")
    torch.testing.assert_close(ours, theirs, **rounding.NEAR)


@pytest.mark.parametrize("chosen", [FOCAL, ASYMMETRIC], ids=lambda chosen: chosen.kind)
def test_weights_are_of_positives(given, chosen):
    logits, targets = given
    weights = torch.tensor([0.5, 1.0, 3.0])
    parts = [loss(logits, torch.where(targets == kept, targets, torch.nan), chosen) for kept in (0, 1)]
    each = [loss(logits, torch.where(targets == 1, targets, torch.nan), chosen, weights=w * ONES) for w in (1.0, 2.0)]
    torch.testing.assert_close(2 * each[0], each[1], **rounding.NEAR)
    torch.testing.assert_close(sum(parts), loss(*given, chosen), **rounding.NEAR)
    assert not torch.isclose(loss(*given, chosen, weights=weights), sum(parts))


@pytest.mark.parametrize("chosen", [FOCAL, ASYMMETRIC, Loss(kind="focal", gamma=1)], ids=str)
def test_unknown_labels_pull_at_nothing_and_sure_answers_at_numbers(chosen):
    logits = torch.tensor([[0.5, 900.0, -900.0], [900.0, -900.0, 0.1]], requires_grad=True)
    targets = torch.tensor([[1.0, torch.nan, 1.0], [1.0, 0.0, torch.nan]])
    loss(logits, targets, chosen).backward()
    assert logits.grad.isfinite().all() and logits.grad[0, 1] == logits.grad[1, 2] == 0 != logits.grad[0, 0]


@pytest.mark.parametrize("chosen", [FOCAL, ASYMMETRIC], ids=lambda chosen: chosen.kind)
def test_the_loss_of_a_batch_is_the_mean_over_its_shares(given, chosen):
    logits, targets = given
    targets = torch.where(torch.arange(24).view(8, 3) % 5 == 0, torch.nan, targets)
    shares = [loss(logits[rank::2], targets[rank::2], chosen) for rank in range(2)]
    torch.testing.assert_close(sum(shares) / 2, loss(logits, targets, chosen), **rounding.NEAR)


def test_without_a_choice_it_is_cross_entropy(given):
    theirs = F.binary_cross_entropy_with_logits(*given)
    for chosen in (None, Loss()):
        torch.testing.assert_close(loss(*given, chosen), theirs, **rounding.NEAR)


@pytest.mark.parametrize("kind", ["focal", "asymmetric"])
def test_the_asymmetric_loss_of_one_of_several_classes_is_refused(tmp_path, kind):
    made = prepared_made.archive(tmp_path, one_of_many=True)
    run = Run(
        dataset={"name": "made", "archive": "made"},
        source={"name": "random", "backbone": "timm/test_resnet"},
        recipe={"name": "full", "training": {"steps": 1}, "loss": kind},
        seed=0,
    )
    data = prepared.read(made.cases, images=made.images, seen=None, patch=None, dropped=None, fold=None)
    if kind == "focal":
        assert fine_tuning.material_of(run, data, file=made.cases).tasks.tasks[""].form == "multiclass"
        return
    with pytest.raises(UserError, match=r"each case bears exactly one of .*; set loss: focal, or remove it"):
        fine_tuning.material_of(run, data, file=made.cases)
