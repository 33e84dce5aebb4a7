import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from headwater.core.errors import UserError
from headwater.data.io.raster import read_picture

GREY = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
COLOUR = np.stack([GREY, GREY[::-1], GREY], axis=-1)


def saved(path, pixels, mode=None):
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P"])
def test_grey_is_grey_in_whatever_mode(tmp_path, mode):
    read = read_picture(saved(tmp_path / "x.png", GREY, mode))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, GREY)


def test_colour_keeps_its_channels_and_loses_its_transparency(tmp_path):
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "x.png", COLOUR)), COLOUR)
    clear = np.concatenate([COLOUR, np.zeros((6, 10, 1), np.uint8)], axis=-1)
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "y.png", clear)), COLOUR)


def test_a_palette_of_colours_is_looked_up(tmp_path):
    picture = Image.fromarray(GREY // 60, mode="P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    picture.save(tmp_path / "x.png")
    assert read_picture(tmp_path / "x.png")[0, 0].tolist() == [255, 0, 0]


def test_one_bit_becomes_black_and_white(tmp_path):
    assert set(np.unique(read_picture(saved(tmp_path / "x.png", GREY, "1")))) == {0, 255}


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    wide = np.array([[0, 128, 129, 256], [257, 4095, 65406, 65535]], np.uint16)
    read = read_picture(saved(tmp_path / "x.png", wide))
    np.testing.assert_array_equal(read, np.round(wide / 257).astype(np.uint8))


def test_a_grey_jpeg_in_three_channels_is_grey(tmp_path):
    smooth = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None], 32, 0)
    read = read_picture(saved(tmp_path / "x.jpg", smooth, "RGB"))
    assert read.shape == (32, 32)
    assert np.abs(read.astype(int) - smooth).max() < 6


def refusal_of(path):
    with pytest.raises(UserError) as refused:
        read_picture(path)
    line = str(refused.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_a_truncated_picture_is_refused(tmp_path, name):
    path = saved(tmp_path / name, np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "no whole PNG or JPEG" in refusal_of(path)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", b"GIF89a" + bytes(99)])
def test_what_is_no_picture_is_refused(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    assert "no whole PNG or JPEG" in refusal_of(path)


def test_an_absent_picture_and_a_folder_are_refused(tmp_path):
    assert "is not there" in refusal_of(tmp_path / "x.png")
    refusal_of(tmp_path)


def test_a_picture_that_unpacks_to_gigabytes_is_refused(tmp_path):
    path = saved(tmp_path / "x.png", GREY)
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = PngImagePlugin._crc32(bytes(content[12:29])).to_bytes(4, "big")
    path.write_bytes(content)
    assert "too large" in refusal_of(path)


@given(st.data())
def test_damaged_bytes_give_pixels_or_a_refusal(tmp_path_factory, data):
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, data.draw(st.sampled_from(["PNG", "JPEG"])))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert read_picture(path).dtype == np.uint8
        except UserError as refusal:
            assert str(path) in str(refusal)
