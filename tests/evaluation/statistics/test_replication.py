import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core import registry
from headwater.evaluation.metrics import auroc, average_precision, brier, sensitivity_at_90_specificity
from headwater.evaluation.statistics import replication, resampling

METRICS = [auroc, average_precision, sensitivity_at_90_specificity, brier]


@st.composite
def cohorts(draw):
    """Cases of a few patients, scores with and without ties, both, one or no class."""
    cases, patients = draw(st.integers(1, 60)), draw(st.integers(1, 12))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    target = (numbers.random(cases) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(float)
    score = numbers.random(cases).round(draw(st.sampled_from([0, 1, 2, 17])))
    return target, score, numbers.integers(patients, size=cases), patients


def by_hand(metric, evidence, patient, *, patients, resamples, seed):
    """The readable form: every replicate's weights, one at a time."""
    counts = resampling.patient_counts(patients, resamples=resamples, seed=seed)
    return metric.measure(**evidence, weights=counts.astype(np.int64)[:, patient])


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None)
@given(cohort=cohorts(), resamples=st.integers(1, 130), seed=st.integers(0, 9))
def test_kernels_agree_with_the_readable_form(metric, cohort, resamples, seed):
    target, score, patient, patients = cohort
    evidence = {"target": target, "score": score}
    column = replication.column(metric, evidence, patient, patients=patients)
    fast = replication.replicates([column], patients=patients, resamples=resamples, seed=seed)[0]
    slow = by_hand(metric, evidence, patient, patients=patients, resamples=resamples, seed=seed)
    tolerance = 0 if metric is auroc else 1e-13
    assert fast == pytest.approx(slow, abs=tolerance, rel=tolerance, nan_ok=True)


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_every_metric_is_measured_in_its_fast_form_as_by_hand(name):
    metric = registry.load("metrics", name)
    draw = np.random.default_rng(3)
    patient = draw.integers(40, size=200)
    read = metric.EVIDENCE
    evidence = {column: draw.random(200).round(2) for column in read}
    if "false_positive" in evidence:
        # in some cases nothing is drawn where there is nothing
        evidence["false_positive"] *= draw.random(200) < 0.5
    if "target" in evidence:
        evidence["target"] = evidence["target"].round()
    column = replication.column(metric, evidence, patient, patients=40)
    fast = replication.replicates([column], patients=40, resamples=200, seed=1)[0]
    assert fast == pytest.approx(by_hand(metric, evidence, patient, patients=40, resamples=200, seed=1), rel=1e-12)
    assert np.std(fast) > 0


def test_bytes_are_emptied_before_they_overflow():
    target, score = np.repeat([0.0, 1.0, 0.0], 3000), np.repeat([0.1, 0.5, 0.9], 3000)
    evidence, patient = {"target": target, "score": score}, np.zeros(9000, np.int64)
    column = replication.column(auroc, evidence, patient, patients=1)
    assert replication.replicates([column], patients=1, resamples=64, seed=0)[0] == pytest.approx(np.full(64, 0.5))


@pytest.fixture(scope="module")
def columns():
    draw = np.random.default_rng(0)
    patient = draw.integers(300, size=1500)
    target = (draw.random(1500) < 0.2).astype(float)
    scores = [draw.random(1500).round(digits) for digits in (2, 17, 17)]
    return [
        replication.column(metric, {"target": target, "score": score}, patient, patients=300)
        for metric in METRICS
        for score in scores
    ]


def test_threads_blocks_and_order_of_columns_change_no_bit(columns):
    plan = {"patients": 300, "seed": 4}
    whole = replication.replicates(columns, resamples=1000, **plan)
    assert replication.replicates(columns, resamples=1000, threads=3, **plan).tobytes() == whole.tobytes()
    assert replication.replicates(columns, resamples=100, **plan).tobytes() == whole[:, :100].copy().tobytes()
    backwards = replication.replicates(columns[::-1], resamples=1000, **plan)[::-1]
    assert backwards.tobytes() == whole.tobytes()
    seen = []
    replication.replicates(columns[:1], resamples=1000, watch=lambda blocks: seen.append(0) or blocks, **plan)
    assert seen


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_cases_changes_no_bit(metric):
    draw = np.random.default_rng(5)
    patient, target = draw.integers(50, size=400), (draw.random(400) < 0.3).astype(float)
    score, shuffled = draw.random(400).round(1), draw.permutation(400)
    one, other = (
        replication.column(metric, {"target": target[order], "score": score[order]}, patient[order], patients=50)
        for order in (np.arange(400), shuffled)
    )
    values = replication.replicates([one, other], patients=50, resamples=300, seed=2)
    assert values[0].tobytes() == values[1].tobytes()


def test_an_error_in_a_block_is_not_lost():
    def broken(counts, room):
        raise ZeroDivisionError("in a block")

    with pytest.raises(ZeroDivisionError, match="in a block"):
        replication.replicates([replication.Column(broken)], patients=3, resamples=640, seed=0, threads=2)


@pytest.mark.parametrize("patients", [1, 2, 37, 1000])
def test_lanes_are_the_counts_of_a_block(patients):
    counts = resampling.patient_counts(patients, resamples=192, seed=8)
    for block in range(3):
        lanes = resampling.lanes(patients, seed=8, block=block)
        assert lanes.dtype == np.uint8 and np.array_equal(lanes.T, counts[64 * block : 64 * (block + 1)])
