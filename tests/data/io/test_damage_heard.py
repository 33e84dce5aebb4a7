"""Damaged JPEG that GDCM decodes, lossless or of 12 bits, is refused by what its libjpeg prints."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from archives_made import picture, write_dicom
from headwater.core.errors import UserError
from headwater.data.io import decoding
from headwater.data.io.dicom import read_radiograph

gdcm = pytest.importorskip("gdcm")

END = b"\xff\xd9"
SYNTAXES = {"lossless": "JPEGLosslessProcess14_1", "12 bits": "JPEGExtendedProcess2_4"}


@pytest.fixture(scope="module", params=SYNTAXES)
def packed(request, tmp_path_factory):
    """A compressed file of values of 12 bits (96, 112)."""
    folder = tmp_path_factory.mktemp("packed")
    values = picture(3, shape=(96, 112)).astype(np.uint16) * 16
    values += np.random.default_rng(0).integers(0, 16, values.shape, dtype=np.uint16)
    plain = write_dicom(folder / "plain.dcm", values, BitsStored=12, HighBit=11)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, SYNTAXES[request.param])))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(folder / "packed.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return folder / "packed.dcm"


def changed(packed, path, change):
    """The same file with its one frame changed."""
    dataset = dcmread(packed)
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    data = frame[: frame.rindex(END)]
    dataset.PixelData = encapsulate([change(data) + END])
    dataset.save_as(path)
    return path


DAMAGES = {
    "cut off": lambda data: data[: len(data) // 2].rstrip(b"\xff"),
    "zero": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "a piece that is missing": lambda data: data[: len(data) // 2] + data[len(data) * 3 // 4 :],
    "an end marker": lambda data: data[: len(data) // 2] + END + data[len(data) // 2 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused(packed, tmp_path, damage):
    with pytest.raises(UserError, match=r"x\.dcm: .*; fetch it again$"):
        read_radiograph(changed(packed, tmp_path / "x.dcm", DAMAGES[damage]))


def test_a_few_bytes_more_are_none(packed, tmp_path):
    whole = read_radiograph(packed)
    for extra in (0, 1, decoding.MOST_EXTRA - 1):
        path = changed(packed, tmp_path / "x.dcm", lambda data, extra=extra: data + bytes(extra))
        np.testing.assert_array_equal(read_radiograph(path), whole)
