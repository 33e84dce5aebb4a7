"""Pictures that are not stored are those that would be, in every use; changed and missing files are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater.core.errors import UserError
from headwater.core.records import Choice
from headwater.data import store
from headwater.data.io.dicom_writing import write_radiograph
from headwater.stages.prepare import prepare
from headwater.stages.pretrain import pretrain
from headwater.stages.reduce import reduce
from headwater.study.archive import Archive
from headwater.study.source import Source

PRODUCTS = ("cases", "images", "hashes", "rejects", "labels", "split")
IN_COLOUR = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Radiographs of many sizes, one a DICOM file, among which one picture is in colour and one is broken."""
    place, rng, names = tmp_path / "pictures", np.random.default_rng(0), [f"{number:02d}.png" for number in range(16)]
    place.mkdir()
    names[3] = "03.dcm"
    for number, name in enumerate(names):
        sides = rng.integers(20, 60, 2)
        if name.endswith(".dcm"):
            write_radiograph(rng.integers(0, 4096, sides).astype(np.uint16), place / name, bits_stored=12)
            continue
        shape = (*sides, 3) if number == IN_COLOUR else sides
        Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)).save(place / name)
    (place / "broken.png").write_bytes((place / "00.png").read_bytes()[:200])
    names.append("broken.png")
    table = pd.DataFrame({"file": names, "patient": range(len(names)), "Mass": np.arange(len(names)) % 2})
    table.to_csv(place / "table.csv", index=False)
    return place


def prepared(folder: Path, place: Path, *, stored: bool) -> dict[str, Path]:
    endings = {"images": "npy", "hashes": "npy", "split": "json"}
    files = {name: place / f"{name}.{endings.get(name, 'parquet')}" for name in PRODUCTS}
    kind = {"name": "own_folder", "table": "table.csv", "patient": "patient", "labels": ["Mass"]}
    archive = Archive(name="mine", kind=kind, folder=str(folder), size=32, stored=stored, rejects=0.2, test=0.3)
    prepare(archive=archive, **files, workers=0)
    return files


@pytest.fixture
def ways(folder: Path, tmp_path: Path) -> dict[bool, dict[str, Path]]:
    return {stored: prepared(folder, tmp_path / str(stored), stored=stored) for stored in (True, False)}


def read(files: dict[str, Path]) -> store.Prepared:
    return store.read(files["cases"], images=files["images"])


def test_all_but_the_pixels_is_the_same_and_of_them_nothing_is_kept(ways: dict[bool, dict[str, Path]]):
    for name in PRODUCTS:
        same = ways[True][name].read_bytes() == ways[False][name].read_bytes()
        assert same == (name != "images"), name
    assert ways[False]["images"].stat().st_size < 3000
    store.check_images(ways[False]["images"], table=ways[False]["cases"])


def test_whatever_is_read_is_what_would_be_stored(ways: dict[bool, dict[str, Path]]):
    stored, decoded = (read(ways[way]).images for way in (True, False))
    assert (decoded.shape, decoded.dtype, len(decoded)) == (stored.shape, stored.dtype, len(stored)) and len(
        stored
    ) == 16
    assert stored.shape[1] == 3
    for rows in (5, slice(2, 9, 3), slice(None), np.array([7, 0, 7]), np.arange(16) % 2 == 0, np.array([], dtype=int)):
        np.testing.assert_array_equal(decoded[rows], stored[rows])
    rows = np.array([5, 0, 5, 8, 1])
    into = np.zeros((5, *stored.shape[1:]), np.uint8)
    decoded.read(rows, into=into)
    np.testing.assert_array_equal(into, stored[rows])


def test_an_archive_in_grey_has_one_channel(folder: Path, tmp_path: Path):
    table = pd.read_csv(folder / "table.csv").drop(IN_COLOUR)
    table.to_csv(folder / "table.csv", index=False)
    stored, decoded = (read(prepared(folder, tmp_path / str(way), stored=way)).images for way in (True, False))
    assert decoded.shape == stored.shape == (15, 1, 32, 32)
    np.testing.assert_array_equal(decoded[:], stored[:])


def test_a_picture_that_was_replaced_is_named_with_its_file_also_after_it_was_seen(
    ways: dict[bool, dict[str, Path]], folder: Path
):
    images = read(ways[False]).images
    images[:]
    Image.fromarray(np.full((30, 30), 7, np.uint8) + np.eye(30, dtype=np.uint8)).save(folder / "02.png")
    with pytest.raises(
        UserError, match=r"pictures/02\.png: image 2 \(.*\) has changed since it was prepared; run snakemake"
    ):
        images[np.array([1, 2])]
    with pytest.raises(UserError, match=r"02\.png"):
        images.read(np.array([2]), into=np.empty((1, *images.shape[1:]), np.uint8))


def test_a_picture_that_is_gone_is_named(ways: dict[bool, dict[str, Path]], folder: Path):
    (folder / "02.png").unlink()
    with pytest.raises(UserError, match=r"02\.png"):
        read(ways[False]).images[2]


@pytest.mark.parametrize("text", ["", "{}", '{"archive": 3}', "pixels"])
def test_a_file_that_does_not_say_how_is_refused(ways: dict[bool, dict[str, Path]], text: str):
    np.save(ways[False]["images"], np.array(text))
    with pytest.raises(
        UserError, match=r"images\.npy: does not say how pictures are decoded; delete it and run prepare"
    ):
        read(ways[False])


def test_a_training_ends_in_the_same_weights(ways: dict[bool, dict[str, Path]], tmp_path: Path):
    def trained(files: dict[str, Path], place: Path) -> bytes:
        place.mkdir()
        training = {"steps": 3, "batch": 4, "optimiser": "sgd", "lr": 0.1}
        method: dict[str, Any] = {"name": "simclr", "dimension": 8, "hidden_dimension": 16}
        source = Source(
            name="mine",
            backbone="timm/test_resnet",
            corpus="mine",
            method=method,
            training=training,
            collapse={"spread": 0},
        )
        rows, given = place / "rows.parquet", {name: files[name] for name in ("cases", "images")}
        everything = {"reduction": Choice(name="everything"), "manifest": place / "manifest.parquet"}
        reduce(**everything, **given, hashes=files["hashes"], rows=rows)
        pretrain(
            source=source, size=[32], **given, rows=rows,
            encoder=place / "encoder.safetensors", history=place / "history", progress=place / "progress.pt",
            threads=1, device="cpu",
        )  # fmt: skip
        return (place / "encoder.safetensors").read_bytes()

    assert trained(ways[False], tmp_path / "decoded") == trained(ways[True], tmp_path / "kept")
