"""Subsamples of the training patients: nested, by patient, of the right size, with every label kept if possible."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data.subsample import lost, share

FRACTIONS = (0.01, 0.1, 0.5, 1.0)


def archive(seed, *, patients, labels, rare=0.02):
    """(patients, targets) of cases with findings of very different shares, some of them unknown."""
    draw = np.random.default_rng(seed)
    of = np.sort(draw.integers(0, patients, 3 * patients))
    shares = np.geomspace(rare, 0.5, labels)
    targets = (draw.random((len(of), labels)) < shares).astype(np.float32)
    targets[draw.random(targets.shape) < 0.1] = np.nan
    return np.array([f"p{number}" for number in of]), targets


def rank_of(seed):
    return lambda patient: int.from_bytes(hashlib.sha256(f"{patient}/{seed}".encode()).digest()[:8])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    patients=st.integers(2, 150),
    labels=st.integers(1, 6),
    fractions=st.lists(st.floats(0.005, 1.0), min_size=1, max_size=4),
)
def test_shares_are_nested_by_patient_and_as_large_as_asked(seed, patients, labels, fractions):
    of, targets = archive(seed, patients=patients, labels=labels)
    people = len(set(of))
    kept = [share(of, targets, fraction=fraction, rank=rank_of(seed)) for fraction in sorted([*fractions, *FRACTIONS])]
    assert all((smaller <= larger).all() for smaller, larger in pairwise(kept))
    assert kept[-1].all()
    for fraction, mine in zip(sorted([*fractions, *FRACTIONS]), kept, strict=True):
        assert not set(of[mine]) & set(of[~mine])
        assert len(set(of[mine])) == max(1, round(fraction * people))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), labels=st.integers(1, 6))
def test_no_label_is_lost_where_there_are_patients_for_each(seed, labels):
    of, targets = archive(seed, patients=200, labels=labels)
    # one patient with and one without each label are enough
    enough = 2 * labels / len(set(of))
    kept = share(of, targets, fraction=min(1.0, enough + 0.01), rank=rank_of(seed))
    assert lost(targets, targets[kept], labels=[str(label) for label in range(labels)]) == {}


def test_whom_the_labels_do_not_need_chance_takes():
    of, targets = archive(1, patients=300, labels=2)
    shares = [set(of[share(of, targets, fraction=0.2, rank=rank_of(seed))]) for seed in range(2)]
    people = sorted(set(of), key=rank_of(0))
    # of those taken in the order of ranks, the few that come first push out no more than as many
    assert len(shares[0] & set(people[: len(shares[0])])) >= len(shares[0]) - 4
    assert len(shares[0] & shares[1]) < 0.5 * len(shares[0])


def test_one_per_cent_of_a_small_archive_is_a_patient_and_what_it_lacks_is_said():
    of, classes = np.array([f"p{number}" for number in range(60)]), np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    kept = share(of, classes, fraction=0.01, rank=rank_of(0))
    assert kept.sum() == 1
    told = lost(classes, classes[kept], labels=["a", "b", "c"])
    assert sorted(told.values()) == ["no negative case", "no positive case", "no positive case"]
    assert lost(classes, classes[share(of, classes, fraction=0.05, rank=rank_of(0))], labels=["a", "b", "c"]) == {}


def test_what_the_whole_lacks_is_no_loss():
    whole = np.array([[1, 0, np.nan], [1, 1, np.nan]], np.float32)
    assert lost(whole, whole[:1], labels=["a", "b", "c"]) == {"b": "no positive case"}
    assert lost(whole, whole[:0], labels=["a"]) == {"a": "no positive case"}


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_the_order_of_cases_makes_no_difference(fraction):
    of, targets = archive(3, patients=40, labels=3)
    turned = np.random.default_rng(0).permutation(len(of))
    straight = share(of, targets, fraction=fraction, rank=rank_of(5))
    assert (share(of[turned], targets[turned], fraction=fraction, rank=rank_of(5)) == straight[turned]).all()
