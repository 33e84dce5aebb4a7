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
    hallucination,
    sensitivity_at_90_specificity,
)
from headwater.study import target as target_of

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


def test_dice_is_of_the_cases_that_have_the_structure_and_hallucination_of_the_others():
    target = np.array([1.0, 0, 1, 0, np.nan])
    true, false, missed = np.array([[6.0, 0, 0, 0, np.nan], [2.0, 5, 0, 0, np.nan], [2.0, 0, 4, 0, np.nan]])
    # the second case lacks it and some was drawn, in the third it was missed
    assert dice.per_case(target, true, false, missed) == pytest.approx([0.75, np.nan, 0, np.nan, np.nan], nan_ok=True)
    weights = np.array([[1, 1, 1, 1, 1], [3, 5, 1, 0, 9], [0, 2, 0, 6, 0]])
    expected = [0.375, 0.5625, np.nan]
    assert dice.measure(target, true, false, missed, weights) == pytest.approx(expected, nan_ok=True)
    assert hallucination.measure(target, false, weights) == pytest.approx([0.5, 1.0, 0.25])


def test_dice_refuses_a_structure_without_a_voxel():
    with pytest.raises(UserError, match="in 1 cases the reference has no voxel of a structure that by the target"):
        dice.per_case(*np.array([[1.0, 0], [0, 0], [3, 0], [0, 0]]))


OF_OUTLINES = [name for name in registry.names("metrics") if target_of.fits(name, "segmentation")]


@st.composite
def outlined(draw):
    """Targets of some cases, and the evidence of two sources that miss and make up what they like."""
    target = np.array(draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=1, max_size=12)))
    sources = []
    for _ in range(2):
        shape = (3, len(target))
        counts = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, 4))) * (target >= 0)
        counts[2] += (target == 1) & (counts[0] + counts[2] == 0)
        there, drawn = target == 1, counts[0] + counts[1]
        counts[[0, 2]] *= there
        columns = [np.where(np.isnan(target), np.nan, count) for count in counts]
        away = np.where(there, np.where(drawn > 0, 2.0, 99.0), np.nan)
        volumes = [np.where(np.isnan(target), np.nan, count) for count in (counts[0] + counts[2], drawn)]
        names = ("true_positive", "false_positive", "false_negative", "hausdorff95", "surface_dice")
        columns = dict(zip(names, [*columns, away, np.where(there, drawn > 0, np.nan)], strict=True))
        sources.append(columns | dict(zip(("reference_ml", "predicted_ml"), volumes, strict=True)) | {"target": target})
    return target, sources


@pytest.mark.parametrize("name", OF_OUTLINES)
@given(made=outlined())
def test_the_cases_of_a_structure_are_the_same_for_all_sources(name, made):
    target, sources = made
    metric = registry.load("metrics", name)
    wanted = target == {"positive": 1, "negative": 0}[metric.CLASSES[0]]
    for evidence in sources:
        values = metric.per_case(**{column: evidence[column] for column in metric.EVIDENCE})
        assert np.array_equal(np.isfinite(values), wanted)
        assert ((metric.RANGE[0] <= values[wanted]) & (values[wanted] <= metric.RANGE[1])).all()


def test_all_measures_of_outlines_are_of_one_class():
    assert set(OF_OUTLINES) == {
        *("dice", "hausdorff95", "surface_dice", "volume_error"),
        *("hallucination", "hallucinated_volume"),
    }


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
    ("target", "true_positive", "false_positive", "false_negative"): (
        ([1.0, 1, 1, 1], [9.0, 9, 9, 9], [1.0, 0, 0, 0], [0.0, 0, 0, 1]),
        ([1.0, 1, 1, 1], [1.0, 0, 1, 1], [9.0, 9, 9, 9], [9.0, 9, 9, 9]),
    ),
    ("target", "hausdorff95"): (([1.0, 1, 1, 1], [1.0, 2, 1, 0]), ([1.0, 1, 1, 1], [9.0, 8, 9, 9])),
    ("target", "surface_dice"): (([1.0, 1, 1, 0], [1.0, 0.9, 1, 0]), ([1.0, 1, 1, 0], [0.1, 0.2, 0, 1])),
    ("target", "reference_ml", "predicted_ml"): (
        ([1.0, 1, 1, 0], [3.0, 3, 3, 0], [3.0, 3, 2, 9]),
        ([1.0, 1, 1, 0], [3.0, 3, 3, 0], [9.0, 0, 3, 0]),
    ),
    ("target", "value", "predicted"): (
        ([1.0, 1, 1, 1], [60.0, 70, 80, 90], [61.0, 69, 80, 90]),
        ([1.0, 1, 1, 1], [60.0, 70, 80, 90], [90.0, 80, 70, 60]),
    ),
    ("target", "false_positive"): (([0.0, 0, 0, 1], [0.0, 0, 1, 9]), ([0.0, 0, 0, 1], [1.0, 9, 1, 0])),
    ("target", "predicted_ml"): (([0.0, 0, 0, 1], [0.0, 0, 1, 9]), ([0.0, 0, 0, 1], [1.0, 9, 1, 0])),
}
"""For each kind of evidence four good cases and four bad ones."""
