"""Images that look the same and have opposite labels: counted as a comparison of all pairs counts them."""

from itertools import combinations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data import opposite_labels
from headwater.data.shared_units import alike

DISTANCE = 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), labels=st.integers(0, 3))
def test_all_pairs_are_counted_and_each_case_is_told_with_one_partner(seed, labels):
    chance = np.random.default_rng(seed)
    count = 24
    # few images, some of which share a hash or have near ones
    hash_of_image = chance.integers(0, 6, 9)
    image = chance.integers(0, 9, count)
    bits = np.array([0, 1, 3, 0xFF00, 0xFF0000, 0xFF0001], np.uint64)[hash_of_image[image]]
    words = np.stack([bits, *np.zeros((3, count), np.uint64)], axis=1)
    frame = pd.DataFrame({"pixels": image.astype(str), "part": chance.integers(0, 3, count), "patient": "p"})
    values = chance.choice([0.0, 1.0, np.nan], (count, labels))
    targets = pd.DataFrame(values, columns=[f"target:{number}" for number in range(labels)])
    halves = {"one": targets.iloc[:12], "two": targets.iloc[12:]}
    found = opposite_labels.of(frame, alike(frame["pixels"], words, distance=DISTANCE), targets=halves)

    expected, partners = {}, {}
    for one, other in combinations(range(count), 2):
        distance = int(bits[one] ^ bits[other]).bit_count()
        opposite = np.nansum(np.abs(values[one] - values[other]) == 1) > 0
        if (one < 12) == (other < 12) and opposite and distance <= DISTANCE:
            kind = "identical" if image[one] == image[other] else "near-identical"
            key = (kind, *sorted(frame["part"][[one, other]]))
            expected[key] = expected.get(key, 0) + 1
            for case, partner in ((one, other), (other, one)):
                partners.setdefault((kind, case), set()).add(partner)
    counted = found.counts.set_index(["kind", "part", "other"])["pairs"]
    assert {key: int(pairs) for key, pairs in counted.items()} == expected
    told = list(found.pairs[["kind", "position", "other_position"]].itertuples(index=False, name=None))
    assert all(other in partners[kind, one] for kind, one, other in told)
    assert {(kind, case) for kind, *ends in told for case in ends} == set(partners)
