import ast
import shutil

import numpy as np
import pandas as pd
import pytest
from dicom_made import AXIAL, hounsfield, write_enhanced, write_slice, write_stack
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from archives_made import SAMPLES
from headwater.core.errors import UserError
from headwater.data.io import series as series_module
from headwater.data.io.frames import read_frames
from headwater.data.io.nifti import read_nifti
from headwater.data.io.series import sort_files, sort_folder
from headwater.data.io.stacking import read_slices, read_volume
from headwater.data.io.volumes import refuse_other_grid

VOLUMES = SAMPLES / "volumes"
EVEN = [-6.0, -4.0, -2.0, 0.0, 2.0]


def truth():
    table = VOLUMES / "TRUTH_dicom_series.csv"
    return pd.read_csv(table, dtype=str).fillna("").to_dict("records") if table.is_file() else []


def kinds(found):
    return sorted((one.kind, one.file.name) for one in found.set_aside)


def only(folder):
    found = sort_folder(folder)
    assert found.set_aside == ()
    (one,) = found.series
    return one


def refusal_of(series, **options):
    with pytest.raises(UserError) as refused:
        read_volume(series, **options)
    return str(refused.value)


@pytest.mark.skipif(not VOLUMES.is_dir(), reason="the real volumes are not on this machine")
@pytest.mark.parametrize("row", truth(), ids=lambda row: f"{row['folder']}-{row['n_files']}-{row['modality']}")
def test_the_samples(row):
    folder = VOLUMES / row["folder"]
    found = sort_folder(folder)
    if not row["modality"]:
        assert ("directory", "DIRFILE") in kinds(found)
        return
    headers = {path: dcmread(path, force=True) for path in sorted(folder.iterdir())}
    mine = [path for path, header in headers.items() if header.get("Modality") == row["modality"]]
    assert len(mine) == int(row["n_files"])
    values = np.concatenate([read_frames(path).pixels.ravel().astype(float) for path in mine])
    expected = [float(row[f"value_{name}"]) for name in ("min", "max", "mean")]
    np.testing.assert_allclose([values.min(), values.max(), values.mean()], expected, rtol=1e-6, atol=1e-3)
    if "mixed" in row["folder"]:
        kind = "localizer" if len(mine) == 1 else "capture"
        assert kinds(found) == sorted([("directory", "DIRFILE"), *((kind, path.name) for path in mine)])
        assert not found.series
        return
    (one,) = found.series
    assert found.set_aside == ()
    assert one.name == (row["series_uid"] or str(folder))
    assert (one.modality, one.description, len(one.slices)) == (row["modality"], row["description"], len(mine))
    assert one.slices[0].shape == (float(row["rows"]), float(row["columns"]))
    np.testing.assert_allclose(one.slices[0].place.spacing, ast.literal_eval(row["pixel_spacing"]))
    np.testing.assert_allclose(one.slices[0].place.orientation.ravel(), ast.literal_eval(row["iop"]), atol=1e-6)
    assert one.gaps == ast.literal_eval(row["gaps"])
    assert one.repeated == float(row["duplicates"])
    assert one.tilt == pytest.approx(float(row["shear_deg"] or 0), abs=0.05)
    letter = {"R": "L", "A": "P", "I": "S"}
    resampled = read_volume(one, gaps="resample", tilt="resample").orientation[0]
    assert letter.get(resampled, resampled) == row["nominal"]
    assert one.unit == ("HU" if row["modality"] == "CT" else "")
    if one.is_even and one.is_straight:
        volume = read_volume(one)
        found = [volume.voxels.min(), volume.voxels.max(), volume.voxels.mean(dtype=float)]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)
    else:
        assert "tilted by 18.5 degrees" in refusal_of(one)
        assert "is followed by a gap of 7.00 mm" in refusal_of(one, tilt="resample")


@pytest.mark.skipif(not VOLUMES.is_dir(), reason="the real volumes are not on this machine")
def test_a_mask_that_others_made_lies_where_its_series_lies():
    image = read_volume(only(VOLUMES / "dicom_ct_totalsegmentator"))
    file = SAMPLES / "ct_totalsegmentator" / "example_seg_dicom.nii.gz"
    mask = read_nifti(file)
    refuse_other_grid(mask, image=image, file=file)
    # TotalSegmentator's numbers of vertebrae: bone is dense where the mask says bone
    bone = np.isin(mask.turned().voxels, range(26, 51))
    assert bone.sum() > 1000
    assert np.median(image.turned().voxels[bone]) > 100 > np.median(image.turned().voxels)


@pytest.mark.skipif(not VOLUMES.is_dir(), reason="the real volumes are not on this machine")
def test_a_mask_on_another_grid_than_its_image_is_refused():
    folder = SAMPLES / "ct_totalsegmentator" / "pulmonary_case"
    image = read_nifti(folder / "ct_cropped.nii.gz")
    with pytest.raises(UserError, match=r"heart\.nii\.gz: has .* voxels, its image"):
        refuse_other_grid(read_nifti(folder / "heart.nii.gz"), image=image, file=folder / "heart.nii.gz")
    refuse_other_grid(read_nifti(folder / "pul_annulus.nii.gz"), image=image, file="pul_annulus")


def test_slices_are_ordered_by_where_they_lie_not_by_name_or_number(tmp_path):
    write_stack(tmp_path, EVEN, InstanceNumber=1)
    one = only(tmp_path)
    assert [path.file.name for path in one.slices] == ["005.dcm", "004.dcm", "003.dcm", "002.dcm", "001.dcm"]
    volume = read_volume(one)
    np.testing.assert_array_equal(volume.voxels, np.stack([hounsfield(number) for number in range(5)]) - 1024.0)
    np.testing.assert_array_equal(np.stack(list(read_slices(one))), volume.voxels)
    np.testing.assert_allclose(volume.affine @ [2, 3, 4, 1], [-10 + 4 * 0.75, -20 + 3 * 0.5, -2, 1])
    assert (volume.orientation, volume.unit, volume.spacing) == ("SPL", "HU", (2.0, 0.5, 0.75))


@settings(deadline=None)
@given(order=st.permutations(range(5)))
def test_the_order_of_the_files_changes_nothing(tmp_path_factory, order):
    files = write_stack(tmp_path_factory.mktemp("series"), EVEN)
    (one,) = sort_files([files[number] for number in order]).series
    assert [path.file for path in one.slices] == files


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_scans_of_one_series_are_numbered_by_what_they_hold(tmp_path, names):
    for acquisition, name in enumerate(names, start=1):
        write_stack(tmp_path, EVEN, prefix=name, AcquisitionNumber=acquisition, RescaleIntercept=-1024 + acquisition)
    found = sort_files(sorted(tmp_path.iterdir())).series
    assert [("1" in one.slices[0].distinction, "2" in one.slices[0].distinction) for one in found] == [
        (True, False),
        (False, True),
    ]


def test_scans_that_overlap_in_places_are_told_apart(tmp_path):
    for acquisition, first in enumerate((0, 8, 30), start=1):
        heights = [2.0 * number for number in range(first, first + 10)]
        told = {"AcquisitionNumber": acquisition, "RescaleIntercept": -1024 + acquisition}
        write_stack(tmp_path, heights, prefix=f"{acquisition}-", **told)
    found = sort_files(sorted(tmp_path.iterdir())).series
    assert [len(one.slices) for one in found] == [10, 10, 10]


def test_what_is_no_slice_is_named_with_its_reason(tmp_path):
    write_stack(tmp_path, EVEN)
    at = {"position": (0, 0, 0)}
    write_slice(tmp_path / "scout", hounsfield(9), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **at)
    write_slice(tmp_path / "screen", hounsfield(9), SOPClassUID=SecondaryCaptureImageStorage, **at)
    write_slice(tmp_path / "colour", hounsfield(9), PhotometricInterpretation="RGB", **at)
    write_slice(tmp_path / "nowhere", hounsfield(9), ImagePositionPatient=None, **at)
    write_slice(tmp_path / "report", hounsfield(9), PixelData=None, **at)
    write_slice(tmp_path / "DICOMDIR", hounsfield(9), PixelData=None, SOPClassUID="1.2.840.10008.1.3.10", **at)
    write_slice(tmp_path / "broken", hounsfield(9), RescaleSlope=0, **at)
    (tmp_path / "LICENSE.txt").write_text("Do as you like, and cite us.\n" * 40)
    (tmp_path / "empty").write_bytes(b"")
    shutil.copy(tmp_path / "003.dcm", tmp_path / "copy.dcm")
    found = sort_folder(tmp_path)
    assert len(found.series) == 1
    assert len(found.series[0].slices) == 5
    expected = {
        "capture": ["colour", "screen"],
        "localizer": ["scout"],
        "no place": ["nowhere"],
        "duplicate": ["copy.dcm"],
    }
    expected |= {"directory": ["DICOMDIR"], "no image": ["LICENSE.txt", "report"], "unreadable": ["broken", "empty"]}
    assert kinds(found) == sorted((kind, name) for kind, names in expected.items() for name in names)
    assert next(one.reason for one in found.set_aside if one.kind == "duplicate") == "is the same image as 003.dcm"


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        sort_folder(tmp_path / "absent")
    assert sort_folder(tmp_path) == ((), ())


def test_one_series_with_several_planes_sizes_and_spacings(tmp_path):
    write_stack(tmp_path, EVEN)
    sagittal = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    write_slice(tmp_path / "a", hounsfield(9), position=(0, 0, 0), **sagittal)
    write_slice(tmp_path / "b", hounsfield(9, shape=(8, 8)), position=(0, 0, 9))
    write_slice(tmp_path / "c", hounsfield(9), position=(0, 0, 9), PixelSpacing=[1, 1])
    for number in range(4):
        write_slice(tmp_path / f"s{number}", hounsfield(number), position=(number, 0, 0), **sagittal)
    found = sort_folder(tmp_path)
    assert [len(one.slices) for one in found.series] == [5, 5]
    assert [one.name for one in found.series] == ["1.2.3", "1.2.3#2"]
    reasons = {one.file.name: one.reason for one in found.set_aside}
    assert reasons == {
        "b": "has another size than the 5 slices of its series",
        "c": "has another pixel spacing than the 5 slices of its series",
    }


def test_two_series_in_one_folder_and_files_without_an_identifier(tmp_path):
    write_stack(tmp_path, EVEN)
    write_stack(tmp_path, EVEN[:3], prefix="b", SeriesInstanceUID="1.2.9")
    write_stack(tmp_path / "below", EVEN[:4], SeriesInstanceUID="")
    found = sort_folder(tmp_path)
    many = {one.name: len(one.slices) for one in found.series}
    assert many == {"1.2.3": 5, "1.2.9": 3, str(tmp_path / "below"): 4}


def test_phases_at_the_same_places_are_told_apart(tmp_path):
    for phase in (1, 2):
        write_stack(tmp_path / str(phase), EVEN, AcquisitionNumber=phase, RescaleIntercept=-1024 + phase)
    found = sort_folder(tmp_path)
    assert [(one.name, len(one.slices), one.repeated) for one in found.series] == [("1.2.3", 5, 0), ("1.2.3#2", 5, 0)]
    assert found.set_aside == ()


def test_an_acquisition_of_its_own_for_each_slice_tells_nothing_apart(tmp_path):
    for number, height in enumerate(EVEN):
        write_slice(tmp_path / f"{number}", hounsfield(number), position=(0, 0, height), AcquisitionNumber=number)
    assert len(only(tmp_path).slices) == 5


def test_copies_under_other_names_are_set_aside_and_other_images_at_one_place_refused(tmp_path):
    write_stack(tmp_path, EVEN)
    write_slice(tmp_path / "again", hounsfield(2), position=(-10, -20, EVEN[2]), SOPInstanceUID="1.2.77")
    found = sort_folder(tmp_path)
    assert kinds(found) == [("duplicate", "again")]
    assert read_volume(found.series[0]).voxels.shape == (5, 12, 10)
    write_slice(tmp_path / "other", hounsfield(7), position=(-10, -20, EVEN[2]), SOPInstanceUID="1.2.78")
    line = refusal_of(sort_folder(tmp_path).series[0])
    assert "003.dcm: has the same position as other (1 such slices)" in line


def test_a_missing_slice_is_named_by_its_neighbours(tmp_path):
    write_stack(tmp_path, [0, 2, 4, 8, 10, 12])
    line = refusal_of(only(tmp_path))
    assert "004.dcm: is followed by a gap of 4.00 mm, where the series usually has 2.00 mm (003.dcm is next)" in line
    assert only(tmp_path).gaps == {2.0: 4, 4.0: 1}


def test_rounded_positions_are_no_gaps(tmp_path):
    write_stack(tmp_path, [0.0, 0.6, 1.3, 1.9, 2.5, 3.1])
    assert read_volume(only(tmp_path)).spacing[0] == pytest.approx(0.62)


def test_a_single_slice_is_no_volume_but_a_slice(tmp_path):
    write_stack(tmp_path, [1.0])
    assert "only slice" in refusal_of(only(tmp_path))
    np.testing.assert_array_equal(next(read_slices(only(tmp_path))), hounsfield(0) - 1024.0)


def linear(x, y, z):
    """A density that grows evenly in every direction, so that linear interpolation is exact."""
    return 100 + 3 * x + 2 * y - 5 * z


def write_linear(folder, heights, *, orientation, shear=(0.0, 0.0)):
    """Slices of `linear` whose positions move by `shear` within their plane for each millimetre along the normal."""
    across, down = np.array(orientation, float).reshape(2, 3)
    normal = np.cross(across, down)
    rows, columns = np.meshgrid(np.arange(12), np.arange(10), indexing="ij")
    for number, height in enumerate(heights):
        position = np.array([-3.0, -4.0, 5.0]) + height * (normal + shear[0] * across + shear[1] * down)
        places = position[:, None, None] + down[:, None, None] * rows * 0.5 + across[:, None, None] * columns * 0.75
        stored = np.rint(linear(*places) * 16 + 16384).astype(np.uint16)
        told = {"ImageOrientationPatient": [f"{value:.10f}" for value in orientation]}
        told |= {"ImagePositionPatient": [f"{value:.8f}" for value in position]}
        slope = {"RescaleSlope": 1 / 16, "RescaleIntercept": -1024}
        write_slice(folder / f"{number}.dcm", stored, position=(0, 0, 0), **told, **slope)


TILTED = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))


@pytest.mark.parametrize("orientation", [AXIAL, TILTED, (0, 1, 0, 0, 0, -1)])
@pytest.mark.parametrize("shear", [(0, 0), (0, np.tan(0.3)), (0.2, -0.1)])
def test_a_resampled_volume_has_each_density_where_it_belongs(tmp_path, orientation, shear):
    write_linear(tmp_path, [0, 1, 2, 4, 4.5, 6.5, 8], orientation=orientation, shear=shear)
    one = only(tmp_path)
    # so far below every density that a voxel with a trace of it is known
    volume = read_volume(one, gaps="resample", tilt="resample", step=0.8, outside=-1e7)
    assert volume.voxels.shape == (11, 12, 10)
    index = np.stack([*np.indices(volume.voxels.shape).reshape(3, -1), np.ones(volume.voxels.size)])
    expected = linear(*(volume.affine @ index)[:3]).reshape(volume.voxels.shape)
    seen = volume.voxels > -900
    assert seen.mean() > 0.4
    assert seen.all() == (shear == (0, 0))
    np.testing.assert_allclose(volume.voxels[seen], expected[seen], atol=0.07)
    assert one.tilt == pytest.approx(np.degrees(np.arctan(np.hypot(*shear))), abs=0.01)


def test_an_enhanced_file_is_a_series_of_its_frames(tmp_path):
    stack = np.stack([hounsfield(number) for number in range(4)])
    write_enhanced(tmp_path / "x.dcm", stack, heights=[6, 4, 2, 0], slopes=[1, 2, 3, 4])
    volume = read_volume(only(tmp_path))
    np.testing.assert_allclose(volume.voxels, (stack * np.array([1, 2, 3, 4])[:, None, None] - 1024.0)[::-1])
    assert volume.spacing[0] == 2


def test_units_are_hounsfield_only_where_all_slices_say_so(tmp_path):
    write_stack(tmp_path, EVEN)
    assert only(tmp_path).unit == "HU"
    write_slice(tmp_path / "x", hounsfield(9), position=(-10, -20, 4), RescaleType="US")
    assert only(tmp_path).unit == ""


def test_a_fan_of_planes_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(series_module, "MOST_PLANES", 2)
    for number in range(4):
        turn = [np.cos(number / 9), np.sin(number / 9), 0, 0, 0, -1]
        turn = [f"{value:.6f}" for value in turn]
        write_slice(tmp_path / f"{number}", hounsfield(number), position=(0, 0, 0), ImageOrientationPatient=turn)
    found = sort_folder(tmp_path)
    assert sum(len(one.slices) for one in found.series) + len(found.set_aside) == 4
    assert "more than 2 planes" in found.set_aside[-1].reason


def test_positions_far_apart_claim_no_memory(tmp_path):
    write_stack(tmp_path, [0, 0.02, 0.04, 90000])
    with pytest.raises(UserError, match="slices at a step of"):
        read_volume(only(tmp_path), gaps="resample", step=1e-5)
