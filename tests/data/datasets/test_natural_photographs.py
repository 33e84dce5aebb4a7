import sys
from pathlib import Path

import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.data import tables
from headwater.data.datasets import natural_photographs
from headwater.data.datasets.natural_photographs import CARD, LABELS, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE

NOWHERE = Path()


@pytest.fixture(scope="module")
def cases():
    return CATALOGUE.check(read_cases(NOWHERE, Options()))


def test_there_are_enough_crops_and_each_has_one_region(cases):
    assert 1400 < len(cases) < 1800
    assert tables.labels_of(cases) == list(LABELS) == list(CARD.labels)
    targets = cases[[tables.TARGET + label for label in LABELS]]
    assert (targets.sum(axis=1) == 1).all()
    assert (targets.sum() >= 20).all()
    assert not CARD.patients
    assert set(cases["split"]) == {""}


def test_a_stand_in_for_a_patient_lies_in_one_region(cases):
    regions = cases.filter(like=tables.TARGET).idxmax(axis=1)
    assert regions.groupby(cases["patient"]).nunique().max() == 1
    # many in each region, so that a split by patients leaves no class without training crops
    assert cases["patient"].groupby(regions).nunique().min() >= 6


def test_pixels_are_those_of_the_photograph(cases):
    photograph = natural_photographs._photograph("china")
    case = next(case for case in cases.to_dict("records") if case["case"] == "china-x032-y016-64")
    assert (read_pixels(NOWHERE, case) == photograph[16:80, 32:96]).all()
    last = read_pixels(NOWHERE, cases.iloc[-1].to_dict())
    assert (last.dtype, last.shape) == (np.uint8, (64, 64, 3))
    assert case["target:china r0 c0"] == 1


def test_crop_and_stride_are_choosable():
    wide = read_cases(NOWHERE, Options(crop=128, stride=32))
    assert read_pixels(NOWHERE, wide.iloc[0].to_dict()).shape == (128, 128, 3)
    assert len(wide) < 500


@pytest.mark.parametrize("options", [Options(crop=400), Options(crop=64, stride=300), Options(crop=1000)])
def test_options_that_leave_a_region_empty_are_refused(options):
    with pytest.raises(UserError, match="have no crop's centre"):
        read_cases(NOWHERE, options)


def test_a_strange_case_is_refused():
    with pytest.raises(UserError, match="is not a crop"):
        read_pixels(NOWHERE, {"case": "../../secret"})


def test_a_broken_photograph_is_refused(tmp_path, monkeypatch):
    (tmp_path / "china.jpg").write_bytes(b"no picture")
    monkeypatch.setattr(natural_photographs, "_file", lambda name: tmp_path / f"{name}.jpg")
    natural_photographs._photograph.cache_clear()
    with pytest.raises(UserError, match=r"china\.jpg: cannot be read"):
        read_cases(NOWHERE, Options())
    natural_photographs._photograph.cache_clear()


def test_the_files_are_found_without_importing_scikit_learn(monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    assert all(file.is_file() for file in label_files(NOWHERE, Options()))
    assert "sklearn" not in sys.modules
