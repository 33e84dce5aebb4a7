"""The rows of a PNG become the values that Pillow gives, or are left to Pillow."""

import io
import math
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from headwater.core.errors import UserError
from headwater.data.io import picture_data, png_rows, raster

# the bits and the colour types of a header: grey, colour, palette, grey and colour with transparency
FORMS = [
    (1, 0),
    (2, 0),
    (4, 0),
    (8, 0),
    (16, 0),
    (8, 2),
    (16, 2),
    (1, 3),
    (4, 3),
    (8, 3),
    (8, 4),
    (16, 4),
    (8, 6),
    (16, 6),
]
END = b"\0\0\0\0IEND\xae\x42\x60\x82"


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, *, width, height, form=(8, 0), interlaced=0, parts=1):
    """A PNG of a zlib stream `rows`, in so many chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *form, 0, 0, interlaced))
    palette = chunk(b"PLTE", np.random.default_rng(1).bytes(3 * 2 ** form[0])) if form[1] == 3 else b""
    step = -(-len(rows) // parts)
    data = b"".join(chunk(b"IDAT", rows[start : start + step]) for start in range(0, len(rows), step))
    return b"\x89PNG\r\n\x1a\n" + header + palette + data + END


def filtered(width, height, *, form=(8, 0), kinds=range(5), seed=0):
    """Rows of any bytes, each with a filter of `kinds`."""
    draw, (depth, colour) = np.random.default_rng(seed), form
    wide = (width * depth * png_rows.SAMPLES[colour] + 7) // 8
    rows = draw.integers(0, 256, (height, 1 + wide), dtype=np.uint8)
    rows[:, 0] = draw.choice(list(kinds), height)
    return rows.tobytes()


def read(content, *, large):
    """The picture in a file, and whether it was decoded without Pillow; one of fewer bytes than `large` never is."""
    picture, is_ours = Image.open(io.BytesIO(content)), []
    picture_data.guard_png(picture, content)
    whole = picture.frombytes
    picture.frombytes = lambda *given: (is_ours.append(True), whole(*given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(png_rows, "LARGE", large)
        picture.load()
    return picture, bool(is_ours)


def decoded(content):
    """The picture in a file of any size, and whether it was decoded without Pillow."""
    return read(content, large=0)


def by_pillow(content):
    """The picture that Pillow reads in a file."""
    picture, is_ours = read(content, large=math.inf)
    assert not is_ours
    return picture


def same(here, there):
    assert (here.mode, here.size, here.info, here.getpalette()) == (
        there.mode,
        there.size,
        there.info,
        there.getpalette(),
    )
    assert here.tobytes() == there.tobytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (37, 1), (33, 29), (130, 64)])
def test_pictures_of_all_forms_are_those_of_pillow(form, size):
    width, height = size
    for parts in (1, 3):
        rows = zlib.compress(filtered(width, height, form=form, seed=width))
        content = png(rows, width=width, height=height, form=form, parts=parts)
        picture, is_ours = decoded(content)
        assert is_ours
        same(picture, by_pillow(content))


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("form", [(8, 0), (8, 2), (16, 6)])
def test_each_filter_is_taken_off_as_pillow_does(form, kind):
    # so many bytes that left, upper and upper left ones meet in all orders
    content = png(zlib.compress(filtered(300, 200, form=form, kinds=[kind])), width=300, height=200, form=form)
    picture, is_ours = decoded(content)
    assert is_ours
    same(picture, by_pillow(content))


def test_chunks_behind_the_data_are_read():
    exif = Image.Exif()
    exif[274] = 6
    told = chunk(b"tEXt", b"Comment\0made") + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    for parts in (1, 4):
        content = png(zlib.compress(filtered(40, 40)), width=40, height=40, parts=parts).removesuffix(END) + told + END
        picture, is_ours = decoded(content)
        assert is_ours and picture.getexif()[274] == 6 and picture.text == {"Comment": "made"}
        same(picture, by_pillow(content))


ODD = filtered(40, 40, kinds=[1, 2])
UNUSUAL = {
    # of one row and column, which is a whole pass
    "interlaced": png(zlib.compress(b"\0\x50"), width=1, height=1, interlaced=1),
    "more rows": png(zlib.compress(ODD + bytes(41)), width=40, height=40),
    "wrong checksum": png(zlib.compress(ODD)[:-1] + b"?", width=40, height=40),
    "a chunk before the header": png(zlib.compress(ODD), width=40, height=40).replace(
        b"\r\n\x1a\n", b"\r\n\x1a\n" + chunk(b"prIv", b"made"), 1
    ),
}


@pytest.mark.parametrize("content", UNUSUAL.values(), ids=UNUSUAL)
def test_what_is_unusual_is_left_to_pillow(content):
    picture, is_ours = decoded(content)
    assert not is_ours
    same(picture, by_pillow(content))


@pytest.mark.parametrize("rows", [b"\x07" + ODD[1:], ODD[:-1], ODD[:-41]], ids=["filter", "byte", "row"])
def test_what_pillow_refuses_is_refused_alike(rows):
    said = []
    for way in (decoded, by_pillow):
        with pytest.raises((OSError, ValueError)) as error:
            way(png(zlib.compress(rows), width=40, height=40))
        said.append(str(error.value))
    assert said[0] == said[1]


def test_data_behind_another_chunk_are_refused_as_pillow_does():
    whole = png(zlib.compress(ODD), width=40, height=40, parts=2)
    middle = whole.rindex(b"IDAT") - 4
    content = whole[:middle] + chunk(b"tEXt", b"Comment\0made") + whole[middle:]
    for way in (decoded, by_pillow):
        with pytest.raises(ValueError, match="its data end before its last row"):
            way(content)


def test_an_animated_one_is_left_to_pillow():
    file, (first, second) = io.BytesIO(), (Image.new("L", (30, 20), shade) for shade in (10, 200))
    first.save(file, "PNG", save_all=True, append_images=[second])
    picture, is_ours = decoded(file.getvalue())
    assert picture.is_animated and not is_ours


def test_small_ones_do_not_wait_for_compiled_code():
    content = png(zlib.compress(filtered(40, 40)), width=40, height=40)
    picture = Image.open(io.BytesIO(content))
    png_rows.decode(picture, content, [memoryview(zlib.compress(filtered(40, 40)))])
    assert picture.tile


def test_a_stream_that_holds_far_more_than_the_picture_is_not_unpacked(monkeypatch):
    asked, whole = [], zlib.decompressobj

    class Counted:
        def __init__(self):
            self.inner = whole()

        def decompress(self, data, most):
            given = self.inner.decompress(data, most)
            asked.append(len(given))
            return given

        @property
        def eof(self):
            return self.inner.eof

    monkeypatch.setattr(png_rows.isal_zlib, "decompressobj", Counted)
    content = png(zlib.compress(bytes(10**7)), width=40, height=40)
    same(decoded(content)[0], by_pillow(content))
    assert max(asked) <= 40 * 41 + 1


def test_large_files_are_read_whole_and_cut_off_ones_refused(tmp_path):
    content = png(zlib.compress(filtered(512, 512)), width=512, height=512)
    (tmp_path / "whole.png").write_bytes(content)
    np.testing.assert_array_equal(raster.read_picture(tmp_path / "whole.png"), np.asarray(by_pillow(content)))
    short = png(zlib.compress(filtered(512, 512)[: 513 * 500]), width=512, height=512)
    (tmp_path / "short.png").write_bytes(short)
    with pytest.raises(UserError, match="its data end before its last row"):
        raster.read_picture(tmp_path / "short.png")
