import gzip

import numpy as np
import pydicom
import pytest
from dicom_made import hounsfield as stored
from dicom_made import write_slice, write_stack

from headwater.core.errors import UserError
from headwater.data.io import nifti, slices
from headwater.data.io.nifti_writing import write_nifti

HEIGHTS = [0.0, 3.0, 6.0, 9.0]


def volume(many=4, rows=6, columns=5):
    return np.random.default_rng(0).integers(-1024, 1500, (many, rows, columns)).astype(np.int16)


def test_slices_come_from_the_feet_to_the_head_whatever_their_files_are_called(tmp_path):
    files = write_stack(tmp_path, HEIGHTS)
    found = list(slices.dicom_slices(sorted(files)))
    assert [one.file for one in found] == files
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one.pixels, stored(number).astype(int) - 1024)
        assert one.pixels.dtype == np.int16
    assert [tuple(one.place) for one in found] == [("1.2.3", height, 0.5, 0.75) for height in HEIGHTS]
    np.testing.assert_array_equal(slices.read_slice(files[2]), found[2].pixels)


def test_what_is_no_slice_comes_last_with_its_reason(tmp_path):
    files = write_stack(tmp_path, HEIGHTS)
    files[1].write_bytes(files[1].read_bytes()[:300])
    nowhere = write_slice(tmp_path / "nowhere.dcm", stored(9), position=(0, 0, 0), ImagePositionPatient=None)
    found = list(slices.dicom_slices([*files, nowhere]))
    assert [one.file for one in found] == [files[0], files[2], files[3], files[1], nowhere]
    assert [one.pixels is None for one in found] == [False] * 3 + [True] * 2
    assert all(str(one.file) in one.reason and one.reason.count(str(one.file)) == 1 for one in found[3:])
    assert "no usable ImagePositionPatient" in found[4].reason
    with pytest.raises(UserError, match="no usable ImagePositionPatient"):
        slices.read_slice(nowhere)


def test_what_is_not_in_hounsfield_units_is_refused(tmp_path):
    file = write_slice(tmp_path / "mr.dcm", stored(1), position=(0, 0, 0), Modality="MR")
    with pytest.raises(UserError, match="has no rescale to Hounsfield units"):
        slices.read_slice(file)


def test_a_slice_without_a_rescale_costs_itself_alone(tmp_path):
    files = write_stack(tmp_path, HEIGHTS)
    dataset = pydicom.dcmread(files[1])
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.save_as(files[1])
    found = list(slices.dicom_slices(files))
    assert [one.file for one in found] == [files[0], *files[2:], files[1]]
    assert [one.reason for one in found] == ["", "", "", f"{files[1]}: has no rescale to Hounsfield units"]


def test_values_are_rounded_and_stay_in_sixteen_bits():
    assert slices.hounsfield(np.float32([-1e6, -1024.4, 0.6, 1e6])).tolist() == [-32768, -1024, 1, 32767]


@pytest.mark.parametrize("from_head", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_gives_its_slices_from_the_feet_to_the_head(tmp_path, name, from_head):
    values = volume()
    write_nifti(values, tmp_path / name, spacing=(3.0, 0.5, 0.75), from_head=from_head)
    found = list(slices.nifti_slices(tmp_path / name))
    np.testing.assert_array_equal([one.pixels for one in found], values)
    assert [one.place.position for one in found] == HEIGHTS
    assert {one.place[2:] for one in found} == {(0.5, 0.75)}
    assert [tuple(place) for place in slices.nifti_places(tmp_path / name)] == [tuple(one.place) for one in found]
    assert slices.counted_from_feet(tmp_path / name) is not from_head


def test_a_header_is_enough_to_list_slices(tmp_path):
    write_nifti(volume(), tmp_path / "a.nii", spacing=(3.0, 0.5, 0.75))
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:352])
    assert len(slices.nifti_places(tmp_path / "a.nii")) == 4
    with pytest.raises(UserError, match="cut off"):
        list(slices.nifti_slices(tmp_path / "a.nii"))


def test_what_is_written_is_read_back_and_has_no_time_of_day(tmp_path):
    values = volume()
    for name in ("one.nii.gz", "same.nii.gz"):
        write_nifti(values, tmp_path / name, spacing=(3.0, 0.5, 0.75))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "same.nii.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.nii.gz").read_bytes())[:4] == (348).to_bytes(4, "little")
    read = nifti.read_nifti(tmp_path / "one.nii.gz")
    np.testing.assert_array_equal(read.voxels, values)
    assert (read.orientation, read.spacing) == ("SPL", (3.0, 0.5, 0.75))


def test_words_are_read_from_the_beginning_of_a_file(tmp_path):
    file = write_slice(tmp_path / "a.dcm", stored(1, shape=(300, 300)), position=(1, 2, 3.5), PatientID=" P1 ")
    file.write_bytes(file.read_bytes()[: slices.HEAD])
    told = slices.read_words(file, ["PatientID", "ImagePositionPatient", "StudyInstanceUID"])
    assert told == {"PatientID": "P1", "ImagePositionPatient": "1\\2\\3.5", "StudyInstanceUID": ""}
    (tmp_path / "b.dcm").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(UserError):
        slices.read_words(tmp_path / "b.dcm", ["PatientID"])


@pytest.mark.parametrize("less", [0, 40, 90, 140, 400])
def test_words_behind_the_beginning_of_a_file_are_read_too(tmp_path, less):
    names = ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ImagePositionPatient"]
    file = write_slice(tmp_path / "a.dcm", stored(1), position=(1, 2, 3.5), PatientID="P17", StudyInstanceUID="1.2.34")
    short = slices.read_words(file, names)
    dataset = pydicom.dcmread(file)
    dataset.add_new(0x00090010, "LO", "ACME")
    dataset.add_new(0x00091001, "OB", b"x" * (slices.HEAD - less - less % 2))
    dataset.save_as(file)
    assert slices.read_words(file, names) == short
    assert short["PatientID"] == "P17"
