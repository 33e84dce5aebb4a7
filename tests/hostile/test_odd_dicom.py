"""DICOM as people have it: padding, encodings that nothing reads, missing elements, mosaics, diffusion."""

import struct

import numpy as np
import pytest
from dicom_made import AXIAL, hounsfield, item, write_slice
from pydicom import Dataset, Sequence, dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from archives_made import SAMPLES, write_dicom
from headwater.core.errors import UserError
from headwater.data.io.dicom import read_radiograph
from headwater.data.io.frames import read_frames
from headwater.data.io.series import sort_folder
from headwater.data.io.slices import dicom_slices
from headwater.data.io.stacking import read_volume

FAULTS = SAMPLES / "faults"
faults = pytest.mark.skipif(not FAULTS.is_dir(), reason="the files with faults are not on this machine")

RAMP = np.linspace(100, 3000, 30 * 32).round().astype(np.int32).reshape(30, 32)
SHADES = np.rint((RAMP - 100) / 2900 * 255).astype(np.uint8)


def padded(path, value, *, kind="u2", shift=0, **tags):
    """The ramp with a frame of padding, two pixels wide."""
    stored = np.pad(RAMP + shift, 2, constant_values=value).astype(kind)
    return write_dicom(path, stored, **tags)


def assert_padded(read, *, shades=SHADES):
    assert read.shape == (34, 36)
    np.testing.assert_array_equal(read[2:-2, 2:-2], shades)
    assert not np.delete(read, np.s_[2:-2], axis=0).any()
    assert not read[:, :2].any()
    assert not read[:, -2:].any()


class TestPadding:
    @pytest.mark.parametrize("value", [0, 4095, 65535])
    def test_unsigned(self, tmp_path, value):
        assert_padded(read_radiograph(padded(tmp_path / "x.dcm", value, PixelPaddingValue=value)))

    @pytest.mark.parametrize("value", [-32768, -2000, 32767])
    @pytest.mark.parametrize("shift", [0, -1000])
    def test_signed(self, tmp_path, value, shift):
        path = padded(tmp_path / "x.dcm", value, kind="i2", shift=shift, PixelPaddingValue=value)
        assert_padded(read_radiograph(path))

    def test_negative_padding_that_the_header_writes_as_unsigned(self, tmp_path):
        path = padded(tmp_path / "x.dcm", -2000, kind="i2")
        dataset = dcmread(path)
        dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
        dataset.save_as(path)
        assert_padded(read_radiograph(path))

    @pytest.mark.parametrize(("first", "last"), [(65000, 65535), (65535, 65000)])
    def test_a_range_in_either_order(self, tmp_path, first, last):
        path = padded(tmp_path / "x.dcm", 65200, PixelPaddingValue=first, PixelPaddingRangeLimit=last)
        assert_padded(read_radiograph(path))

    @pytest.mark.parametrize("rescale", [{}, {"RescaleSlope": 2, "RescaleIntercept": -1024}])
    def test_of_an_inverted_picture_becomes_black_too(self, tmp_path, rescale):
        tags = {"PixelPaddingValue": 65535, "PhotometricInterpretation": "MONOCHROME1", **rescale}
        assert_padded(read_radiograph(padded(tmp_path / "x.dcm", 65535, **tags)), shades=255 - SHADES)

    def test_a_window_is_applied_as_before(self, tmp_path):
        window = {"WindowCenter": 1550, "WindowWidth": 2900}
        plain = read_radiograph(padded(tmp_path / "x.dcm", 65535, **window))
        np.testing.assert_array_equal(
            read_radiograph(padded(tmp_path / "y.dcm", 65535, PixelPaddingValue=65535, **window)), plain
        )

    def test_padding_that_no_pixel_has_changes_nothing(self, tmp_path):
        path = write_dicom(tmp_path / "x.dcm", RAMP.astype("u2"), PixelPaddingValue=65535)
        np.testing.assert_array_equal(read_radiograph(path), SHADES)

    @pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
    def test_nothing_but_padding_is_one_shade(self, tmp_path, photometric):
        tags = {"PixelPaddingValue": 7, "PhotometricInterpretation": photometric}
        for inside in (7, 9):
            stored = np.pad(np.full((4, 4), inside, np.uint16), 1, constant_values=7)
            assert np.ptp(read_radiograph(write_dicom(tmp_path / "x.dcm", stored, **tags))) == 0

    @faults
    def test_the_fault(self):
        path = FAULTS / "padding_65535.dcm"
        stored = dcmread(path).pixel_array.astype(float)
        seen = stored != 65535
        lowest, highest = stored[seen].min(), stored[seen].max()
        read = read_radiograph(path)
        np.testing.assert_array_equal(read[seen], np.rint((stored[seen] - lowest) / (highest - lowest) * 255))
        assert not read[~seen].any()


def refusals_of(path):
    """What each of the two readers of single files says, which must be the same in other words."""
    said = []
    for read in (read_radiograph, read_frames):
        with pytest.raises(UserError) as refused:
            read(path)
        said.append(str(refused.value))
        assert said[-1].startswith(f"{path}: ")
        assert "\n" not in said[-1]
    assert said[0] == said[1]
    return said[0]


def encoded(path, syntax):
    """A file that claims an encoding and has some fragment in it."""
    dataset = dcmread(write_dicom(path, RAMP.astype(np.uint16)))
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([b"\xff\x0a" + bytes(198)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return stated(path, syntax)


def stated(path, syntax):
    """The same file with another transfer syntax in its header, which pydicom would not write."""
    content = path.read_bytes()
    place = content.index(b"\2\0\x10\0UI") + 6
    (length,) = struct.unpack_from("<H", content, place)
    value = syntax.encode() + bytes(len(syntax) % 2)
    # the first element, behind 132 bytes and its own 8, is the length of all of its group
    (group,) = struct.unpack_from("<I", content, 140)
    content = content[:place] + struct.pack("<H", len(value)) + value + content[place + 2 + length :]
    path.write_bytes(content[:140] + struct.pack("<I", group + len(value) - length) + content[144:])
    return path


class TestEncodings:
    @pytest.mark.parametrize(
        ("syntax", "name", "remedy"),
        [
            ("1.2.840.10008.1.2.4.110", "is compressed as JPEG XL Lossless", "dicom-transcode"),
            ("1.2.840.10008.1.2.4.111", "is compressed as JPEG XL JPEG Recompression", "dicom-transcode"),
            ("1.2.840.10008.1.2.4.112", "is compressed as JPEG XL,", "dicom-transcode"),
            ("1.2.840.10008.1.2.8.1", "is compressed as Deflated Image Frame Compression", "convert it"),
            ("1.2.840.10008.1.2.4.100", "holds a video (MPEG2 Main Profile / Main Level)", "export the frame"),
            ("1.2.840.10008.1.2.4.102", "holds a video (MPEG-4 AVC/H.264", "export the frame"),
            ("1.2.840.10008.1.2.4.107", "holds a video (HEVC/H.265", "export the frame"),
            ("1.2.840.10008.1.2.4.94", "refers to pixels on a server (JPIP Referenced)", "from that server"),
            ("1.2.840.113619.5.2", "is in a vendor's own encoding (1.2.840.113619.5.2)", "where it was made"),
            ("1.2.840.10008.1.2.4.999", "is in an unknown encoding (1.2.840.10008.1.2.4.999)", "convert it"),
        ],
    )
    def test_what_nothing_reads_is_named_with_what_helps(self, tmp_path, syntax, name, remedy):
        line = refusals_of(encoded(tmp_path / "x.dcm", syntax))
        assert name in line
        assert remedy in line
        assert "fetch it again" not in line

    def test_a_slice_in_such_an_encoding_is_refused_by_it(self, tmp_path):
        path = write_slice(tmp_path / "x.dcm", hounsfield(1), position=(0, 0, 0))
        (slice_,) = dicom_slices([stated(path, "1.2.840.10008.1.2.4.110")])
        assert "JPEG XL Lossless" in slice_.reason

    @pytest.mark.parametrize(
        "syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless]
    )
    def test_what_is_read_is_read_alike(self, tmp_path, syntax):
        dataset = dcmread(write_dicom(tmp_path / "x.dcm", RAMP.astype(np.uint16)))
        if syntax == RLELossless:
            dataset.compress(syntax)
            dataset.save_as(tmp_path / "x.dcm")
        else:
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = RAMP.astype(">u2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            little = syntax != ExplicitVRBigEndian
            implicit = syntax == ImplicitVRLittleEndian
            dcmwrite(tmp_path / "x.dcm", dataset, implicit_vr=implicit, little_endian=little)
        np.testing.assert_array_equal(read_radiograph(tmp_path / "x.dcm"), SHADES)

    @faults
    def test_the_fault(self):
        line = refusals_of(FAULTS / "unknown_syntax_jpeg_xl.dcm")
        assert "is compressed as JPEG XL Lossless, which is not read; convert it to Explicit VR Little Endian" in line


class TestMissingElements:
    @pytest.mark.parametrize(
        ("name", "unknown"),
        [
            ("PhotometricInterpretation", "which says whether low values are dark or bright; add the element"),
            ("SamplesPerPixel", "which says whether it is grey or in colour; add the element"),
            ("BitsAllocated", "which says how many bits a value takes; add the element"),
            ("BitsStored", "which says how many bits of a value count; add the element"),
            ("PixelRepresentation", "which says whether values may be negative; add the element"),
            ("Rows", "fetch it again"),
            ("Columns", "fetch it again"),
        ],
    )
    def test_each_is_named(self, tmp_path, name, unknown):
        path = write_dicom(tmp_path / "x.dcm", RAMP.astype(np.uint16))
        dataset = dcmread(path)
        delattr(dataset, name)
        dataset.save_as(path)
        line = refusals_of(path)
        assert f"has no {name}" in line
        assert unknown in line
        # present but empty
        dataset = dcmread(write_dicom(path, RAMP.astype(np.uint16)))
        setattr(dataset, name, None)
        dataset.save_as(path)
        assert f"has no {name}" in refusals_of(path)

    @pytest.mark.parametrize("content", [b"", None])
    def test_empty_pixels(self, tmp_path, content):
        path = write_dicom(tmp_path / "x.dcm", RAMP.astype(np.uint16))
        dataset = dcmread(path)
        dataset.PixelData = content
        dataset.save_as(path)
        assert "holds no pixels" in refusals_of(path)
        (aside,) = sort_folder(tmp_path).set_aside
        assert (aside.kind, "has no pixel data" in aside.reason) == ("no image", True)

    @pytest.mark.parametrize(
        ("name", "said"), [("empty_pixels", "holds no pixels"), ("no_photometric", "has no PhotometricInterpretation")]
    )
    @faults
    def test_the_faults(self, name, said):
        assert said in refusals_of(FAULTS / f"{name}.dcm")


def magnetic(folder, *, height, number, **tags):
    """An MR slice at a height, whose pixels differ from number to number."""
    told = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None, "SOPInstanceUID": f"1.2.3.{number + 1}"}
    path = folder / f"{number:03d}.dcm"
    write_slice(path, hounsfield(number), position=(0, 0, height), **{**told, **tags})
    return path


def gradient(*direction):
    return {"DiffusionGradientOrientation": [float(part) for part in direction]} if direction else {}


def siemens(dataset, b_value, direction):
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", str(b_value))
    if direction:
        block.add_new(0x0E, "FD", [float(part) for part in direction])


def general_electric(dataset, b_value, direction):
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [str(b_value + 10**9), "8", "0"])


WEIGHTINGS = [(0, ()), (1000, (1, 0, 0)), (1000, (0, 1, 0)), (2000, (0, 1, 0))]


class TestDiffusion:
    def test_volumes_at_the_same_positions_are_told_apart(self, tmp_path):
        number = 0
        for b_value, direction in WEIGHTINGS:
            for height in range(4):
                magnetic(tmp_path, height=height, number=number, DiffusionBValue=float(b_value), **gradient(*direction))
                number += 1
        scans = sort_folder(tmp_path)
        assert [len(series.slices) for series in scans.series] == [4] * 4
        assert not scans.set_aside
        assert all(series.repeated == 0 and read_volume(series).voxels.shape[0] == 4 for series in scans.series)

    @pytest.mark.parametrize("write", [siemens, general_electric])
    def test_by_the_elements_of_vendors(self, tmp_path, write):
        weightings = [(0, ()), (500, ()), (1000, ())] if write is general_electric else WEIGHTINGS
        number = 0
        for b_value, direction in weightings:
            for height in range(4):
                path = magnetic(tmp_path, height=height, number=number)
                dataset = dcmread(path)
                write(dataset, b_value, direction)
                dataset.save_as(path)
                number += 1
        assert [len(series.slices) for series in sort_folder(tmp_path).series] == [4] * len(weightings)

    def test_several_directions_that_nothing_distinguishes_are_refused_by_name(self, tmp_path):
        for number in range(8):
            magnetic(tmp_path, height=number // 2, number=number, DiffusionBValue=1000.0)
        (series,) = sort_folder(tmp_path).series
        assert series.repeated == 4
        with pytest.raises(
            UserError, match=r"is of a diffusion series and has the same position as .*; neither b-value"
        ):
            read_volume(series)

    def test_frames_of_an_enhanced_file(self, tmp_path):
        own, frames = [], []
        for number, (b_value, direction) in enumerate(weighting for weighting in WEIGHTINGS[:3] for _ in range(3)):
            inner = [item(**gradient(*direction))] if direction else []
            weighted = item(DiffusionBValue=float(b_value))
            if inner:
                weighted.DiffusionGradientDirectionSequence = Sequence(inner)
            groups = item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, number % 3])])
            groups.MRDiffusionSequence = Sequence([weighted])
            own.append(groups)
            frames.append(hounsfield(number))
        shared = Dataset()
        shared.PlaneOrientationSequence = Sequence([item(ImageOrientationPatient=list(AXIAL))])
        shared.PixelMeasuresSequence = Sequence([item(PixelSpacing=[1, 1])])
        stack = np.stack(frames)
        tags = {"NumberOfFrames": len(stack), "Rows": stack.shape[1], "Columns": stack.shape[2]}
        tags |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", "SOPInstanceUID": "1.2.3", "Modality": "MR"}
        tags |= {"SharedFunctionalGroupsSequence": Sequence([shared]), "SeriesInstanceUID": "1.2"}
        write_dicom(tmp_path / "x.dcm", stack, PerFrameFunctionalGroupsSequence=Sequence(own), **tags)
        assert [len(series.slices) for series in sort_folder(tmp_path).series] == [3, 3, 3]


def test_a_mosaic_is_named_and_is_neither_slice_nor_picture(tmp_path):
    path = magnetic(tmp_path, height=0, number=0, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    (aside,) = sort_folder(tmp_path).set_aside
    assert (aside.kind, aside.reason) == ("mosaic", "is a Siemens mosaic: many slices side by side in one picture")
    with pytest.raises(
        UserError, match=r"000\.dcm: is a Siemens mosaic: .*; split it into slices, for example with dcm2"
    ):
        read_radiograph(path)
