"""A table of ceilings that is not one is refused with its file."""

from types import SimpleNamespace

import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.data.volume_preparation import CEILINGS
from headwater.reporting import ceilings
from headwater.study.folds import Folds

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


def test_the_ceiling_over_folds_is_that_of_all_cases(tmp_path):
    lines = [WHOLE, WHOLE | {"split": "train", "cases": 21, "dice_mean": 0.8}]
    CEILINGS.write(pd.DataFrame(lines), tmp_path / "ceilings.parquet")
    rows = pd.DataFrame([{"dataset": "organs", "metric": "dice", "recipe": "full", "label": "liver", "tested": True}])
    paths = SimpleNamespace(cases=lambda archive: tmp_path / "cases.parquet")
    for splits, expected in ((None, 0.9), (Folds(folds=3), (9 * 0.9 + 21 * 0.8) / 30)):
        grid = SimpleNamespace(datasets=[SimpleNamespace(name="organs", archive="organs", splits=splits)])
        assert ceilings.beside(rows, grid=grid, paths=paths)["ceiling"].tolist() == pytest.approx([expected])
