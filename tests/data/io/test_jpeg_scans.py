"""JPEG: whole ones in all forms give the pixels that Pillow gives, and damage within their scans is refused."""

import io

import numpy as np
import pytest
from dicom_made import pack
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit

from archives_made import picture, write_dicom
from headwater.core.errors import UserError
from headwater.data.io import jpeg_scans
from headwater.data.io.dicom import read_radiograph
from headwater.data.io.raster import read_picture

END = b"\xff\xd9"

FORMS = {
    "grey": {},
    "colour": {"subsampling": 2},
    "own codes": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts by rows": {"restart_marker_rows": 1},
    "restarts by blocks": {"restart_marker_blocks": 5},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


def encoded(form, *, quality=85):
    """A JPEG of a picture (152, 168) with structure of all sizes and some noise."""
    pixels = picture(3, shape=(152, 168, 3) if form != "grey" else (152, 168)).astype(int)
    pixels += np.random.default_rng(0).integers(-6, 7, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality, **FORMS[form])
    return file.getvalue()


def data_of(content):
    """Where the data of the first scan begin, and where those of the last one end."""
    scan = content.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big"), content.rindex(END)


def cut(content, share):
    """The data end after a share of them, and an end marker follows."""
    start, end = data_of(content)
    return content[: start + int((end - start) * share)].rstrip(b"\xff") + END


def overwritten(content, share, new):
    """Bytes from a share of the data on are replaced."""
    start, end = data_of(content)
    place = start + int((end - start) * share)
    return content[:place] + new[: end - place] + content[place + len(new[: end - place]) :]


NOISE = np.random.default_rng(1).integers(0, 255, 2000, dtype=np.uint8).tobytes()

DAMAGES = {
    "cut off in the first scan, with an end marker": lambda content: cut(content, 0.1),
    "cut off in the middle, with an end marker": lambda content: cut(content, 0.5),
    "cut off at the end, with an end marker": lambda content: cut(content, 0.9),
    "an end marker in the middle": lambda content: overwritten(content, 0.4, END),
    "the second half zero": lambda content: overwritten(content, 0.5, bytes(len(content))),
    "the first half zero": lambda content: overwritten(content, 0, bytes(len(content) // 2)),
    "noise in the middle": lambda content: overwritten(content, 0.4, NOISE),
    "a piece that is missing": lambda content: content[: len(content) // 2] + content[len(content) * 3 // 4 :],
    "a piece that is there twice": lambda content: content[: len(content) * 3 // 4] + content[len(content) // 2 :],
    "another marker in the middle": lambda content: overwritten(content, 0.4, b"\xff\xfe\0\x02"),
    "no end marker": lambda content: content[:-2],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quality", [30, 95])
def test_a_whole_one_has_the_pixels_of_pillow(tmp_path, form, quality):
    content, path = encoded(form, quality=quality), tmp_path / "x.jpg"
    expected = np.asarray(Image.open(io.BytesIO(content)))
    for after in (b"", b"\n", END, content):
        path.write_bytes(content + after)
        np.testing.assert_array_equal(read_picture(path), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_within_a_scan_is_refused(tmp_path, form, damage):
    path = tmp_path / "x.jpg"
    path.write_bytes(DAMAGES[damage](encoded(form)))
    with pytest.raises(UserError, match=r"x\.jpg: is no whole PNG or JPEG: .*; fetch it again$"):
        read_picture(path)


@pytest.mark.parametrize("form", ["grey", "restarts by rows"])
@pytest.mark.parametrize("side", range(1, 40, 5))
def test_sizes_that_fill_no_block(tmp_path, form, side):
    path = tmp_path / "x.jpg"
    Image.fromarray(picture(2, shape=(side, 41 - side))).save(path, **FORMS[form])
    np.testing.assert_array_equal(read_picture(path), np.asarray(Image.open(path)))


def test_what_devices_add_is_no_damage(tmp_path):
    content, path = encoded("grey"), tmp_path / "x.jpg"
    for fill, following in ((bytes(300), END), (b"\xff" * 9, END), (b"", b"\xff\xd0" + END)):
        path.write_bytes(content[:-2] + fill + following)
        np.testing.assert_array_equal(read_picture(path), np.asarray(Image.open(io.BytesIO(content))))
    path.write_bytes(content[:-2] + bytes(jpeg_scans.MOST_FILL + 1) + END)
    with pytest.raises(UserError, match="a scan has more data than its blocks need"):
        read_picture(path)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (3, 2)])
def test_restarts_out_of_order_are_refused(tmp_path, first, second):
    content, path = encoded("restarts by rows"), tmp_path / "x.jpg"
    assert bytes([0xFF, 0xD0 + first]) in content
    path.write_bytes(content.replace(bytes([0xFF, 0xD0 + first]), bytes([0xFF, 0xD0 + second])))
    with pytest.raises(UserError, match="its restart markers are out of order"):
        read_picture(path)


def test_the_end_of_a_picture_with_very_many_restarts_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(jpeg_scans, "MOST_CHECKED", 3)
    content, path = encoded("restarts by blocks"), tmp_path / "x.jpg"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_picture(path), np.asarray(Image.open(path)))
    path.write_bytes(content[:-40].rstrip(b"\xff") + END)
    with pytest.raises(UserError, match="a scan has less data than its blocks need"):
        read_picture(path)


def test_damage_within_a_frame_of_dicom_is_refused(tmp_path):
    def stored(content):
        path = write_dicom(tmp_path / "x.dcm", picture(3, shape=(152, 168)))
        return pack(path, syntax=JPEGBaseline8Bit, streams=[content])

    content = encoded("grey")
    whole = read_radiograph(stored(content)).astype(int)
    assert np.abs(whole - np.asarray(Image.open(io.BytesIO(content)))).max() <= 1
    for damage in DAMAGES.values():
        with pytest.raises(UserError, match=r"x\.dcm: .*; fetch it again"):
            read_radiograph(stored(damage(content)))
