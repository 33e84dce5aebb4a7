import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest

from archives_made import edit
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import rsna_ich
from headwater.data.datasets.rsna_ich import CARD, TABLE
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET
from headwater.data.twins import rsna_ich as twin

CASES = 72


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rsna") / "archive"
    twin.make(folder, cases=CASES, seed=2, size=32)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "archive")


def cases_of(folder):
    return CATALOGUE.check(rsna_ich.read_cases(folder, Record()))


def table_of(folder):
    return pd.read_csv(folder / TABLE)


def rewrite(folder, table):
    table.to_csv(folder / TABLE, index=False)


def test_six_rows_some_of_them_twice_are_one_image(made):
    cases, table = cases_of(made), table_of(made)
    assert len(table) > 6 * CASES
    assert len(cases) == CASES
    told = table.drop_duplicates().set_index("ID")["Label"]
    assert len(told) == 6 * CASES
    for case in cases.to_dict("records"):
        assert {label: case[TARGET + label] for label in CARD.labels} == {
            label: told[f"{case['case']}_{label}"] for label in CARD.labels
        }
    assert cases[[TARGET + label for label in CARD.labels]].sum().gt(0).all()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_headers_tell_whose_slice_it_is_and_where(made):
    cases = cases_of(made)
    for case in cases.to_dict("records"):
        dataset = pydicom.dcmread(made / case["file"])
        assert (case["patient"], case["study"]) == (dataset.PatientID, dataset.StudyInstanceUID)
        assert (case["series"], case["position"]) == (dataset.SeriesInstanceUID, dataset.ImagePositionPatient[2])
        assert [case["row_spacing"], case["column_spacing"]] == [float(one) for one in dataset.PixelSpacing]
        np.testing.assert_array_equal(rsna_ich.read_pixels(made, case), dataset.pixel_array.astype(int) - 1024)
    for _, scan in cases.groupby("series", sort=False):
        assert (np.diff(scan["position"]) == twin.STEP).all()
        assert (np.diff(scan.index) == 1).all()
    assert cases.groupby("patient")["series"].nunique().max() == 2


def test_an_image_without_a_readable_header_is_a_case_of_its_own(folder):
    whole = cases_of(folder)
    for place, content in ((3, b"nothing of the kind"), (4, None)):
        file = folder / whole["file"][place]
        file.unlink() if content is None else file.write_bytes(content)
    cases = cases_of(folder).set_index("case")
    assert len(cases) == CASES
    for name in whole["case"][[3, 4]]:
        assert cases.loc[name, ["patient", "series"]].tolist() == [name, name]
        assert np.isnan(cases.loc[name, "position"])
        with pytest.raises(UserError):
            rsna_ich.read_pixels(folder, {"file": cases.loc[name, "file"]})


def test_rows_that_say_two_things_are_refused(folder):
    table = table_of(folder)
    rewrite(folder, pd.concat([table, table.iloc[[5]].assign(Label=1 - table["Label"][5])]))
    with pytest.raises(UserError, match=r"has both 0 and 1 for a label \(1 such rows\): ID_.*_any"):
        cases_of(folder)


def test_a_table_that_is_cut_off_is_refused(folder):
    rewrite(folder, table_of(folder).iloc[:-1])
    with pytest.raises(UserError, match="has fewer than six labels of an image"):
        cases_of(folder)


def test_a_label_that_nobody_knows_is_refused(folder):
    table = table_of(folder)
    table.loc[1, "ID"] = "ID_000000000_subdual"
    rewrite(folder, table)
    with pytest.raises(UserError, match="line 3 names the unknown label 'subdual'; did you mean 'subdural'"):
        cases_of(folder)
    edit(folder / TABLE, old="\n", new="\n\n")
    with pytest.raises(UserError, match="line 4 names the unknown label 'subdual'"):
        cases_of(folder)
    rewrite(folder, table_of(folder).rename(columns={"Label": "Target"}))
    with pytest.raises(UserError, match="has no column 'Label'"):
        cases_of(folder)


def test_of_many_one_image_is_cut_off(tmp_path):
    twin.make(tmp_path / "many", cases=240, seed=1, size=32)
    cases = cases_of(tmp_path / "many").sort_values("case", ignore_index=True)
    with pytest.raises(UserError, match="is cut off"):
        rsna_ich.read_pixels(tmp_path / "many", cases.iloc[199])


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize("change", [{}, {"BitsStored": 16}, {"PixelRepresentation": 1}, {"RescaleIntercept": -1024}])
def test_values_that_were_wrapped_are_put_right(folder, change):
    case = cases_of(folder).iloc[0].to_dict()
    hounsfield = np.array([[-1000, -1, 0], [40, 1500, 3095]])
    dataset = pydicom.dcmread(folder / case["file"])
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation, dataset.RescaleIntercept = 12, 11, 0, 0
    dataset.Rows, dataset.Columns = hounsfield.shape
    dataset.PixelData = (hounsfield % 4096).astype("<u2").tobytes()
    for name, value in change.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(folder / case["file"])
    read = rsna_ich.read_pixels(folder, case)
    assert read.dtype == np.int16
    assert (read == hounsfield).all() == (not change)
    if not change:
        return
    plain = dataset.pixel_array.astype(int) + int(dataset.RescaleIntercept)
    np.testing.assert_array_equal(read, plain)


def test_endings_in_capitals_are_found(folder):
    before = cases_of(folder)
    file = folder / before["file"][3]
    file.rename(file.with_suffix(".DCM"))
    after = cases_of(folder)
    assert after["file"][3] == before["file"][3].replace(".dcm", ".DCM")
    pd.testing.assert_frame_equal(after.drop(columns="file"), before.drop(columns="file"))
