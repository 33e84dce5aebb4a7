import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from headwater import plugins
from headwater.metrics import auroc, average_precision

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


@pytest.mark.parametrize("metric", [auroc, average_precision])
@given(drawn=weighted_cases())
def test_weights_agree_with_copied_rows(metric, drawn):
    target, score, weights = drawn
    for value, weight in zip(metric.measure(target, score, weights), weights, strict=True):
        copied = metric.measure(target.repeat(weight), score.repeat(weight), np.ones((1, weight.sum()), int))[0]
        assert value == pytest.approx(copied, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("metric", [auroc, average_precision])
@given(drawn=weighted_cases(), order=st.randoms(use_true_random=False))
def test_the_order_of_cases_does_not_matter(metric, drawn, order):
    target, score, weights = drawn
    shuffled = list(range(len(target)))
    order.shuffle(shuffled)
    again = metric.measure(target[shuffled], score[shuffled], weights[:, shuffled])
    assert metric.measure(target, score, weights) == pytest.approx(again, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("metric", [auroc, average_precision])
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


@pytest.mark.parametrize("name", plugins.names("metrics"))
def test_each_metric_keeps_the_contract(name):
    metric = plugins.load("metrics", name)
    assert metric.TITLE and metric.BETTER in ("higher", "lower") and metric.RANGE[0] < metric.RANGE[1]
    target, score = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.2, 0.8])
    values = metric.measure(target, score, np.ones((5, 4), np.uint8))
    assert values.shape == (5,) and ((metric.RANGE[0] <= values) & (values <= metric.RANGE[1])).all()
    best, worst = (
        metric.measure(target, target, np.ones((1, 4)))[0],
        metric.measure(target, -target, np.ones((1, 4)))[0],
    )
    assert best > worst if metric.BETTER == "higher" else best < worst
