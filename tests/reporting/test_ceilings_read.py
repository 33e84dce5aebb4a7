"""A table of ceilings that is not one is refused with its file."""

from types import SimpleNamespace

import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.reporting import ceilings

WHOLE = {"structure": "liver", "split": "test", "cases": 9, "dice_mean": 0.9, "dice_min": 0.1}


@pytest.mark.parametrize(
    ("change", "what"),
    [({"dice_mean": "high"}, "column 'dice_mean' is no number"), ({"dice_mean": None, "other": 1}, "is unknown")],
)
def test_it_is_refused_with_its_file(tmp_path, change, what):
    pd.DataFrame([WHOLE | change]).to_parquet(tmp_path / "ceilings.parquet")
    grid = SimpleNamespace(datasets=[SimpleNamespace(name="organs", archive="organs")])
    paths = SimpleNamespace(cases=lambda archive: tmp_path / "cases.parquet")
    with pytest.raises(UserError, match=rf"ceilings\.parquet: .*{what}"):
        ceilings.beside(pd.DataFrame(), grid=grid, paths=paths)
