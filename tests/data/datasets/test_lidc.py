import errno
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from headwater.core.errors import DiskError, UserError
from headwater.core.records import Record
from headwater.data.datasets import lidc
from headwater.data.index import CATALOGUE
from headwater.data.twins import lidc as twin

CASES = 72


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lidc") / "archive"
    twin.make(folder, cases=CASES, seed=2, size=32)
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "archive")


def cases_of(folder):
    return CATALOGUE.check(lidc.read_cases(folder, Record()))


def scan_of(folder, number=0):
    """The rows of a scan, and what became of them."""
    cases = cases_of(folder)
    rows = cases[cases["series"] == cases["series"].unique()[number]].to_dict("records")
    return rows, list(lidc.read_scan(folder, rows))


def test_each_file_of_a_ct_is_a_case_of_the_patient_of_its_folder(made):
    cases = cases_of(made)
    assert len(cases) == CASES
    assert cases["series"].nunique() == 6
    assert cases["patient"].unique().tolist() == [f"LIDC-IDRI-{number:04d}" for number in range(1, 6)]
    assert cases.groupby("patient")["series"].nunique().tolist() == [1, 1, 1, 2, 1]
    assert all((made / file).is_file() and file.endswith(".dcm") for file in cases["file"])


def test_radiographs_and_what_readers_marked_are_left_out(made):
    listed = {made / file for file in cases_of(made)["file"]}
    beyond = {file for file in made.rglob("*.dcm") if file not in listed}
    assert {pydicom.dcmread(file).Modality for file in beyond} == {"DX"}
    assert {pydicom.dcmread(file).Modality for file in listed} == {"CT"}
    assert len(list(made.rglob("*.xml"))) == 6


def test_slices_come_in_the_order_in_which_they_lie(made):
    rows, found = scan_of(made)
    files = [made / rows[place]["file"] for place, _ in found]
    heights = [float(pydicom.dcmread(file).ImagePositionPatient[2]) for file in files]
    assert heights == sorted(heights) == [slice_.place.position for _, slice_ in found]
    # names tell nothing, which makes the order worth a test
    assert [int(file.stem) for file in files] not in (list(range(1, 13)), list(range(12, 0, -1)))
    for file, (place, slice_) in zip(files, found, strict=True):
        dataset = pydicom.dcmread(file)
        np.testing.assert_array_equal(slice_.pixels, dataset.pixel_array.astype(int) - 1024)
        np.testing.assert_array_equal(lidc.read_pixels(made, rows[place]), slice_.pixels)
        assert (slice_.person["sex"], slice_.person["age"]) == (dataset.PatientSex, int(dataset.PatientAge[:3]))
        assert slice_.place.series == dataset.SeriesInstanceUID


def test_a_slice_of_another_patient_is_refused(folder):
    rows, _ = scan_of(folder)
    dataset = pydicom.dcmread(folder / rows[3]["file"])
    dataset.PatientID = "LIDC-IDRI-0999"
    dataset.save_as(folder / rows[3]["file"])
    found = dict(scan_of(folder)[1])
    assert found[3].pixels is None
    assert "another patient than its folder says" in found[3].reason
    assert sum(slice_.pixels is None for slice_ in found.values()) == 1


def test_a_damaged_slice_costs_itself(folder):
    rows, _ = scan_of(folder)
    file = folder / rows[0]["file"]
    file.write_bytes(file.read_bytes()[:400])
    places, found = zip(*scan_of(folder)[1], strict=True)
    assert places[-1] == 0
    assert found[-1].reason.startswith(str(file))
    assert [slice_.pixels is None for slice_ in found] == [False] * 11 + [True]


def test_the_folder_may_be_that_of_the_patients(made):
    inside = cases_of(made / "LIDC-IDRI")
    assert inside["case"].tolist() == cases_of(made)["case"].tolist()
    assert lidc.label_files(made / "LIDC-IDRI", Record())[0].is_file()


def test_a_folder_without_series_is_refused(tmp_path):
    for read in (lidc.label_files, lidc.read_cases):
        with pytest.raises(UserError, match="has no LIDC-IDRI-"):
            read(tmp_path, Record())


def test_a_folder_of_radiographs_alone_is_refused(folder):
    for file in cases_of(folder)["file"]:
        (folder / file).unlink()
    with pytest.raises(UserError, match="no series of CT"):
        lidc.read_cases(folder, Record())


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_folder_that_the_disk_does_not_list_is_told_and_not_left_out(folder, monkeypatch, number):
    unlisted = folder / Path(cases_of(folder)["file"].iloc[-1]).parent.parent
    listed = Path.iterdir

    def failing(place):
        if place == unlisted:
            raise OSError(number, os.strerror(number), str(place))
        return listed(place)

    monkeypatch.setattr(Path, "iterdir", failing)
    with pytest.raises(DiskError, match=re.escape(str(unlisted))):
        cases_of(folder)
