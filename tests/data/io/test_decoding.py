import os

import numpy as np
import pytest
from dicom_made import hounsfield, write_slice
from pydicom import dcmread
from pydicom.uid import RLELossless

from headwater.core import guarded_process
from headwater.core.errors import UserError
from headwater.core.process_pool import in_order
from headwater.data.io import decoding, limits
from headwater.data.io.frames import read_frames
from headwater.data.io.slices import dicom_slices

decode = decoding.pixel_array


def decode_or_die(dataset, **options):
    if float(dataset.ImagePositionPatient[2]) == 2:
        os._exit(139)
    return decode(dataset, **options)


def die(path):
    os._exit(139)


def slices_of(case):
    decoding.pixel_array = decode_or_die
    return list(dicom_slices(case["files"]))


def pixels_and_processes(case):
    """(pixels, whether this process decoded them itself)"""
    pixels = read_frames(case["file"]).pixels
    return pixels, guarded_process.is_guarded() and guarded_process.of_this_process().process is None


def hold_limits(case):
    """Decodes beside more than a file may take: an earlier part of a large series."""
    earlier = [np.empty(limits.DECODER_MEMORY, np.uint8) for _ in range(3)]
    return len(earlier), read_frames(case["file"]).pixels


@pytest.fixture
def series(tmp_path):
    files = []
    for number in range(5):
        path = write_slice(tmp_path / f"{number}.dcm", hounsfield(number), position=(1, 2, number))
        dataset = dcmread(path)
        dataset.compress(RLELossless)
        dataset.save_as(path)
        files.append(path)
    return files


def test_a_guarded_worker_decodes_in_itself(series):
    (result,) = in_order(pixels_and_processes, [{"file": series[3]}], lost=None, workers=1)
    pixels, in_itself = result
    assert in_itself
    np.testing.assert_array_equal(pixels, read_frames(series[3]).pixels)
    np.testing.assert_array_equal(pixels[0], hounsfield(3) - 1024.0)


def test_a_file_that_crashes_its_decoder_costs_one_slice_of_its_series(series):
    (slices,) = in_order(slices_of, [{"files": series}], lost=None, workers=1)
    assert [slice_.file for slice_ in slices if slice_.pixels is not None] == [*series[:2], *series[3:]]
    (lost,) = [slice_ for slice_ in slices if slice_.pixels is None]
    convert = "fetch it again, or convert it to Explicit VR Little Endian"
    assert (lost.file, lost.reason) == (series[2], f"{series[2]}: makes its decoder crash; {convert}")


def test_a_large_series_in_the_memory_of_a_worker_is_not_refused(series):
    (result,) = in_order(hold_limits, [{"file": series[0]}], lost=None, workers=1)
    assert result[0] == 3
    np.testing.assert_array_equal(result[1][0], hounsfield(0) - 1024.0)


def test_a_crash_before_any_decoder_had_the_file_is_refused_by_name(series, monkeypatch):
    monkeypatch.setattr(decoding, "_decoded_file", die)
    with pytest.raises(UserError, match=r"1\.dcm: makes its decoder crash; fetch it again"):
        read_frames(series[1])


def test_a_larger_file_may_take_longer(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"")
    with large.open("wb") as file:
        file.truncate(5 * limits.DECODER_PACE)
    assert limits.of_decoder(small).seconds == limits.DECODER_SECONDS
    assert limits.of_decoder(large).seconds == limits.DECODER_SECONDS + 5


def test_a_machine_without_room_for_a_process_is_not_blamed_on_the_file(series, monkeypatch):
    guarded_process.of_this_process().close()
    monkeypatch.setattr(guarded_process, "START", "raise SystemExit(3)")
    with pytest.raises(guarded_process.NoProcessError):
        read_frames(series[1])
