"""PNG, JPEG, TIFF and PGM as people have them: turned, in few bits of 16, blank, linked, and on a disk that fails."""

import errno
import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from archives_made import SAMPLES, make_padchest, picture, write_dicom
from headwater.core.errors import DiskError, UserError
from headwater.data import index, integrity, preparation
from headwater.data.datasets import own_folder, padchest
from headwater.data.io.raster import bits_of, read_picture
from headwater.data.tables import TARGET
from headwater.study.archive import Archive
from odd_pictures_made import packed_12_bits, write_tiff, write_wide_png

FAULTS = SAMPLES / "faults"
faults = pytest.mark.skipif(not FAULTS.is_dir(), reason="the files with faults are not on this machine")

ORIENTATION = 274
GREY = picture(1, shape=(40, 64))
TIFF = ("TIFF",)


def upright(stored, orientation):
    """Turned by Pillow's own means, which read_picture does not use."""
    marked = Image.fromarray(stored)
    marked.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(marked))


class TestPortableGreymaps:
    """Netpbm: the header states the highest value, of eight bits or of sixteen, the most significant byte first."""

    @pytest.mark.parametrize("highest", [255, 1023, 4095, 16383, 65535])
    @pytest.mark.parametrize("brightness", [1.0, 0.05])
    def test_the_highest_value_that_is_stated_is_white(self, tmp_path, highest, brightness):
        values = np.linspace(0, highest * brightness, 12).round().reshape(3, 4).astype(int)
        values[-1, -1] = highest if highest == 65535 else values[-1, -1]
        path = tmp_path / "x.pgm"
        path.write_bytes(
            b"P5\n# a remark\n4 3\n%d\n" % highest + values.astype("u1" if highest < 256 else ">u2").tobytes()
        )
        np.testing.assert_allclose(read_picture(path, formats=("PPM",)), values / highest * 255, atol=0.51)
        np.testing.assert_array_equal(
            own_folder.read_pixels(tmp_path, {"file": "x.pgm"}), read_picture(path, formats=("PPM",))
        )

    def test_one_that_is_cut_off_is_refused(self, tmp_path):
        path = tmp_path / "x.pgm"
        path.write_bytes(b"P5\n4 3\n4095\n" + bytes(20))
        with pytest.raises(UserError, match="no whole"):
            read_picture(path, formats=("PPM",))


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("name", ["x.png", "x.jpg"])
    @pytest.mark.parametrize("shape", [(40, 64), (40, 64, 3)])
    def test_exif(self, tmp_path, orientation, name, shape):
        Image.fromarray(picture(1, shape=shape)).save(tmp_path / "plain.png")
        stored, exif = Image.open(tmp_path / "plain.png"), Image.Exif()
        exif[ORIENTATION] = orientation
        stored.save(tmp_path / name, exif=exif, quality=95)
        stored.save(tmp_path / f"as_stored_{name}", quality=95)
        as_stored = read_picture(tmp_path / f"as_stored_{name}")
        np.testing.assert_array_equal(read_picture(tmp_path / name), upright(as_stored, orientation))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
    @pytest.mark.parametrize("kind", ["grey", "colour", "wide", "one bit"])
    def test_tiff(self, tmp_path, orientation, compression, kind):
        pixels = {"colour": picture(1, shape=(40, 64, 3)), "wide": GREY.astype(np.uint16) * 257}.get(kind, GREY)
        stored = Image.fromarray(pixels).convert("1") if kind == "one bit" else Image.fromarray(pixels)
        path = tmp_path / "x.tif"
        stored.save(path, compression=compression, tiffinfo={ORIENTATION: orientation})
        expected = {"wide": GREY, "one bit": np.asarray(stored.convert("L"))}.get(kind, pixels)
        np.testing.assert_array_equal(read_picture(path, formats=TIFF), upright(expected, orientation))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("order", "<>")
    def test_plain_tiff_of_either_byte_order(self, tmp_path, orientation, order):
        wide = GREY.astype(f"{order}u2") * 257
        for bits, strip in ((8, GREY.tobytes()), (16, wide.astype(f"{order}u2").tobytes())):
            path = tmp_path / f"{bits}.tif"
            write_tiff(path, strip, shape=GREY.shape, bits=bits, order=order, orientation=orientation)
            np.testing.assert_array_equal(read_picture(path, formats=TIFF), upright(GREY, orientation))

    def test_a_header_without_sense_leaves_the_picture_as_it_is(self, tmp_path):
        for number, exif in enumerate([b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing", b"Exif\0\0"]):
            Image.fromarray(GREY).save(tmp_path / f"{number}.png", exif=exif)
            np.testing.assert_array_equal(read_picture(tmp_path / f"{number}.png"), GREY)
        exif = Image.Exif()
        exif[ORIENTATION] = 9
        Image.fromarray(GREY).save(tmp_path / "nine.png", exif=exif)
        np.testing.assert_array_equal(read_picture(tmp_path / "nine.png"), GREY)

    @faults
    def test_the_faults(self):
        stored = np.asarray(Image.open(FAULTS / "exif_rotated.jpg"))
        np.testing.assert_array_equal(read_picture(FAULTS / "exif_rotated.jpg"), np.rot90(stored, -1))
        path = FAULTS / "tiff_turned" / "uncompressed_orientation_6.tif"
        with Image.open(path) as opened:
            (offset,), (length,) = opened.tag_v2[273], opened.tag_v2[279]
        stored = np.frombuffer(path.read_bytes()[offset : offset + length], np.uint8).reshape(40, 64)
        np.testing.assert_array_equal(read_picture(path, formats=TIFF), np.rot90(stored, -1))


def ramp(bits, *, most=None):
    """Evenly spaced values (16, 32) from 0 to the highest of these bits, or to `most`."""
    return np.linspace(0, most or 2**bits - 1, 512).round().astype(np.uint16).reshape(16, 32)


SAVED = {"x.png": {}, "x.tif": {}, "lzw.tif": {"compression": "tiff_lzw"}}


class TestBits:
    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    @pytest.mark.parametrize("name", SAVED)
    def test_all_shades_are_there(self, tmp_path, bits, name):
        values, path = ramp(bits), tmp_path / name
        formats = TIFF if name.endswith("tif") else ("PNG",)
        Image.fromarray(values).save(path, **SAVED[name])
        read = read_picture(path, formats=formats)
        np.testing.assert_array_equal(read, np.rint(values / (2**bits - 1) * 255))
        assert len(np.unique(read)) == 256
        np.testing.assert_array_equal(read_picture(path, formats=formats, bits=bits), read)
        assert bits_of(path, formats=formats) == bits

    def test_a_dark_image_stays_dark_where_the_bits_are_told(self, tmp_path):
        values = ramp(12, most=900)
        Image.fromarray(values).save(tmp_path / "x.png")
        assert read_picture(tmp_path / "x.png").max() == round(900 / 1023 * 255)
        assert read_picture(tmp_path / "x.png", bits=12).max() == round(900 / 4095 * 255)
        assert read_picture(tmp_path / "x.png", bits=16).max() == round(900 / 65535 * 255)

    def test_values_beyond_the_bits_that_are_told_are_refused(self, tmp_path):
        Image.fromarray(ramp(14)).save(tmp_path / "x.png")
        with pytest.raises(UserError, match=r"x\.png: has values above 4095, which do not fit the 12 bits"):
            read_picture(tmp_path / "x.png", bits=12)

    def test_padchest_fills_16_bits(self, tmp_path):
        Image.fromarray(ramp(12)).save(tmp_path / "x.png")
        read = padchest.read_pixels(tmp_path, {"file": "x.png"})
        np.testing.assert_array_equal(read, np.round(ramp(12) / 257).astype(np.uint8))

    def test_tiff_of_12_packed_bits_says_so(self, tmp_path):
        values = ramp(12, most=900)
        path = write_tiff(tmp_path / "x.tif", packed_12_bits(values), shape=values.shape, bits=12)
        np.testing.assert_array_equal(read_picture(path, formats=TIFF), np.rint(values / 4095 * 255))

    @pytest.mark.parametrize("bits", [12, 16])
    def test_tiff_in_which_white_is_zero(self, tmp_path, bits):
        values = ramp(bits)
        path = write_tiff(tmp_path / "x.tif", values.tobytes(), shape=values.shape, bits=16, photometric=0)
        np.testing.assert_array_equal(read_picture(path, formats=TIFF), np.rint(255 - values / (2**bits - 1) * 255))

    @pytest.mark.parametrize("channels", [2, 3, 4])
    def test_colour_in_few_bits_of_16_is_refused_and_in_all_is_read(self, tmp_path, channels):
        for bits in (10, 12, 14):
            path = write_wide_png(tmp_path / f"{bits}.png", np.stack([ramp(bits)] * channels, axis=-1))
            with pytest.raises(UserError, match=rf"{bits}\.png: is in 16-bit colour but its values fit 14 bits; save"):
                read_picture(path)
        path = write_wide_png(tmp_path / "16.png", np.stack([ramp(16)] * channels, axis=-1))
        np.testing.assert_array_equal(read_picture(path), ramp(16) >> 8)

    @faults
    def test_the_fault(self):
        read = read_picture(FAULTS / "twelve_bits_in_16.png")
        values = np.asarray(Image.open(FAULTS / "twelve_bits_in_16.png"))
        np.testing.assert_array_equal(read, np.rint(values / 4095 * 255))


def own(folder, files, *, table="cases.csv", **columns):
    """The table of an own folder with these files, each of another patient."""
    rows = {"file": files, "patient": range(len(files)), "Mass": [number % 2 for number in range(len(files))]}
    pd.DataFrame({**rows, **columns}).to_csv(folder / table, index=False)
    return folder


def doctored(folder, **options):
    """What the doctor finds of images, by severity, and whether it names a file."""
    chosen = own_folder.Options(**options)
    found = integrity.examine("own_folder", folder, options=chosen, workers=0)
    return [(finding.severity, finding.what, finding.remedy) for finding in found.findings if "image" in finding.what]


def prepared(folder, tmp_path, *, workers=0, **options):
    """The prepared cases and the rejects of an own folder."""
    archive = Archive(name="mine", kind={"name": "own_folder", **options}, folder=str(folder), size=32)
    rows = index.read(archive).assign(split="train")
    cases, _, rejects = preparation.read_all(rows, archive=archive, workers=workers, images=tmp_path / "images.npy")
    return cases, rejects


class TestBitsOfAnArchive:
    def test_the_doctor_tells_one_range_and_warns_of_several(self, tmp_path):
        for name, bits in (("a", 12), ("b", 12), ("c", 10), ("d", 16)):
            Image.fromarray(ramp(bits)[:, :: 1 if name == "b" else -1]).save(tmp_path / f"{name}.png")
        own(tmp_path, ["a.png", "b.png"])
        what = "grey images in 16 bits whose values fill 12 bits, and are shown by that range: 2"
        assert ("note", what, "set 12 by kind: {bits: ...}, so that none is guessed") in doctored(tmp_path)
        assert not [what for _, what, _ in doctored(tmp_path, bits=12) if "16 bits" in what]
        own(tmp_path, ["a.png", "b.png", "c.png"])
        ((severity, what, remedy),) = [said for said in doctored(tmp_path) if "16 bits" in said[1]]
        assert (severity, "1 fill 10, 2 fill 12" in what) == ("warning", True)
        assert "bits: ..." in remedy
        ((severity, what, _),) = [said for said in doctored(tmp_path, bits=16) if "16 bits" in said[1]]
        assert (severity, "read as 16 bits but fill only 12: 3" in what) == ("warning", True)
        own(tmp_path, ["d.png"])
        assert not [what for _, what, _ in doctored(tmp_path) if "16 bits" in what]

    def test_prepare_and_doctor_go_by_the_option(self, tmp_path):
        Image.fromarray(ramp(12, most=900)).save(tmp_path / "a.png")
        Image.fromarray(ramp(14)).save(tmp_path / "b.png")
        own(tmp_path, ["a.png", "b.png"])
        cases, rejects = prepared(tmp_path, tmp_path)
        assert (len(cases), len(rejects)) == (2, 0)
        assert np.load(tmp_path / "images.npy")[0].max() == round(900 / 1023 * 255)
        cases, rejects = prepared(tmp_path, tmp_path, bits=12)
        assert rejects["case"].tolist() == ["b.png"]
        assert np.load(tmp_path / "images.npy")[0].max() == round(900 / 4095 * 255)
        assert any("do not fit the 12 bits" in what for _, what, _ in doctored(tmp_path, bits=12))


class TestBlank:
    @pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "wide.png", "colour.png", "x.dcm"])
    def test_a_picture_of_one_value_is_rejected_and_found(self, tmp_path, name):
        flat = np.full((32, 32), 77, np.uint8)
        flat = {"wide.png": flat.astype(np.uint16), "colour.png": np.dstack([flat, flat + 1, flat])}.get(name, flat)
        write_dicom(tmp_path / name, flat) if name == "x.dcm" else Image.fromarray(flat).save(tmp_path / name)
        Image.fromarray(GREY).save(tmp_path / "good.png")
        own(tmp_path, [name, "good.png"])
        cases, rejects = prepared(tmp_path, tmp_path)
        assert cases["case"].tolist() == ["good.png"]
        assert rejects["reason"].tolist() == [f"{name}: shows nothing, one value throughout"]
        what = "images of the sample that have one grey value throughout: 1 of 2"
        assert ("warning", what, "look at them: prepare rejects them, as they show nothing") in doctored(tmp_path)

    @pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
    def test_a_picture_in_the_transparency_alone_is_refused(self, tmp_path, mode):
        clear = Image.fromarray(np.zeros_like(GREY)).convert("LA" if mode == "LA" else "RGBA")
        clear.putalpha(Image.fromarray(GREY))
        (clear.quantize(method=Image.Quantize.FASTOCTREE) if mode == "P" else clear).save(tmp_path / "x.png")
        with pytest.raises(UserError, match=r"x\.png: holds its picture in the transparency alone; save it as grey"):
            read_picture(tmp_path / "x.png")

    @pytest.mark.parametrize("mode", ["LA", "RGBA"])
    def test_transparency_over_a_picture_is_dropped(self, tmp_path, mode):
        seen = Image.fromarray(GREY).convert(mode)
        seen.putalpha(Image.fromarray(GREY[::-1].copy()))
        seen.save(tmp_path / "x.png")
        np.testing.assert_array_equal(read_picture(tmp_path / "x.png"), GREY)

    @faults
    def test_the_fault(self):
        with pytest.raises(UserError, match=r"alpha_only\.png: holds its picture in the transparency alone"):
            read_picture(FAULTS / "alpha_only.png")


class TestFolders:
    def test_linked_folders_are_followed_and_loops_end(self, tmp_path):
        folder = make_padchest(tmp_path / "archive", ["['normal']"] * 4)
        options = padchest.Options()
        files = padchest.read_cases(folder, options)["file"].tolist()
        places = {(folder / file).parent for file in files}
        for number, place in enumerate(sorted(places)):
            place.rename(tmp_path / f"elsewhere{number}")
            place.symlink_to(tmp_path / f"elsewhere{number}", target_is_directory=True)
            (tmp_path / f"elsewhere{number}" / "loop").symlink_to(folder, target_is_directory=True)
            (tmp_path / f"elsewhere{number}" / "itself").symlink_to(".", target_is_directory=True)
        assert padchest.read_cases(folder, options)["file"].tolist() == files
        found = integrity.examine("padchest", folder, options=options, workers=0)
        assert not [finding.what for finding in found.findings if "on the disk" in finding.what]

    def test_a_folder_under_two_names_is_read_by_both(self, tmp_path):
        (tmp_path / "real").mkdir()
        for name in ("a.png", "b.png"):
            Image.fromarray(picture(len(name))).save(tmp_path / "real" / name)
        (tmp_path / "link").symlink_to("real", target_is_directory=True)
        own(tmp_path, ["link/a.png", "real/b.png"])
        assert len(prepared(tmp_path, tmp_path)[0]) == 2
        assert not [what for _, what, _ in doctored(tmp_path) if "not on the disk" in what]
        assert not [what for _, what, _ in doctored(tmp_path) if "no table lists" in what]

    def test_endings_in_capitals(self, tmp_path):
        folder = make_padchest(tmp_path / "archive", ["['normal']"] * 2)
        table = next(folder.glob("PADCHEST*"))
        first, second = padchest.read_cases(folder, padchest.Options())["file"]
        in_capitals = first.replace(".png", ".PNG")
        (folder / first).rename(folder / in_capitals)
        for listed in (first, in_capitals):
            table.write_text(table.read_text().replace(Path(first).name, Path(listed).name))
            assert padchest.read_cases(folder, padchest.Options())["file"].tolist() == [in_capitals, second]
        if not (folder / first).exists():
            Image.fromarray(GREY).save(folder / first)
            table.write_text(table.read_text().replace(Path(in_capitals).name, Path(first).name))
            assert padchest.read_cases(folder, padchest.Options())["file"].tolist() == [first, second]
        write_dicom(tmp_path / "X.DCM", GREY)
        Image.fromarray(GREY).save(tmp_path / "Y.TIFF")
        assert own_folder.read_pixels(tmp_path, {"file": "X.DCM"}).shape == GREY.shape
        np.testing.assert_array_equal(own_folder.read_pixels(tmp_path, {"file": "Y.TIFF"}), GREY)

    def test_names_in_either_form_of_unicode(self, tmp_path):
        composed, taken_apart = (unicodedata.normalize(form, "Rücken/Müller.png") for form in ("NFC", "NFD"))
        for listed, on_disk in ((composed, taken_apart), (taken_apart, composed)):
            folder = tmp_path / f"{len(listed)}"
            (folder / on_disk).parent.mkdir(parents=True)
            Image.fromarray(GREY).save(folder / on_disk)
            if (folder / listed).exists():
                pytest.skip("this file system does not tell the two forms apart")
            own(folder, [listed])
            cases, rejects = prepared(folder, tmp_path)
            assert (cases["case"].tolist(), cases["file"].tolist(), len(rejects)) == ([listed], [on_disk], 0)
            assert not [what for _, what, _ in doctored(folder) if "disk" in what]
            own(folder, [listed, on_disk])
            with pytest.raises(UserError, match="is listed more than once"):
                prepared(folder, tmp_path)
            # beside a file of the listed form, that one is meant
            Image.fromarray(GREY[::-1].copy()).save((folder / on_disk).parent / Path(listed).name)
            assert len(prepared(own(folder, [on_disk]), tmp_path)[0]) == 1

    def test_names_that_differ_in_capitals_alone_are_two(self, tmp_path):
        Image.fromarray(GREY).save(tmp_path / "a.png")
        Image.fromarray(GREY[::-1].copy()).save(tmp_path / "A.png")
        if len(list(tmp_path.glob("*.png"))) < 2:
            pytest.skip("this file system does not tell capitals apart")
        cases, _ = prepared(own(tmp_path, ["a.png", "A.png"]), tmp_path)
        assert cases["case"].tolist() == ["a.png", "A.png"]
        first, second = np.load(tmp_path / "images.npy")
        assert not np.array_equal(first, second)


class TestWordsThatMeanNothingToOthers:
    @pytest.mark.parametrize("word", ["NaN", "nan", "NA", "None", "null", "False", "N/A"])
    def test_they_are_names_like_any(self, tmp_path, word):
        (tmp_path / word).mkdir(parents=True)
        for name in (f"{word}/{word}.png", "b.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            Image.fromarray(picture(len(name))).save(tmp_path / name)
        frame = {"file": [f"{word}/{word}.png", "b.png"], "patient": ["1", "2"], "site": [word, ""], word: ["1", "0"]}
        pd.DataFrame(frame).to_csv(tmp_path / "cases.csv", index=False)
        assert own_folder.labels(tmp_path, own_folder.Options()) == (word,)
        cases, _ = prepared(tmp_path, tmp_path)
        assert cases["site"].tolist() == [word, ""]
        assert cases[f"{TARGET}{word}"].tolist() == [1, 0]
        pd.DataFrame({**frame, "kind": [word, "other"]}).to_csv(tmp_path / "cases.csv", index=False)
        assert own_folder.labels(tmp_path, own_folder.Options(classes="kind")) == tuple(sorted([word, "other"]))

    @pytest.mark.parametrize("word", ["NaN", "NA", "None", "False", "-1"])
    def test_as_a_value_of_a_label_they_are_refused(self, tmp_path, word):
        Image.fromarray(GREY).save(tmp_path / "a.png")
        own(tmp_path, ["a.png"], Mass=[word])
        with pytest.raises(UserError, match=rf"line 2, column 'Mass': '{word}'; use 1, 0 or nothing"):
            prepared(tmp_path, tmp_path)


@faults
def test_the_doctor_counts_by_the_table_that_is_named():
    found = integrity.examine(
        "own_folder", FAULTS / "doctor_two_tables", options=own_folder.Options(table="few.csv"), workers=0
    )
    assert "Images       10 on the disk, 3 listed" in found.seen
    assert ("warning", "images on the disk that no table lists: 7") in [(f.severity, f.what) for f in found.findings]


ERRORS = [
    (errno.EACCES, "check the permissions"),
    (errno.EPERM, "check the permissions"),
    (errno.EIO, "check the disk or the network share"),
    (errno.ESTALE, "check the disk or the network share"),
    (errno.ENOSPC, "free some space"),
    (errno.ENOTCONN, "check the disk or the network share"),
]


class TestDiskThatFails:
    @pytest.fixture
    def failing(self, tmp_path, monkeypatch):
        """An own folder in which opening bad.* fails with a given error."""
        Image.fromarray(GREY).save(tmp_path / "good.png")
        opened = Path.open

        def make(name, number):
            if name.endswith(".dcm"):
                write_dicom(tmp_path / name, GREY)
            else:
                Image.fromarray(GREY).save(tmp_path / name)
            own(tmp_path, ["good.png", name])

            def fail(path, *arguments, **keywords):
                if path.name == name:
                    raise OSError(number, os.strerror(number), str(path))
                return opened(path, *arguments, **keywords)

            monkeypatch.setattr(Path, "open", fail)
            return tmp_path

        return make

    @pytest.mark.parametrize(("number", "remedy"), ERRORS)
    @pytest.mark.parametrize("name", ["bad.png", "bad.tif", "bad.dcm"])
    def test_it_stops_the_work_and_the_doctor_says_so(self, failing, tmp_path, number, remedy, name):
        folder = failing(name, number)
        with pytest.raises(DiskError) as stopped:
            prepared(folder, tmp_path)
        line = str(stopped.value)
        assert line.startswith(f"{folder / name}: cannot be read: {os.strerror(number)}; {remedy}")
        assert "\n" not in line
        ((severity, what, told),) = [said for said in doctored(folder) if "cannot be used" in said[1]]
        assert (severity, told.startswith("prepare stops at them")) == ("error", True)
        assert os.strerror(number) in what
        assert name not in what

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="nothing here fails to be read by itself")
    @pytest.mark.parametrize("name", ["bad.png", "bad.tif", "bad.dcm"])
    def test_from_a_worker_process(self, tmp_path, name):
        # its first page is not mapped, so that reading it is an error of the system, for everyone
        (tmp_path / name).symlink_to("/proc/self/mem")
        Image.fromarray(GREY).save(tmp_path / "good.png")
        own(tmp_path, ["good.png", name])
        with pytest.raises(DiskError, match=rf"{name}: cannot be read: Input/output error; check the disk"):
            prepared(tmp_path, tmp_path, workers=1)
        assert any("(cannot be read: Input/output error)" in what for _, what, _ in doctored(tmp_path))

    @pytest.mark.parametrize("name", ["bad.png", "bad.dcm"])
    def test_an_absent_file_is_a_reject_as_before(self, failing, tmp_path, name):
        cases, rejects = prepared(failing(name, errno.ENOENT), tmp_path)
        assert cases["case"].tolist() == ["good.png"]
        assert "is not there" in rejects["reason"][0]

    def test_a_folder_that_may_not_be_listed_does_not_shrink_an_archive(self, tmp_path, monkeypatch):
        folder = make_padchest(tmp_path / "archive", ["['normal']"] * 2)
        scan = os.scandir

        def fail(place):
            if Path(place) == folder:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
            return scan(place)

        monkeypatch.setattr(os, "scandir", fail)
        with pytest.raises(DiskError, match="cannot be read: Permission denied; check the permissions"):
            padchest.read_cases(folder, padchest.Options())
