"""PNG, TIFF and PGM with fewer bytes than their pixels need, or with damaged ones, are refused; whole ones are read."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from archives_made import picture
from headwater.core.errors import UserError
from headwater.data.io.raster import read_picture
from odd_pictures_made import write_tiff

GREY = picture(1, shape=(64, 80))
ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)
PNG, TIFF, PPM = ("PNG",), ("TIFF",), ("PPM",)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(stream, *, parts=1, between=b""):
    """A grey PNG of 8 bits whose zlib stream is divided into chunks."""
    step = max(1, -(-len(stream) // parts))
    data = between.join(chunk(b"IDAT", stream[start : start + step]) for start in range(0, len(stream), step))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", GREY.shape[1], GREY.shape[0], 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def refused(path, formats, why):
    with pytest.raises(UserError, match=rf"{path.name}: is no whole {formats[0]}: {why}.*; fetch it again$"):
        read_picture(path, formats=formats)


class TestPng:
    @pytest.mark.parametrize("parts", [1, 2, 7, len(zlib.compress(ROWS))])
    @pytest.mark.parametrize("between", [b"", chunk(b"IDAT", b"")])
    def test_whole_ones_are_read_however_they_are_divided(self, tmp_path, parts, between):
        for rows in (ROWS, ROWS + bytes(GREY.shape[1] + 1)):
            (tmp_path / "x.png").write_bytes(png(zlib.compress(rows), parts=parts, between=between))
            np.testing.assert_array_equal(read_picture(tmp_path / "x.png", formats=PNG), GREY)

    @pytest.mark.parametrize("parts", [1, 2, 7])
    @pytest.mark.parametrize("rows", [0, 1, 32, 63])
    def test_one_with_too_few_rows_whose_stream_ends_well(self, tmp_path, parts, rows):
        (tmp_path / "x.png").write_bytes(png(zlib.compress(ROWS[: rows * (GREY.shape[1] + 1)]), parts=parts))
        refused(tmp_path / "x.png", PNG, "its data end before its last row")

    @pytest.mark.parametrize("length", [0, 2, 500, len(zlib.compress(ROWS)) - 4])
    def test_one_whose_stream_is_cut_off(self, tmp_path, length):
        (tmp_path / "x.png").write_bytes(png(zlib.compress(ROWS)[:length]))
        refused(tmp_path / "x.png", PNG, "")

    @pytest.mark.parametrize("share", [0.3, 0.99])
    def test_one_with_a_flipped_bit(self, tmp_path, share):
        # stored, not deflated: each byte of it is a pixel, and none makes the stream invalid
        content = bytearray(png(zlib.compress(ROWS, 0)))
        content[int((len(content) - 16) * share)] ^= 1
        (tmp_path / "x.png").write_bytes(content)
        refused(tmp_path / "x.png", PNG, "its data do not fit their checksum")

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
    def test_whole_ones_of_all_modes(self, tmp_path, mode):
        stored = Image.fromarray(GREY.astype(np.uint16)) if mode == "I;16" else Image.fromarray(GREY).convert(mode)
        stored.save(tmp_path / "x.png")
        expected = np.asarray(stored.convert("L")) if mode == "1" else GREY
        np.testing.assert_array_equal(read_picture(tmp_path / "x.png", formats=PNG), expected)

    def test_an_orientation_behind_the_pixels_still_counts(self, tmp_path):
        exif = Image.Exif()
        exif[274] = 3
        content = png(zlib.compress(ROWS))
        end = chunk(b"IEND", b"")
        told = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        (tmp_path / "x.png").write_bytes(content.removesuffix(end) + told + end)
        np.testing.assert_array_equal(read_picture(tmp_path / "x.png", formats=PNG), GREY[::-1, ::-1])


class TestTiff:
    @pytest.mark.parametrize("missing", [1, 80, 5000])
    @pytest.mark.parametrize("bits", [8, 16])
    def test_an_uncompressed_one_with_a_short_strip(self, tmp_path, missing, bits):
        strip = GREY.astype(f"u{bits // 8}").tobytes()[:-missing]
        write_tiff(tmp_path / "x.tif", strip, shape=GREY.shape, bits=bits)
        # what follows is no strip, but there are enough bytes of it
        with (tmp_path / "x.tif").open("ab") as file:
            file.write(bytes(10_000))
        refused(tmp_path / "x.tif", TIFF, f"its pixels need {GREY.size * bits // 8} bytes, it has {len(strip)}")

    @pytest.mark.parametrize("rows", [8, 64])
    @pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
    @pytest.mark.parametrize("mode", ["L", "RGB"])
    def test_a_compressed_one_with_a_zeroed_strip(self, tmp_path, rows, compression, mode):
        file = io.BytesIO()
        Image.fromarray(GREY).convert(mode).save(file, "TIFF", compression=compression, tiffinfo={278: rows})
        path = tmp_path / "x.tif"
        path.write_bytes(file.getvalue())
        with Image.open(path) as opened:
            start, length = opened.tag_v2[273][-1], opened.tag_v2[279][-1]
            expected = np.asarray(opened.convert("L"))
        # JPEG rounds the three colours each for itself
        read = read_picture(path, formats=TIFF).reshape(*GREY.shape, -1)[..., 0]
        assert np.abs(read - expected.astype(int)).max() < 9
        zeros = bytes(length - length // 2)
        path.write_bytes(file.getvalue()[: start + length // 2] + zeros + file.getvalue()[start + length :])
        refused(path, TIFF, "")


class TestPgm:
    @pytest.mark.parametrize("header", [b"P5\n80 64\n255\n", b"P5\n80 64\n100\n", b"P5\n80 64\n65535\n"])
    def test_one_with_too_few_bytes(self, tmp_path, header):
        wide = b"65535" in header
        (tmp_path / "x.pgm").write_bytes(header + bytes(GREY.size * (1 + wide) - 1))
        refused(tmp_path / "x.pgm", PPM, "")

    def test_a_pfm_is_refused_by_name(self, tmp_path):
        (tmp_path / "x.pgm").write_bytes(b"Pf\n80 64\n-1.0\n" + GREY.astype("<f4").tobytes())
        with pytest.raises(UserError, match=r"x\.pgm: is a PFM, .* floating-point values, not a PGM; save it as grey"):
            read_picture(tmp_path / "x.pgm", formats=PPM)
