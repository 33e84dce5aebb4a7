"""Tables as people have them: read right, or refused by what is wrong with them."""

from pathlib import Path

import pytest

from headwater.core.errors import UserError
from headwater.data.datasets import own_folder

FORMS = Path(__file__).parents[3] / "shared" / "data" / "faults" / "csv_forms"

pytestmark = pytest.mark.skipif(not FORMS.is_dir(), reason="the tables with faults are not on this machine")


def _labels(name: str) -> tuple[str, ...]:
    return own_folder.labels(FORMS, own_folder.Options(table=name))


@pytest.mark.parametrize("name", ["semicolon.csv", "trailing_empty_column.csv"])
def test_separators_and_empty_columns_make_no_label(name: str):
    assert _labels(name) == ("Cardiomegaly", "Effusion", "Nodule")


def test_a_label_that_is_there_twice_is_refused():
    options = own_folder.Options(table="dup_label_columns.csv")
    with pytest.raises(UserError, match=r"dup_label_columns\.csv: has 2 columns 'Cardiomegaly'; rename or remove one"):
        own_folder.read_cases(FORMS, options)


def test_another_encoding_is_named():
    with pytest.raises(UserError, match=r"latin1\.csv: is not UTF-8 text"):
        own_folder.read_cases(FORMS, own_folder.Options(table="latin1.csv"))
