import io
import struct
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from dicom_made import hounsfield, item, pack, write_enhanced, write_slice
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, JPEG2000Lossless, RLELossless

from archives_made import SAMPLES, write_dicom
from headwater.core.errors import UserError
from headwater.data.io import codestreams, decoding, limits, modality
from headwater.data.io.frames import read_frames

ZOO = SAMPLES / "dicom_zoo"
GDCM = ("57", "70", "80", "81", "51", "53", "55")
"""Ends of the transfer syntaxes that only the extra `dicom` decodes."""
LOSSY_12_BIT = "JPGExtended.dcm"
"""A lossy JPEG of twelve bits; decoders round its waves differently, by 0.013 of 264 in the mean."""


def refusal_of(path):
    with pytest.raises(UserError) as refused:
        read_frames(path)
    line = str(refused.value)
    assert str(path) in line
    assert "\n" not in line
    return line


FIFTEEN = "files/wrong_vr__pydicom__badVR.dcm"
"""Has fifteen frames, but "1A" for their number: other readers take the first for all."""


def zoo():
    return pd.read_csv(ZOO / "TRUTH.csv", dtype=str).fillna("").to_dict("records") if ZOO.is_dir() else []


@pytest.mark.skipif(not ZOO.is_dir(), reason="the real DICOM files are not on this machine")
@pytest.mark.parametrize("truth", zoo(), ids=lambda truth: truth["file"].removeprefix("files/"))
def test_the_zoo(truth):
    path = ZOO / truth["file"]
    if truth["expected"] != "decode" or truth["file"] == FIFTEEN:
        refusal_of(path)
        return
    syntax = str(dcmread(path, force=True).file_meta.get("TransferSyntaxUID", ""))
    if syntax.startswith("1.2.840.10008.1.2.4.") and syntax.rsplit(".", 1)[-1] in GDCM:
        pytest.importorskip("gdcm", reason="the decoders of the extra `dicom` are not installed")
    values = read_frames(path).pixels
    shape = tuple(int(side) for side in truth["shape"].split("x"))
    assert values.dtype == np.float32
    assert values.shape == shape or values.shape == (1, *shape)
    low, high, mean = (float(truth[f"modality_{name}"]) for name in ("min", "max", "mean"))
    if truth["modality_source"] == "from ITK/gdcm only" and truth["photometric"] == "MONOCHROME1":
        # this reader, and it alone, had turned the ten bits around
        values = 1023 - values
    np.testing.assert_allclose([values.min(), values.max()], [low, high], rtol=1e-6, atol=1e-3)
    assert values.mean(dtype=np.float64) == pytest.approx(mean, abs=0.02 if LOSSY_12_BIT in truth["file"] else 1e-3)


def test_slope_and_intercept_give_hounsfield_units_and_the_place(tmp_path):
    stored = hounsfield(0)
    read = read_frames(write_slice(tmp_path / "x.dcm", stored, position=(1, 2, 3), RescaleSlope=0.5))
    np.testing.assert_allclose(read.pixels[0], stored / 2 - 1024)
    assert (read.photometric, read.modality) == ("MONOCHROME2", "CT")
    (place,) = read.places
    np.testing.assert_array_equal(place.position, [1, 2, 3])
    np.testing.assert_array_equal(place.normal, [0, 0, 1])
    np.testing.assert_array_equal(place.spacing, [0.5, 0.75])


def test_each_frame_has_a_rescale_and_a_place_of_its_own(tmp_path):
    stack = np.stack([hounsfield(0), hounsfield(1)])
    read = read_frames(write_enhanced(tmp_path / "x.dcm", stack, heights=[5, 2], slopes=[1, 2]))
    np.testing.assert_allclose(read.pixels, stack * np.array([1, 2])[:, None, None] - 1024)
    np.testing.assert_array_equal([place.position for place in read.places], [[-10, -20, 5], [-10, -20, 2]])
    np.testing.assert_array_equal(read.places[1].spacing, [0.5, 0.75])


def test_a_rescale_of_all_frames_gives_way_to_a_frames_own(tmp_path):
    stack = np.stack([hounsfield(0), hounsfield(1)])
    path = write_enhanced(tmp_path / "x.dcm", stack, heights=[5, 2], slopes=[1, 3])
    dataset = dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = [item(RescaleSlope=7, RescaleIntercept=1, RescaleType="US")]
    dataset.save_as(path)
    np.testing.assert_allclose(read_frames(path).pixels, [stack[0] * 7.0 + 1, stack[1] * 3.0 - 1024])


DIGITS = st.integers(-(10**6), 10**6).filter(bool).map(lambda number: f"{number / 1000:g}")


@given(DIGITS, DIGITS, st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=9))
def test_large_values_keep_every_digit_that_a_float_has(slope, intercept, values):
    stored = np.array(values, np.int32)[None, None]
    got = modality.measured(stored, item(RescaleSlope=slope, RescaleIntercept=intercept))
    exact = [value * float(slope) + float(intercept) for value in values]
    np.testing.assert_array_equal(got.ravel(), np.array(exact, np.float32))


@pytest.mark.parametrize("told", [{"RescaleSlope": None}, {"RescaleIntercept": None}, {"RescaleSlope": ""}])
def test_half_a_rescale_is_none(tmp_path, told):
    read = read_frames(write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0), **told))
    np.testing.assert_array_equal(read.pixels[0], hounsfield(0))


def test_a_slope_of_nothing_is_refused(tmp_path):
    assert "RescaleSlope 0" in refusal_of(
        write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0), RescaleSlope=0)
    )


@pytest.mark.parametrize(
    "told",
    [
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
        {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"PixelSpacing": [0, 1]},
        {"PixelSpacing": None},
        {"ImagePositionPatient": [1, 2]},
        {"ImagePositionPatient": None},
    ],
)
def test_a_place_that_makes_no_sense_is_none_and_the_pixels_are_read(tmp_path, told):
    read = read_frames(write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0), **told))
    assert not read.places[0].is_known
    assert read.pixels.shape == (1, 12, 10)


def compressed(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", **{"irreversible": False} | options)
    content = file.getvalue()
    return content[content.find(codestreams.JPEG_2000) :]


def test_jpeg_2000_rle_deflated_and_big_endian_give_the_same_values(tmp_path):
    plain = write_slice(tmp_path / "plain.dcm", hounsfield(0), position=(0, 0, 0))
    paths = [pack(write_copy(plain, "j2k"), syntax=JPEG2000Lossless, streams=[compressed(hounsfield(0))])]
    packed = dcmread(plain)
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "rle.dcm")
    big = Dataset({element.tag: element for element in dcmread(plain)})
    big.file_meta = packed.file_meta
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    big.PixelData = hounsfield(0).astype(">u2").tobytes()
    big.save_as(tmp_path / "big.dcm")
    deflated = dcmread(plain)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(tmp_path / "deflated.dcm")
    for path in [plain, *paths, tmp_path / "rle.dcm", tmp_path / "big.dcm", tmp_path / "deflated.dcm"]:
        np.testing.assert_array_equal(read_frames(path).pixels[0], hounsfield(0) - 1024.0, err_msg=path.name)


def write_copy(path, name):
    copy = path.with_name(f"{name}.dcm")
    copy.write_bytes(path.read_bytes())
    return copy


def test_a_stream_of_another_size_than_the_header_is_refused_before_it_is_decoded(tmp_path):
    path = write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0))
    huge = bytearray(compressed(hounsfield(0)))
    struct.pack_into(">2I", huge, 8, 60000, 50000)
    assert "frame 1 is 50000 x 60000, but its header states 12 x 10" in refusal_of(
        pack(path, syntax=JPEG2000Lossless, streams=[bytes(huge)])
    )


def test_a_stream_without_its_end_and_a_frame_that_is_missing_are_refused(tmp_path):
    path = write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0))
    stream = compressed(hounsfield(0))
    assert "has no end marker" in refusal_of(pack(path, syntax=JPEG2000Lossless, streams=[stream[: len(stream) // 2]]))
    two = write_dicom(tmp_path / "two.dcm", hounsfield(0), NumberOfFrames=2)
    assert "NumberOfFrames is 2, it has 1" in refusal_of(pack(two, syntax=JPEG2000Lossless, streams=[stream]))


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@given(rows=st.integers(1, 70), columns=st.integers(1, 70))
def test_the_size_of_a_stream_is_what_its_decoder_gives(kind, rows, columns):
    file = io.BytesIO()
    Image.fromarray(np.zeros((rows, columns), np.uint8)).save(file, kind)
    assert codestreams.size_of(file.getvalue()) == (rows, columns)
    assert codestreams.is_whole(file.getvalue())
    assert not codestreams.is_whole(file.getvalue()[:-2])


@given(st.binary(max_size=40), st.sampled_from([codestreams.JPEG, codestreams.JPEG_2000, codestreams.JPEG_2000_BOX]))
def test_the_size_of_any_bytes_can_be_asked(tail, head):
    size = codestreams.size_of(head + tail)
    assert size is None or len(size) == 2


def test_a_deflated_bomb_is_refused_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MOST_BYTES", 2**20)
    path = write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0))
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert read_frames(path).pixels.shape == (1, 12, 10)
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 140)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(content[: 144 + length] + bomb.compress(bytes(2**24)) + bomb.flush())
    assert path.stat().st_size < 2**20
    assert "too large" in refusal_of(path)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"Rows": 65535, "Columns": 65535}, "claims 65535 x 65535"),
        ({"NumberOfFrames": 2**31 - 1}, "claims 2147483647 x 12 x 10"),
        ({"NumberOfFrames": 0, "Rows": 0}, "has no Rows"),
        ({"NumberOfFrames": 2}, "is cut off: 12 x 10 pixels in 2 frames need 480 bytes, it has 240"),
        ({"BitsAllocated": 12}, "has BitsAllocated 12"),
        ({"Rows": 8192, "Columns": 8192, "NumberOfFrames": 2, "SamplesPerPixel": 3}, "claims 2 x 8192 x 8192"),
        ({"Rows": 8192, "Columns": 8192, "NumberOfFrames": 2}, "is cut off: 8192 x 8192 pixels in 2 frames"),
        ({"SamplesPerPixel": 9}, "has SamplesPerPixel 9"),
        ({"PixelData": None}, "no pixel data"),
    ],
)
def test_a_hostile_header_is_refused_by_name(tmp_path, tags, wanted):
    assert wanted in refusal_of(write_dicom(tmp_path / "x.dcm", hounsfield(0), **tags))


def test_one_bit_and_floating_pixels_are_read_and_what_is_no_number_refused(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (8, 16), dtype=np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little")
    told = {"Rows": 8, "Columns": 16, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    path = write_dicom(tmp_path / "bits.dcm", packed[None], **told)
    np.testing.assert_array_equal(read_frames(path).pixels[0], bits)
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    floating = {"PixelData": None, "BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    path = write_dicom(tmp_path / "f.dcm", values.view(np.uint32), **floating, FloatPixelData=values.tobytes())
    np.testing.assert_array_equal(read_frames(path).pixels[0], values)
    values[3, 3] = np.inf
    path = write_dicom(tmp_path / "g.dcm", values.view(np.uint32), **floating, FloatPixelData=values.tobytes())
    assert "not finite" in refusal_of(path)


def test_a_file_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0))
    monkeypatch.setattr(limits, "MOST_BYTES", path.stat().st_size - 1)
    assert "is larger than" in refusal_of(path)


def test_a_compression_without_its_decoder_is_named_with_the_remedy(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "x.dcm", hounsfield(0), position=(0, 0, 0))
    pack(path, syntax="1.2.840.10008.1.2.4.80", streams=[codestreams.JPEG + bytes(64) + codestreams.END])
    # pydicom looks for decoders once, when it is imported
    monkeypatch.setattr(decoding, "_has_decoder", lambda dataset: False)
    monkeypatch.setitem(sys.modules, "gdcm", None)
    line = refusal_of(path)
    assert "JPEG-LS Lossless" in line
    assert "pip install -e '.[dicom]'" in line
