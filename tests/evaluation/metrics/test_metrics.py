import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

import rounding
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.evaluation.metrics import (
    auroc,
    average_precision,
    brier,
    dice,
    hausdorff95,
    sensitivity_at_90_specificity,
)

RANKING = [auroc, average_precision, sensitivity_at_90_specificity]
PEERS = [(auroc, roc_auc_score), (average_precision, average_precision_score)]


@st.composite
def weighted_cases(draw, whole=True):
    """Targets with both classes, scores with many ties, weights of three replicates."""
    cases = draw(st.integers(2, 30))
    target = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=cases, max_size=cases)))
    target[:2] = 0, 1
    score = draw(arrays.arrays(float, cases, elements=st.sampled_from([-1.5, -0.0, 0.0, 0.25, 0.3, 7.0])))
    if whole:
        weights = draw(arrays.arrays(np.int64, (3, cases), elements=st.integers(0, 5)))
    else:
        weights = draw(arrays.arrays(float, (3, cases), elements=st.floats(1e-3, 1e3)))
    return target, score, weights


@pytest.mark.parametrize(("metric", "peer"), PEERS)
@given(drawn=weighted_cases())
def test_whole_weights_agree_with_scikit_learn(metric, peer, drawn):
    target, score, weights = drawn
    for value, weight in zip(metric.measure(target, score, weights), weights, strict=True):
        if len(set(target[weight > 0])) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(peer(target, score, sample_weight=weight), abs=1e-12)


@pytest.mark.parametrize(("metric", "peer"), PEERS)
@given(drawn=weighted_cases(whole=False))
def test_decimal_weights_agree_with_scikit_learn(metric, peer, drawn):
    target, score, weights = drawn
    values = metric.measure(target, score, weights)
    expected = [peer(target, score, sample_weight=weight) for weight in weights]
    assert values == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("metric", RANKING)
@given(drawn=weighted_cases())
def test_weights_agree_with_copied_rows(metric, drawn):
    target, score, weights = drawn
    for value, weight in zip(metric.measure(target, score, weights), weights, strict=True):
        copied = metric.measure(target.repeat(weight), score.repeat(weight), np.ones((1, weight.sum()), int))[0]
        assert value == pytest.approx(copied, abs=rounding.of_sum(weights.sum()), nan_ok=True)


@pytest.mark.parametrize("metric", RANKING)
@given(drawn=weighted_cases(), order=st.randoms(use_true_random=False))
def test_the_order_of_cases_does_not_matter(metric, drawn, order):
    target, score, weights = drawn
    shuffled = list(range(len(target)))
    order.shuffle(shuffled)
    again = metric.measure(target[shuffled], score[shuffled], weights[:, shuffled])
    assert metric.measure(target, score, weights) == pytest.approx(
        again, abs=rounding.of_sum(weights.sum()), nan_ok=True
    )


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("only", [0.0, 1.0])
def test_one_class_is_undefined(metric, only):
    assert np.isnan(metric.measure(np.full(4, only), np.arange(4.0), np.ones((2, 4), int))).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.int64, np.float32])
def test_small_whole_types_do_not_overflow(kind):
    target, score = np.tile([0.0, 1.0], 4000), np.arange(8000.0)
    weights = np.full((1, 8000), 200, kind)
    for metric, peer in PEERS:
        assert metric.measure(target, score, weights)[0] == pytest.approx(peer(target, score), abs=1e-12)


def test_constant_scores_are_a_coin_toss():
    target = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert auroc.measure(target, np.full(5, 0.3), np.ones((1, 5), int))[0] == 0.5


@given(drawn=weighted_cases())
def test_sensitivity_is_that_of_the_roc_curve(drawn):
    target, score, weights = drawn
    for value, weight in zip(sensitivity_at_90_specificity.measure(target, score, weights), weights, strict=True):
        if len(set(target[weight > 0])) < 2:
            assert np.isnan(value)
        else:
            false, true, _ = roc_curve(target, score, sample_weight=weight, drop_intermediate=False)
            assert value == pytest.approx(true[false <= 0.1 + 1e-9].max(), abs=1e-12)


@given(drawn=weighted_cases(), scale=st.floats(0.05, 1))
def test_brier_agrees_with_scikit_learn(drawn, scale):
    target, score, weights = drawn
    score = scale * (score + 1.5) / 8.5
    for value, weight in zip(brier.measure(target, score, weights), weights, strict=True):
        if weight.sum() == 0:
            assert np.isnan(value)
        else:
            expected = brier_score_loss(target, score, sample_weight=weight, labels=[0, 1])
            assert value == pytest.approx(expected, abs=1e-12)


def test_brier_refuses_what_is_no_probability():
    with pytest.raises(UserError, match=r"needs probabilities, but scores are from -1 to 3"):
        brier.measure(np.array([0.0, 1.0]), np.array([-1.0, 3.0]), np.ones((1, 2)))


def test_dice_leaves_out_cases_where_nothing_is_and_nothing_is_shown():
    true, false, missed = np.array([6.0, 0, 0]), np.array([2.0, 0, 5]), np.array([2.0, 0, 0])
    assert dice.per_case(true, false, missed) == pytest.approx([0.75, np.nan, 0.0], nan_ok=True)
    weights = np.array([[1, 1, 1], [3, 5, 1], [0, 2, 0]])
    assert dice.measure(true, false, missed, weights) == pytest.approx([0.375, 0.5625, np.nan], nan_ok=True)
    assert hausdorff95.measure(np.array([4.0, np.nan, 1]), weights) == pytest.approx([2.5, 3.25, np.nan], nan_ok=True)


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_each_metric_keeps_the_contract(name):
    metric = registry.load("metrics", name)
    assert metric.TITLE and metric.BETTER in ("higher", "lower") and metric.RANGE[0] < metric.RANGE[1]
    good, bad = EVIDENCE[metric.EVIDENCE]
    best, worst = (metric.measure(*map(np.array, case), weights=np.ones((5, 4), np.uint8)) for case in (good, bad))
    for values in (best, worst):
        assert values.shape == (5,) and ((metric.RANGE[0] <= values) & (values <= metric.RANGE[1])).all()
    assert (best > worst).all() if metric.BETTER == "higher" else (best < worst).all()
    if hasattr(metric, "CHANCE"):
        assert metric.RANGE[0] < metric.CHANCE < metric.RANGE[1]


EVIDENCE = {
    ("target", "score"): (([0.0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8]), ([0.0, 0, 1, 1], [0.7, 0.8, 0.1, 0.2])),
    ("true_positive", "false_positive", "false_negative"): (
        ([9.0, 9, 9, 9], [1.0, 0, 0, 0], [0.0, 0, 0, 1]),
        ([1.0, 0, 1, 1], [9.0, 9, 9, 9], [9.0, 9, 9, 9]),
    ),
    ("hausdorff95",): (([1.0, 2, 1, 0],), ([9.0, 8, 9, 9],)),
}
"""For each kind of evidence four good cases and four bad ones."""
