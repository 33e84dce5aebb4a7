import shutil

import numpy as np
import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.data.datasets import fdg_petct
from headwater.data.datasets.fdg_petct import CARD, Options
from headwater.data.index import CATALOGUE
from headwater.data.io.nifti import read_nifti
from headwater.data.tables import TARGET
from headwater.data.twins import fdg_petct as twin

CASES = 72


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fdg") / "archive"
    twin.make(folder, cases=CASES, seed=2, size=32)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "archive")


def cases_of(folder, **options):
    return CATALOGUE.check(fdg_petct.read_cases(folder, Options(**options)))


def table_of(folder):
    return pd.read_csv(folder / "fdg_metadata.csv", dtype=str)


def rewrite(folder, table):
    table.to_csv(folder / "fdg_metadata.csv", index=False)


def test_the_catalogue_has_a_row_for_each_slice_from_the_feet_to_the_head(made):
    cases = cases_of(made)
    assert len(cases) == CASES
    for series, part in cases.groupby("series", sort=False):
        assert part["case"].tolist() == [f"{series}/{number:04d}" for number in range(1, 13)]
        assert (np.diff(part["position"]) == twin.STEP).all()
        assert part["file"].unique().tolist() == [f"FDG-PET-CT-Lesions/{series}/CT.nii.gz"]
    assert cases["patient"].nunique() == 5
    assert cases.groupby("patient")["study"].nunique().max() == 2


def test_the_diagnosis_is_that_of_the_examination(made):
    cases, table = cases_of(made), table_of(made)
    told = {row["File Location"].split("/")[3]: row for row in table.to_dict("records")}
    assert len(told) == cases["study"].nunique() == len(table) / 3
    for case in cases.to_dict("records"):
        row = told[case["study"]]
        assert [label for label in CARD.labels if case[TARGET + label]] == [row["diagnosis"]]
        assert (case["sex"], f"{case['age']:03.0f}Y") == (row["sex"], row["age"])
    assert {"NEGATIVE"} < set(table["diagnosis"])


def test_one_slice_is_that_of_the_volume(made):
    cases = cases_of(made)
    for place in (0, 3, 25):
        case = cases.iloc[place]
        whole = read_nifti(made / case["file"]).turned().voxels
        np.testing.assert_array_equal(fdg_petct.read_pixels(made, case), whole[int(case["case"][-4:]) - 1])


def test_the_resampled_volume_is_an_option(made):
    cases = cases_of(made, volume="CTres")
    assert cases["file"].str.endswith("/CTres.nii.gz").all()
    assert fdg_petct.read_pixels(made, cases.iloc[0]).shape == (16, 16)


def test_the_table_may_lie_where_the_zip_has_it(folder):
    (folder / "home/rakuest1").mkdir(parents=True)
    (folder / "fdg_metadata.csv").rename(folder / "home/rakuest1/fdg_metadata.csv")
    assert len(cases_of(folder)) == CASES


def test_a_release_without_locations_tells_by_patient(folder):
    whole, table = cases_of(folder), table_of(folder)
    rewrite(folder, table.drop(columns="File Location"))
    cases = cases_of(folder)
    targets = [TARGET + label for label in CARD.labels]
    pd.testing.assert_frame_equal(cases[targets], whole[targets])
    twice = cases.groupby("patient")["study"].transform("nunique") == 2
    # the age at which of the two examinations?
    assert twice.any()
    assert cases["age"].isna().equals(twice)


def test_patients_with_several_diagnoses_are_unknown_where_no_location_tells(folder):
    table = table_of(folder)
    patient = table["Subject ID"].iloc[0]
    more = table.iloc[[0]].assign(diagnosis="MELANOMA")
    rewrite(folder, pd.concat([table.assign(diagnosis="NEGATIVE"), more]).drop(columns="File Location"))
    cases = cases_of(folder)
    unknown = cases[TARGET + "MELANOMA"].isna()
    assert set(cases.loc[unknown, "patient"]) == {patient}


@pytest.mark.parametrize("column", ["Subject ID", "diagnosis", "age", "sex"])
def test_a_missing_column_is_named(folder, column):
    rewrite(folder, table_of(folder).drop(columns=column))
    with pytest.raises(UserError, match=f"fdg_metadata.csv: has no column '{column}'"):
        cases_of(folder)


def test_other_spellings_of_a_diagnosis_and_unknown_ones(folder):
    whole, table = cases_of(folder), table_of(folder)
    rewrite(folder, table.assign(diagnosis=table["diagnosis"].str.lower().str.replace("_", " ")))
    pd.testing.assert_frame_equal(cases_of(folder), whole)
    rewrite(folder, table.assign(diagnosis="LYMFOMA"))
    with pytest.raises(UserError, match="line 2 says 'LYMFOMA' for 'diagnosis'; did you mean 'LYMPHOMA'"):
        cases_of(folder)


def test_two_diagnoses_of_one_examination_are_refused(folder):
    table = table_of(folder)
    table.loc[0, "diagnosis"] = "MELANOMA" if table["diagnosis"][0] != "MELANOMA" else "LYMPHOMA"
    rewrite(folder, table)
    with pytest.raises(UserError, match="has contradicting lines for one examination"):
        cases_of(folder)


def test_a_volume_that_is_absent_or_broken_is_one_case_that_will_be_rejected(folder):
    gone, broken = sorted(folder.glob("*/*/*/CT.nii.gz"))[:2]
    gone.unlink()
    broken.write_bytes(broken.read_bytes()[:100])
    cases = cases_of(folder)
    assert len(cases) == CASES - 22
    assert cases["position"].isna().sum() == 2
    with pytest.raises(UserError, match="is not there"):
        fdg_petct.read_pixels(folder, cases[cases["file"] == str(gone.relative_to(folder))].iloc[0])


def test_a_folder_without_examinations_is_refused(tmp_path, made):
    shutil.copy(made / "fdg_metadata.csv", tmp_path)
    with pytest.raises(UserError, match="has no PETCT_"):
        cases_of(tmp_path)
