import math
import sys

import numpy as np
import pandas as pd
import pytest
from pydicom import Dataset, Sequence, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from archives_made import SAMPLES, write_dicom
from headwater.core.errors import UserError
from headwater.data.io.dicom import read_radiograph, read_tags
from headwater.data.preparation import prepared_case

ZOO = SAMPLES / "dicom_zoo"
RAMP = (np.arange(256, dtype=np.uint16) * 16).reshape(16, 16)  # 0, 16, ... 4080


def read(tmp_path, pixels=RAMP, **tags):
    return read_radiograph(write_dicom(tmp_path / "x.dicom", pixels, **tags))


def table_of(first, entries, bits):
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(entries), first, bits], entries
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return Sequence([item])


def test_without_a_window_the_values_fill_the_range(tmp_path):
    np.testing.assert_array_equal(read(tmp_path).ravel(), np.arange(256))
    np.testing.assert_array_equal(read(tmp_path, RAMP + 1000).ravel(), np.arange(256))


def test_monochrome1_is_inverted(tmp_path):
    np.testing.assert_array_equal(
        read(tmp_path, PhotometricInterpretation="MONOCHROME1").ravel(), np.arange(255, -1, -1)
    )


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (-1, 4096)])
def test_a_window_is_in_rescaled_values_and_spans_black_to_white(tmp_path, slope, intercept):
    got = read(tmp_path, RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=2000, WindowWidth=1000)
    expected = ((RAMP * float(slope) + intercept) - 1999.5) / 999 + 0.5
    np.testing.assert_allclose(got, np.clip(expected, 0, 1) * 255, atol=0.5001)


def test_the_first_of_several_windows_counts(tmp_path):
    first = read(tmp_path, WindowCenter=1000, WindowWidth=500)
    np.testing.assert_array_equal(read(tmp_path, WindowCenter=[1000, 2000], WindowWidth=[500, 4000]), first)


@pytest.mark.parametrize("tags", [{"WindowCenter": 9, "WindowWidth": 0}, {"WindowCenter": 9}, {"WindowWidth": ""}])
def test_a_window_that_spans_nothing_counts_as_none(tmp_path, tags):
    np.testing.assert_array_equal(read(tmp_path, **tags).ravel(), np.arange(256))


def test_an_eight_bit_table_serves_more_than_256_values(tmp_path):
    entries = [value // 16 for value in range(4096)]
    np.testing.assert_array_equal(read(tmp_path, VOILUTSequence=table_of(0, entries, 8)).ravel(), np.arange(256))


def test_values_beyond_a_table_take_its_ends(tmp_path):
    got = read(tmp_path, VOILUTSequence=table_of(1600, list(range(0, 1600)), 12))
    expected = np.clip((RAMP.astype(float) - 1600) / 1599, 0, 1) * 255
    np.testing.assert_allclose(got, expected, atol=0.5001)


def test_a_twelve_bit_modality_table_comes_first(tmp_path):
    falling = table_of(0, list(range(4095, -1, -1)), 12)
    np.testing.assert_array_equal(read(tmp_path, ModalityLUTSequence=falling).ravel(), np.arange(255, -1, -1))


def test_a_table_with_a_negative_first_value(tmp_path):
    signed = RAMP.astype(np.int16) - 2048
    item = table_of(0, list(range(4096)), 12)
    item[0].LUTDescriptor = [4096, 65536 - 2048, 12]
    np.testing.assert_array_equal(read(tmp_path, signed, VOILUTSequence=item), (RAMP / 4095 * 255).round())


def test_signed_wide_and_floating_values(tmp_path):
    signed = RAMP.astype(np.int16) - 2048
    np.testing.assert_array_equal(read(tmp_path, signed).ravel(), np.arange(256))
    np.testing.assert_array_equal(read(tmp_path, RAMP.astype(np.uint32) * 1000).ravel(), np.arange(256))
    floating = {"PixelData": None, "BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    values = RAMP.astype(np.float32) / 7
    got = read(tmp_path, RAMP.astype(np.uint32), **floating, FloatPixelData=values.tobytes())
    np.testing.assert_array_equal(got.ravel(), np.arange(256))


def test_one_shade_throughout_is_black(tmp_path):
    assert not read(tmp_path, np.full((4, 4), 700, np.uint16)).any()


def test_colour_with_equal_channels_is_grey_and_other_colour_refused(tmp_path):
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    np.testing.assert_array_equal(read(tmp_path, np.stack([grey] * 3, -1), **tags), grey)
    with pytest.raises(UserError, match="in colour"):
        read(tmp_path, np.stack([grey, grey, grey[::-1]], -1), **tags)


def refusal_of(path):
    with pytest.raises(UserError) as refused:
        read_radiograph(path)
    line = str(refused.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"NumberOfFrames": 2, "Rows": 8}, "2 frames"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": None}, "has no Rows"),
        ({"Rows": 17}, "cut off"),
        ({"Rows": 65535, "Columns": 65535}, "claims 65535 x 65535"),
        (
            {"Rows": 15},
            "has more pixel data than its header states: 480 bytes are needed, it has 512; mend Rows",
        ),
        ({"Columns": 15}, "has more pixel data than its header states"),
        ({"Rows": 8, "Columns": 8}, "has more pixel data than its header states"),
        ({"BitsStored": 12, "HighBit": 15}, "has HighBit 15, but of 12 bits stored the highest is 11; mend"),
        ({"BitsStored": 12, "HighBit": 8}, "has HighBit 8, but"),
    ],
)
def test_what_is_no_single_grey_frame_is_refused(tmp_path, tags, wanted):
    assert wanted in refusal_of(write_dicom(tmp_path / "x.dicom", RAMP, **tags))


def test_floating_values_that_are_no_numbers_are_refused(tmp_path):
    floating = {"PixelData": None, "BitsStored": None, "HighBit": None, "PixelRepresentation": None}
    holes = np.where(RAMP == 0, np.nan, RAMP).astype(np.float32).tobytes()
    path = write_dicom(tmp_path / "x.dicom", RAMP.astype(np.uint32), **floating, FloatPixelData=holes)
    assert "not finite" in refusal_of(path)


@pytest.mark.parametrize("extra", [1, 2, 32])
def test_padding_behind_the_pixels_is_no_crop(tmp_path, extra):
    content = RAMP.tobytes() + bytes(extra + extra % 2)
    np.testing.assert_array_equal(read(tmp_path, PixelData=content).ravel(), np.arange(256))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("centre", [-99999, 1e30])
def test_a_window_that_shows_none_of_the_values_is_rejected_as_blank(tmp_path, centre, photometric):
    shown = read(tmp_path, WindowCenter=centre, WindowWidth=400, PhotometricInterpretation=photometric)
    assert prepared_case(shown, {}, case={"case": "x"}, size=8, resize="pad").kind.startswith("shows nothing")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = write_dicom(tmp_path / "x.dicom", RAMP)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refusal_of(path)


def test_a_truncated_compressed_picture_is_refused(tmp_path):
    path = write_dicom(tmp_path / "x.dicom", np.random.default_rng(0).integers(0, 4096, (32, 32), dtype=np.uint16))
    dataset = dcmread(path)
    dataset.compress(RLELossless)
    dataset.save_as(path)
    assert read_radiograph(path).shape == (32, 32)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refusal_of(path)


def test_a_compressed_picture_that_is_none_is_refused(tmp_path):
    path = write_dicom(tmp_path / "x.dicom", RAMP)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([b"no codestream at all"])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    refusal_of(path)


def test_a_rare_compression_without_its_decoder_says_what_to_install(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "x.dicom", RAMP)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.55"
    dataset.PixelData = encapsulate([bytes(64)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    monkeypatch.setitem(sys.modules, "gdcm", None)
    line = refusal_of(path)
    assert "JPEG Full Progression" in line
    assert "pip install -e '.[dicom]'" in line


def test_absent_folder_and_other_files_are_refused(tmp_path):
    assert "is not there" in refusal_of(tmp_path / "x.dicom")
    refusal_of(tmp_path)
    (tmp_path / "y.dicom").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))
    refusal_of(tmp_path / "y.dicom")


@pytest.mark.parametrize(
    ("tags", "sex", "age"),
    [
        ({"PatientSex": "F", "PatientAge": "045Y"}, "F", 45.0),
        ({"PatientSex": "M", "PatientAge": "018M"}, "M", 1.5),
        ({"PatientSex": "O", "PatientAge": ""}, "", math.nan),
        ({}, "", math.nan),
    ],
)
def test_tags_of_the_patient(tmp_path, tags, sex, age):
    told = read_tags(write_dicom(tmp_path / "x.dicom", RAMP, **tags))
    assert told["sex"] == sex
    assert told["age"] == pytest.approx(age, nan_ok=True)


FIFTEEN = "files/wrong_vr__pydicom__badVR.dcm"
"""Has fifteen frames, but "1A" for their number: other readers take the first for all."""


def zoo():
    return pd.read_csv(ZOO / "TRUTH.csv", dtype=str).fillna("").to_dict("records") if ZOO.is_dir() else []


def single_grey_frame(truth):
    shape = [int(side) for side in truth["shape"].split("x") if side]
    grey = truth["photometric"].startswith("MONOCHROME")
    return truth["expected"] == "decode" and grey and (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1))


@pytest.mark.skipif(not ZOO.is_dir(), reason="the real DICOM files are not on this machine")
@pytest.mark.parametrize("truth", zoo(), ids=lambda truth: truth["file"].removeprefix("files/"))
def test_the_zoo(truth):
    path = ZOO / truth["file"]
    if not single_grey_frame(truth) or truth["file"] == FIFTEEN:
        refusal_of(path)
        return
    header = dcmread(path, force=True)
    if header.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian).is_compressed:
        pytest.importorskip("gdcm", reason="the decoders of the extra `dicom` are not installed")
    grey = read_radiograph(path)
    assert grey.dtype == np.uint8
    assert list(grey.shape) == [int(side) for side in truth["shape"].split("x")][-2:]
    if "WindowWidth" not in header and "from ITK" not in truth["modality_source"]:
        low, high, mean = (float(truth[f"modality_{name}"]) for name in ("min", "max", "mean"))
        expected = 255 * (mean - low) / (high - low)
        inverted = truth["photometric"] == "MONOCHROME1"
        assert grey.mean() == pytest.approx(255 - expected if inverted else expected, abs=0.51)
