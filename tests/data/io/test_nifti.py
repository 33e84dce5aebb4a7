import gzip
import math
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nifti_made import write_mgh, write_nifti
from scipy.spatial.transform import Rotation

from archives_made import SAMPLES
from headwater.core.errors import UserError
from headwater.data.io import nifti
from headwater.data.io.nifti import read_header, read_nifti

VALUES = np.random.default_rng(0).integers(-1000, 3000, (3, 4, 5)).astype("i2")
AFFINE = np.array([[0.7, 0, 0, -30], [0, 0.8, 0, 20], [0, 0, 2.5, -7], [0, 0, 0, 1]])


def refusal_of(path, **options):
    with pytest.raises(UserError) as refused:
        read_nifti(path, **options)
    line = str(refused.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def truth(folder):
    table = SAMPLES / folder / "TRUTH_nifti.csv"
    rows = pd.read_csv(table).to_dict("records") if table.is_file() else []
    return [{**row, "file": table.parent / row["path"]} for row in rows]


ABSENT = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real volumes are not on this machine")


@ABSENT
@pytest.mark.parametrize("row", truth("volumes") + truth("ct_totalsegmentator"), ids=lambda row: row["path"])
def test_the_samples(row):
    compare(row)


@ABSENT
def test_the_hippocampi():
    for row in truth("msd_hippocampus"):
        compare(row)


def compare(row):
    header = read_header(row["file"])
    shape = tuple(int(side) for side in row["shape"].split("x"))
    assert (*header.shape, header.volumes)[: len(shape)] == shape
    several = [read_nifti(row["file"], number=number, fill=math.nan) for number in range(header.volumes)]
    voxels = np.stack([volume.voxels for volume in several]).astype(float)
    assert several[0].voxels.dtype == np.float32
    assert several[0].orientation[::-1] == row["orientation"]
    assert int((~np.isfinite(voxels)).sum()) == row["nonfinite"]
    found = [np.nanmin(voxels), np.nanmax(voxels), np.nanmean(voxels)]
    expected = [row[f"value_{name}"] for name in ("min", "max", "mean")]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-3)
    # the axes of this file are random numbers, not directions, so its steps are not what its header calls them
    if row["path"] != "nifti_odd_nibabel/test.mgz":
        steps = [float(step) for step in row["zooms"].split()][:3]
        np.testing.assert_allclose(several[0].spacing[::-1], steps, rtol=1e-3)
    if row["nonfinite"]:
        assert f"{int(row['nonfinite'])} voxels that are not finite" in refusal_of(row["file"])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", nifti.KINDS.values())
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_each_version_order_and_kind_gives_the_same_scan(tmp_path, version, order, kind, name):
    values = abs(VALUES % 100).astype(kind)
    volume = read_nifti(write_nifti(tmp_path / name, values, affine=AFFINE, version=version, order=order))
    np.testing.assert_array_equal(volume.voxels, values.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.spacing, [2.5, 0.8, 0.7], rtol=1e-6)
    # a voxel (i, j, k) lies where the file says, with right and front told as left and back
    np.testing.assert_allclose(volume.affine @ [4, 3, 2, 1], np.diag([-1, -1, 1, 1]) @ AFFINE @ [2, 3, 4, 1], rtol=1e-6)


def test_slope_and_intercept_are_applied_and_a_slope_of_nothing_is_none(tmp_path):
    read = read_nifti(write_nifti(tmp_path / "x.nii", VALUES, slope=0.5, intercept=-1024))
    np.testing.assert_allclose(read.voxels, VALUES.transpose(2, 1, 0) * 0.5 - 1024)
    for slope in (0.0, math.nan):
        read = read_nifti(write_nifti(tmp_path / "x.nii", VALUES, slope=slope, intercept=7))
        np.testing.assert_array_equal(read.voxels, VALUES.transpose(2, 1, 0))


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1), st.booleans())
def test_a_quaternion_turns_as_scipy_says(tmp_path_factory, quaternion, mirrored):
    turn = Rotation.from_quat(quaternion)
    x, y, z, first = turn.as_quat(canonical=True)
    path = tmp_path_factory.mktemp("nifti") / "x.nii"
    write_nifti(path, VALUES, affine=AFFINE, version=2, quaternion=(x, y, z), mirrored=mirrored)
    steps = np.diag([0.7, 0.8, -2.5 if mirrored else 2.5])
    np.testing.assert_allclose(read_header(path).affine[:3, :3], turn.as_matrix() @ steps, atol=1e-6)
    np.testing.assert_array_equal(read_header(path).affine[:3, 3], AFFINE[:3, 3])
    assert first >= 0


@pytest.mark.parametrize(("units", "factor"), [(1, 1000), (2, 1), (3, 0.001), (0, 1), (2 + 8, 1)])
def test_metres_and_microns_become_millimetres(tmp_path, units, factor):
    volume = read_nifti(write_nifti(tmp_path / "x.nii", VALUES, affine=np.diag([1, 1, 1, 1]), units=units))
    np.testing.assert_allclose(volume.spacing, [factor] * 3, rtol=1e-6)


def test_of_several_volumes_one_is_named(tmp_path):
    values = np.stack([VALUES, VALUES + 1, VALUES + 2], -1)
    for name in ("x.nii", "x.nii.gz"):
        path = write_nifti(tmp_path / name, values)
        assert "holds 3 volumes; say which: 0 to 2" in refusal_of(path)
        assert "has no volume 3" in refusal_of(path, number=3)
        assert "has no volume -1" in refusal_of(path, number=-1)
        for number in range(3):
            np.testing.assert_array_equal(read_nifti(path, number=number).voxels, VALUES.transpose(2, 1, 0) + number)


def test_what_is_no_number_is_refused_or_filled(tmp_path):
    values = VALUES.astype("f4")
    values[0, 1, 2], values[2, 2, 2] = math.nan, -math.inf
    path = write_nifti(tmp_path / "x.nii", values)
    assert "has 2 voxels that are not finite" in refusal_of(path)
    filled = read_nifti(path, fill=-1024).voxels
    assert filled[2, 1, 0] == filled[2, 2, 2] == -1024
    assert (filled != values.transpose(2, 1, 0)).sum() == 2


def test_a_pair_of_header_and_image_is_read(tmp_path):
    whole = write_nifti(tmp_path / "x.nii", VALUES, affine=AFFINE, magic=b"ni1\0").read_bytes()
    (tmp_path / "x.hdr").write_bytes(whole[:348].replace(b"\0\0\xb0\x43", bytes(4)))
    with pytest.raises(UserError, match=r"x\.img: is not there"):
        read_nifti(tmp_path / "x.hdr")
    (tmp_path / "x.img").write_bytes(whole[352:])
    np.testing.assert_array_equal(read_nifti(tmp_path / "x.hdr").voxels, VALUES.transpose(2, 1, 0))


@pytest.mark.parametrize("name", ["x.mgh", "x.mgz"])
def test_freesurfers_volumes(tmp_path, name):
    values = np.stack([VALUES, VALUES + 1], -1)
    volume = read_nifti(write_mgh(tmp_path / name, values, affine=AFFINE), number=1)
    np.testing.assert_array_equal(volume.voxels, VALUES.transpose(2, 1, 0) + 1)
    np.testing.assert_allclose(volume.affine @ [4, 3, 2, 1], np.diag([-1, -1, 1, 1]) @ AFFINE @ [2, 3, 4, 1], rtol=1e-5)
    untold = read_nifti(write_mgh(tmp_path / name, values, affine=None), number=0)
    assert untold.orientation[::-1] == "LIA"
    assert untold.spacing == (1, 1, 1)


@pytest.mark.parametrize(("version", "form", "place"), [(1, "f", 108), (2, "q", 168)])
def test_voxels_within_the_header_are_refused(tmp_path, version, form, place):
    """Read as they are claimed, the header's own bytes would be the first voxels."""
    file = write_nifti(tmp_path / "x.nii", VALUES, version=version)
    content = bytearray(file.read_bytes())
    struct.pack_into(f"<{form}", content, place, 0)
    file.write_bytes(content)
    assert "has vox_offset 0" in refusal_of(file)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"dim": [3, 30000, 30000, 30000]}, "states (30000, 30000, 30000) voxels"),
        ({"dim": [3, 0, 4, 5]}, "states [0, 4, 5] voxels"),
        ({"dim": [9, 3, 4, 5]}, "along 9 axes"),
        ({"dim": [3, 3, 4, 6]}, "is cut off: 144 bytes are needed, it has 120"),
        ({"datatype": 1792}, "holds complex numbers"),
        ({"datatype": 128}, "holds colours"),
        ({"datatype": 77}, "holds an unknown kind (77)"),
        ({"magic": b"\0\0\0\0"}, "no NIfTI magic"),
        ({"affine": np.zeros((4, 4))}, "invalid affine"),
        ({"affine": np.ones((4, 4))}, "invalid affine"),
        ({"affine": np.full((4, 4), math.nan)}, "invalid affine"),
        ({"affine": np.zeros((4, 4)), "quaternion": (0, 0, 0)}, "pixdim that is not positive"),
        ({"affine": np.eye(4) * 1e30}, "invalid affine"),
        ({"quaternion": (1e30, 0, 0)}, "invalid quaternion"),
        ({"quaternion": (math.nan, 0, 0)}, "invalid quaternion"),
        ({"slope": 2.0, "intercept": math.inf}, "intercept"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_what_makes_no_sense_is_refused_by_name(tmp_path, options, wanted, version):
    assert wanted in refusal_of(write_nifti(tmp_path / "x.nii", VALUES, version=version, **options))


def test_a_volume_that_lies_nowhere_absent_and_other_files_are_refused(tmp_path):
    path = write_nifti(tmp_path / "x.nii", VALUES, quaternion=(0, 0, 0))
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)
    path.write_bytes(content)
    assert "has no orientation" in refusal_of(path)
    assert "is not there" in refusal_of(tmp_path / "y.nii")
    refusal_of(tmp_path)
    path.write_bytes(b"")
    assert "is cut off" in refusal_of(path)
    path.write_bytes(b"no volume at all, but words")
    assert "is not a NIfTI file" in refusal_of(path)
    path.write_bytes(gzip.compress(bytes(400))[:-9])
    refusal_of(path)


def test_a_bomb_is_read_no_further_than_it_claims(tmp_path):
    path = write_nifti(tmp_path / "x.nii", VALUES)
    path.write_bytes(gzip.compress(path.read_bytes() + bytes(2**24)))
    np.testing.assert_array_equal(read_nifti(path).voxels, VALUES.transpose(2, 1, 0))
    far = write_nifti(tmp_path / "y.nii", VALUES, start=2**24 + 16)
    assert "has vox_offset" in refusal_of(far)
