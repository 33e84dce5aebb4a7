"""Stored values are replaced by shades as by an index, in any type and byte order, by compiled code or without."""

import numpy as np
import pytest

from headwater.data.io import levels

TYPES = ("u1", "i1", "<u2", ">u2", "<i2", ">i2", "<i4", "<u4")


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("sides", [(30, 40), (300, 500)])
def test_values_are_marked_and_replaced(kind: str, sides: tuple[int, int]):
    draw = np.random.default_rng(3)
    low = -100 if np.dtype(kind).kind == "i" else 5
    values = np.sort(draw.choice(np.arange(low, low + 200), 60, replace=False))
    stored = draw.choice(values[1:-1], sides).astype(kind)
    # each once, at either end
    stored[0, 0], stored[-1, -1] = values[0], values[-1]
    lowest, count = int(stored.min()), int(stored.max()) - int(stored.min()) + 1
    table = draw.integers(0, 256, count).astype(np.uint8)
    assert (stored.size >= levels.LARGE) == (sides == (300, 500))
    for given in (stored, stored[:, ::-1]):
        occurs = levels.present(given, lowest=lowest, count=count)
        assert (np.flatnonzero(occurs) + lowest).tolist() == np.unique(given).tolist()
        replaced = levels.replaced(given, lowest=lowest, by=table)
        assert replaced.dtype == np.uint8
        np.testing.assert_array_equal(replaced, table[given.astype(int) - lowest])
