import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import UserError
from headwater.evaluation.metrics import auroc
from headwater.models import backbones
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task, classification
from headwater.study.recipe import Training, Views
from headwater.training import fitting as training_fitting

pytestmark = pytest.mark.usefixtures("float64")


def encoder(name="timm/test_vit", seed=0):
    return backbones.build(name, size=32, mean=(0.5,), std=(0.5,), seed=seed)


TASK = Task(name="classification", labels=("a", "b", "c"), form="multilabel")


def network(encoder, *, seed=0):
    return TaskNetwork(encoder, tasks=TaskSet.of(TASK), seeds={"": seed})


def random_targets(random, kind, *, cases, labels, unknown=0.0):
    if kind == "multiclass":
        targets = np.eye(labels)[random.integers(0, labels, cases)]
        targets[random.random(cases) < unknown] = np.nan
    else:
        targets = (random.random((cases, labels)) < 0.5).astype(float)
        targets[random.random(targets.shape) < unknown] = np.nan
    return targets.astype(np.float32)


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        ([[1, 0], [0, 1]], "multiclass"),
        ([[1, 0], [1, 1]], "multilabel"),
        ([[1, 0], [0, 0]], "multilabel"),
        ([[1, 0], [1, np.nan]], "multilabel"),
        ([[1], [1]], "multilabel"),
        (np.empty((0, 2)), "multilabel"),
    ],
)
def test_one_of_many_is_what_holds_for_every_case(targets, kind):
    assert classification.form(np.array(targets)) == kind


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), unknown=st.sampled_from([0.0, 0.3]))
def test_the_loss_of_a_batch_is_the_mean_over_its_shares(kind, seed, unknown):
    random = np.random.default_rng(seed)
    targets = torch.from_numpy(random_targets(random, kind, cases=8, labels=3, unknown=unknown))
    logits = torch.from_numpy(random.normal(size=(8, 3)))
    weights = torch.tensor([0.5, 1.0, 3.0])
    whole = classification.loss(logits, targets, weights=weights, form=kind)
    shares = [classification.loss(logits[rank::2], targets[rank::2], weights=weights, form=kind) for rank in range(2)]
    assert torch.isclose(whole, sum(shares) / 2, rtol=1e-9)


def test_without_weights_the_loss_is_torchs():
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(size=(8, 3))).float()
    ones = torch.ones(3)
    many = torch.from_numpy(random_targets(random, "multilabel", cases=8, labels=3)).to(logits.dtype)
    one = torch.from_numpy(random_targets(random, "multiclass", cases=8, labels=3))
    assert torch.isclose(
        classification.loss(logits, many, weights=ones, form="multilabel"),
        F.binary_cross_entropy_with_logits(logits, many),
    )
    assert torch.isclose(
        classification.loss(logits, one, weights=ones, form="multiclass"), F.cross_entropy(logits, one.argmax(dim=1))
    )


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_unknown_targets_pull_at_nothing(kind):
    logits = torch.randn(2, 3, requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 0.0], [torch.nan] * 3])
    classification.loss(logits, targets, weights=torch.ones(3), form=kind).backward()
    assert logits.grad[0].abs().sum() > 0
    assert torch.equal(logits.grad[1], torch.zeros(3))


def test_weights_of_labels_are_negatives_by_positives_of_the_rows():
    targets = np.array([[1, 0, np.nan], [0, 0, 1], [0, 0, 1], [0, np.nan, 0]], dtype=np.float32)
    assert classification.label_weights(targets, form="multilabel", wanted=True).tolist() == [3, 1, 0.5]
    assert classification.label_weights(targets, form="multilabel", wanted=False).tolist() == [1, 1, 1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_weights_of_classes_have_mean_one_over_the_rows(seed):
    targets = random_targets(np.random.default_rng(seed), "multiclass", cases=17, labels=4)
    weights = classification.label_weights(targets, form="multiclass", wanted=True).numpy()
    assert (targets @ weights).mean() == pytest.approx(1, rel=1e-5)
    counts = targets.sum(axis=0)
    assert np.ptp((counts * weights)[counts > 0]) == pytest.approx(0, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1.0, 30.0]))
def test_evidence_of_classes_is_the_log_odds_of_their_probability(seed, scale):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 4)) * scale)
    odds = torch.from_numpy(classification.evidence(logits, np.zeros(logits.shape), form="multiclass")["score"])
    assert torch.allclose(odds.sigmoid(), logits.softmax(dim=1), rtol=1e-6, atol=1e-12)
    # sure answers are still told apart, where a float32 probability would be 1 for all
    assert odds.isfinite().all()


def test_evidence_of_labels_is_the_logit():
    logits = torch.randn(4, 3)
    assert np.array_equal(
        classification.evidence(logits, np.zeros(logits.shape), form="multilabel")["score"], logits.double().numpy()
    )


def test_the_head_is_the_same_for_every_source():
    torch.manual_seed(1)
    first = network(encoder(seed=1), seed=7)
    torch.manual_seed(2)
    second = network(encoder(seed=2), seed=7)
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, network(encoder(), seed=8).head.weight)


def fitting(*, frozen=False, name="timm/test_vit"):
    return training_fitting.Fitting(network(encoder(name)), views=Views(), label_weights=torch.ones(3), frozen=frozen)


@pytest.mark.parametrize("name", ["timm/test_vit", "timm/test_resnet"])
def test_layer_decay_gives_every_parameter_one_rate(name):
    learner = fitting(name=name)
    groups = learner.parameter_groups(Training(steps=1, layer_decay=0.5, weight_decay=0.1))
    placed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(placed) == sorted(map(id, learner.parameters()))
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    assert scale[id(learner.network.head.weight)] == 1
    first = next(iter(learner.encoder.parameters()))
    assert scale[id(first)] == min(scale.values()) < 0.2
    decayed = [parameter for group in groups if group["weight_decay"] for parameter in group["params"]]
    assert all(parameter.ndim > 1 for parameter in decayed)


def test_a_frozen_encoder_is_neither_trained_nor_in_training():
    learner = fitting(frozen=True, name="timm/test_resnet")
    learner.mode(True)
    assert not any(module.training for module in learner.encoder.modules())
    assert learner.network.head.training
    trained = [p for group in learner.parameter_groups(Training(steps=1)) for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in learner.network.head.parameters()}
    with pytest.raises(UserError, match="layer_decay"):
        learner.parameter_groups(Training(steps=1, layer_decay=0.5))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_validation_score_is_the_metric_to_the_bit(seed):
    random = np.random.default_rng(seed)
    target = random_targets(random, "multilabel", cases=40, labels=3, unknown=0.2)
    score = random.normal(size=(40, 3)).round(1)
    each = []
    for label in range(3):
        known = np.isfinite(target[:, label])
        ones = np.ones((1, known.sum()), dtype=np.int64)
        each.append(auroc.measure(target[known, label], score[known, label], ones)[0])
    assert classification.validation_score({"target": target, "score": score}) == np.mean(each)


def test_a_split_without_both_classes_has_no_score():
    one_class = {"target": np.ones((4, 2)), "score": np.zeros((4, 2))}
    assert classification.validation_score(one_class) is None


def test_some_of_the_classes_are_told_apart_from_the_rest():
    one_each = np.eye(3)
    assert classification.form(one_each) == "multiclass"
    assert (
        classification.form(one_each[:, :2], partial=True)
        == classification.form(one_each, partial=True)
        == "multilabel"
    )
    logits = torch.randn(4, 3)
    some = classification.evidence(logits, np.zeros((4, 2)), form="multiclass", columns=[2, 0])["score"]
    whole = classification.evidence(logits, np.zeros((4, 3)), form="multiclass")["score"]
    assert np.array_equal(some, whole[:, [2, 0]])
