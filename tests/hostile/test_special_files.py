"""Pipes, sockets and devices named like files of an archive are refused by name; nothing waits for them."""

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import picture, write_dicom
from headwater.core.errors import UserError
from headwater.data import index, integrity, preparation
from headwater.data.datasets import msd, own_folder
from headwater.data.io.arrays import Stack
from headwater.data.io.decoding import opened
from headwater.data.io.forms import Form, form_of
from headwater.data.io.nifti import read_header
from headwater.data.io.raster import read_picture
from headwater.data.io.series import sort_folder
from headwater.data.io.sheets import first_there, read_lines, read_sheet
from headwater.data.io.slices import read_words
from headwater.study.archive import Archive

WHAT = "is a pipe, a socket or a device, not a file"
SECONDS = 20
"""After which a test that waits for a pipe fails."""


@pytest.fixture(autouse=True)
def impatient():
    def fail(*_):
        raise AssertionError("it waits for a pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path):
    os.mkfifo(path)


def bound(path: Path):
    # a socket's path may have 108 bytes at most
    there = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{there}/{path.name}")
    os.close(there)


def device(path: Path):
    path.symlink_to("/dev/zero")


READERS = {
    "x.png": read_picture,
    "x.tif": lambda path: read_picture(path, formats=("TIFF",)),
    "x.dcm": opened,
    "y.dcm": lambda path: read_words(path, ["PatientSex"]),
    "x.nii.gz": read_header,
    "x.csv": lambda path: read_sheet(path, columns={}),
    "y.csv": lambda path: first_there(path.parent, names=["absent.csv", path.name], remedy=""),
    "x.csv.gz": lambda path: read_sheet(path, columns={}),
    "x.txt": read_lines,
    "x.npz": lambda path: Stack(path, "train_images"),
    "dataset.json": lambda path: msd.label_files(path.parent, msd.Options()),
}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no short names for sockets here")
@pytest.mark.parametrize("special", [pipe, bound, device])
@pytest.mark.parametrize("name", READERS)
def test_no_reader_opens_it(tmp_path, special, name):
    special(tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: {WHAT}; put the file there") as refused:
        READERS[name](tmp_path / name)
    assert refused.value.kind == WHAT
    assert form_of(tmp_path / name) == Form()


@pytest.mark.parametrize("name", ["x.png", "x.dcm"])
def test_prepare_rejects_an_image_and_the_doctor_tells_why(tmp_path, name):
    os.mkfifo(tmp_path / name)
    Image.fromarray(picture(1)).save(tmp_path / "good.png")
    rows = {"file": ["good.png", name], "patient": [1, 2], "Mass": [0, 1]}
    pd.DataFrame(rows).to_csv(tmp_path / "cases.csv", index=False)
    archive = Archive(name="mine", kind={"name": "own_folder"}, folder=str(tmp_path), size=32)
    listed = index.read(archive).assign(split="train")
    cases, _, rejects = preparation.read_all(listed, archive=archive, workers=0, images=tmp_path / "images.npy")
    assert cases["case"].tolist() == ["good.png"]
    (reason,) = rejects["reason"]
    assert reason.endswith(f"{name}: {WHAT}; put the file there, or take it off the list")
    found = integrity.examine("own_folder", tmp_path, options=own_folder.Options(), workers=0)
    assert any(WHAT in finding.what for finding in found.findings)


def test_a_table_stops_both(tmp_path):
    os.mkfifo(tmp_path / "cases.csv")
    with pytest.raises(UserError, match=rf"cases\.csv: {WHAT}"):
        index.read(Archive(name="mine", kind={"name": "own_folder"}, folder=str(tmp_path), size=32))
    found = integrity.examine("own_folder", tmp_path, options=own_folder.Options(), workers=0)
    assert any(WHAT in finding.what for finding in found.findings)


@pytest.mark.parametrize("folder", ["imagesTr", "labelsTr"])
def test_a_volume_and_a_mask_are_named(tmp_path, folder):
    options = msd.Options(structures=("organ",))
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
    os.mkfifo(tmp_path / folder / "a.nii.gz")
    case = msd.read_cases(tmp_path, options).to_dict("records")[0]
    read = msd.read_volume if folder == "imagesTr" else msd.read_mask
    with pytest.raises(UserError, match=rf"{folder}/a\.nii\.gz: {WHAT}"):
        read(tmp_path, case, options)


def test_a_folder_of_slices_tells_of_it(tmp_path):
    os.mkfifo(tmp_path / "x.dcm")
    write_dicom(tmp_path / "y.dcm", np.arange(64, dtype=np.uint8).reshape(8, 8))
    aside = {item.file.name: item for item in sort_folder(tmp_path).set_aside}
    assert (aside["x.dcm"].kind, WHAT in aside["x.dcm"].reason) == ("unreadable", True)
