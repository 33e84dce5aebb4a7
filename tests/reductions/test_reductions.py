import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import plugins
from headwater.records import Choice
from headwater.refusals import Refusal


def kept(name: str, count: int, **options) -> np.ndarray:
    checked = plugins.chosen("reductions", Choice(name=name, options=options))
    cases = pd.DataFrame({"row": np.arange(count), "case": [str(row) for row in range(count)]})
    return plugins.load("reductions", name).keep(cases, np.zeros((count, 1, 2, 2), np.uint8), options=checked)


@given(st.integers(0, 50))
def test_everything_is_everything(count):
    assert kept("everything", count).tolist() == list(range(count))


@given(st.integers(0, 50), st.integers(1, 60))
def test_every_n_starts_with_the_first(count, n):
    assert kept("every_n", count, n=n).tolist() == [row for row in range(count) if row % n == 0]


@given(st.integers(1, 200), st.floats(0.01, 1), st.integers(0, 5))
def test_random_keeps_its_share_once_each_and_in_order(count, share, seed):
    positions = kept("random", count, share=share, seed=seed)
    assert len(positions) == round(share * count)
    assert (np.diff(positions) > 0).all()
    assert set(positions) <= set(range(count))


def test_random_depends_on_its_seed_only_and_nests():
    small, large = kept("random", 500, share=0.1), kept("random", 500, share=0.5)
    assert small.tolist() == kept("random", 500, share=0.1).tolist()
    assert small.tolist() != kept("random", 500, share=0.1, seed=1).tolist()
    assert set(small) < set(large)


@pytest.mark.parametrize(
    ("name", "options"),
    [("every_n", {}), ("every_n", {"n": 0}), ("random", {}), ("random", {"share": 0}), ("random", {"share": 1.5})],
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(Refusal, match=next(iter(options), "missing")):
        kept(name, 5, **options)
