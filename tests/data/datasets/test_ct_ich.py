import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest

from archives_made import edit
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data.datasets import ct_ich
from headwater.data.datasets.ct_ich import CARD, PERSONS, READINGS
from headwater.data.index import CATALOGUE
from headwater.data.io.nifti import read_nifti
from headwater.data.tables import TARGET
from headwater.data.twins import ct_ich as twin

CASES = 96


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct_ich") / "archive"
    twin.make(folder, cases=CASES, seed=2, size=32)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "archive")


def cases_of(folder):
    return CATALOGUE.check(ct_ich.read_cases(folder, Record()))


def readings_of(folder):
    return pd.read_csv(folder / READINGS, dtype=str)


def rewrite(folder, table):
    table.to_csv(folder / READINGS, index=False)


def test_each_slice_has_the_reading_of_its_place_in_the_file(made):
    cases, readings = cases_of(made).set_index("case"), readings_of(made)
    assert len(cases) == len(readings) == CASES
    turned = 0
    for row in readings.to_dict("records"):
        volume = read_nifti(made / f"ct_scans/{int(row['PatientNumber']):03d}.nii")
        height = volume.affine[2, 3] + volume.affine[2, 0] * (int(row["SliceNumber"]) - 1)
        series = f"{int(row['PatientNumber']):03d}"
        (case,) = cases.index[(cases["series"] == series) & (abs(cases["position"] - height) < 1e-3)]
        assert [cases.loc[case, TARGET + label] for label in CARD.labels] == [
            float(row[label]) for label in CARD.labels
        ]
        turned += volume.orientation[0] == "I"
    # slices that lie from the head to the feet are counted the other way
    assert 0 < turned < CASES
    assert cases[[TARGET + label for label in CARD.labels]].sum().gt(0).all()


def test_sex_and_age_come_from_a_table_with_two_headers(made):
    lines = (made / PERSONS).read_text().splitlines()
    assert lines[0].startswith('Patient Number,"Age')
    cases = cases_of(made)
    assert cases["patient"].nunique() == 8
    assert set(cases["sex"]) == {"F", "M"}
    assert cases["age"].between(20, 90).all()
    second = pd.read_csv(made / PERSONS, skiprows=1, dtype=str).iloc[1]
    assert cases.loc[cases["patient"] == "050", "age"].unique().tolist() == [float(second.iloc[1])]


def test_other_messes_of_that_table(folder):
    table = (folder / PERSONS).read_text()
    (folder / PERSONS).write_text(table.replace('"Age\n(years)"', "Age (years) ").replace(" Gender", "Gender (M/F)"))
    pd.testing.assert_frame_equal(cases_of(folder), cases_of(folder))
    assert cases_of(folder)["age"].notna().all()
    (folder / PERSONS).write_text(table.replace(" Gender", "Whatever"))
    with pytest.raises(UserError, match=f"{PERSONS}: has no column 'sex'"):
        cases_of(folder)


def test_a_slice_is_that_of_the_volume_from_the_feet_on(made):
    cases = cases_of(made)
    for place in (0, 13, 30, 95):
        case = cases.iloc[place]
        turned = read_nifti(made / case["file"]).turned().voxels
        np.testing.assert_array_equal(ct_ich.read_pixels(made, case), turned[int(case["case"][-4:]) - 1])


def test_readings_beyond_a_volume_become_rejects(folder):
    table = readings_of(folder)
    extra = table.iloc[[0]].assign(SliceNumber="40")
    rewrite(folder, pd.concat([table, extra]))
    cases = cases_of(folder)
    assert len(cases) == CASES + 1
    rows = cases[cases["series"] == "049"].to_dict("records")
    found = dict(ct_ich.read_scan(folder, rows))
    assert [place for place, slice_ in found.items() if slice_.pixels is None] == [12]
    assert found[12].reason.endswith("049.nii: has no slice for 049/0040")
    with pytest.raises(UserError, match="has 12 slices, but slice 40 is listed"):
        ct_ich.read_pixels(folder, rows[12])


def test_slices_without_a_reading_are_unknown(folder):
    rewrite(folder, readings_of(folder).iloc[1:])
    cases = cases_of(folder)
    unknown = cases[TARGET + "Epidural"].isna()
    assert cases.loc[unknown, "case"].tolist() == ["049/0001"]


def test_readings_of_patients_without_a_volume_are_passed_over(folder):
    (folder / "ct_scans/050.nii").unlink()
    assert set(cases_of(folder)["patient"]) == {"049", *(f"{number:03d}" for number in range(51, 57))}


def test_a_damaged_volume_is_one_case_that_will_be_rejected(folder):
    (folder / "ct_scans/051.nii").write_bytes(b"nothing")
    cases = cases_of(folder)
    assert cases.loc[cases["series"] == "051", "case"].tolist() == ["051/0001"]
    with pytest.raises(UserError, match=r"051\.nii"):
        list(ct_ich.read_scan(folder, cases[cases["series"] == "051"].to_dict("records")))


def test_a_volume_that_is_not_made_of_axial_slices_has_no_readings_and_is_rejected(folder):
    file = folder / "ct_scans/051.nii"
    image = nibabel.load(file, mmap=False)
    affine = image.affine[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj).transpose(2, 1, 0), affine), file)
    cases = cases_of(folder)
    turned = cases[cases["series"] == "051"]
    assert len(turned) == 12
    assert turned[[TARGET + label for label in CARD.labels]].isna().all(axis=None)
    assert cases.loc[cases["series"] != "051", TARGET + "Epidural"].notna().all()
    with pytest.raises(UserError, match=r"051\.nii: does not consist of axial slices"):
        list(ct_ich.read_scan(folder, turned.to_dict("records")))
    with pytest.raises(UserError, match=r"051\.nii: does not consist of axial slices"):
        ct_ich.read_pixels(folder, turned.iloc[0])


def test_the_older_release_is_refused_by_name(tmp_path):
    (tmp_path / "Patients_CT/049/brain").mkdir(parents=True)
    (tmp_path / "hemorrhage_diagnosis.csv").write_text("PatientNumber,SliceNumber\n")
    with pytest.raises(
        UserError, match=r"older release, of JPEG images without Hounsfield units; fetch release 1\.3\.1"
    ):
        cases_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Epidural": "2"}, "line 2 says '2' for 'Epidural'"),
        ({"SliceNumber": "zero"}, "line 2: slice must be a whole number >= 1"),
        ({"SliceNumber": "2"}, "is listed more than once"),
        ({"Subdural": ""}, "line 2 has no Subdural"),
    ],
)
def test_a_broken_reading_is_refused(folder, change, complaint):
    table = readings_of(folder)
    for name, value in change.items():
        table.loc[0, name] = value
    rewrite(folder, table)
    with pytest.raises(UserError, match=complaint):
        cases_of(folder)
    # lines are those of the file, blank ones among them
    edit(folder / READINGS, old="\n", new="\n\n")
    with pytest.raises(UserError, match=complaint.replace("line 2", "line 3")):
        cases_of(folder)


def test_a_folder_without_volumes_is_refused(folder):
    shutil.rmtree(folder / "ct_scans")
    with pytest.raises(UserError, match="has no ct_scans"):
        cases_of(folder)
