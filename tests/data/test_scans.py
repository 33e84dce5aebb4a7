"""CT from the twin to the reduced corpus: the kept slices equal those of a plain loop."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from archives_made import SAMPLES
from headwater.core import registry
from headwater.core.records import Choice
from headwater.data import store
from headwater.data.io.slices import dicom_slices, nifti_slices
from headwater.data.perceptual_hash import LEDGER, every
from headwater.data.reduction import MANIFEST, ROWS
from headwater.data.resizing import fitted
from headwater.data.store import REJECTS
from headwater.stages.prepare import prepare
from headwater.stages.reduce import reduce
from headwater.study.archive import Archive

CT = [name for name in registry.names("twins") if registry.load("datasets", name).CARD.window]
CASES = 96


def prepared(name: str, folder: Path, out: Path, *, workers: int = 0, **settings) -> dict[str, Path]:
    """An archive of CT, prepared."""
    files = {key: out / f"{key}.parquet" for key in ("cases", "rejects", "labels")}
    files |= {"images": out / "images.npy", "hashes": out / "hashes.npy", "split": out / "split.json"}
    said = {"size": 24, "rejects": 0.1} | settings
    prepare(archive=Archive(name="ct", kind=name, folder=str(folder), **said), workers=workers, **files)
    return files


def reduced(files: dict[str, Path], out: Path, **options) -> pd.DataFrame:
    """The manifest of its corpus without what looks alike by hash."""
    given = {key: files[key] for key in ("cases", "images", "hashes")}
    products = {"rows": out / "rows.parquet", "manifest": out / "manifest.parquet"}
    reduce(reduction=Choice(name="hash", options=options), **given, **products)
    manifest = MANIFEST.read(products["manifest"])
    kept = manifest.loc[manifest["kept"], "row"].tolist()
    assert ROWS.read(products["rows"])["row"].tolist() == kept
    return manifest


@pytest.fixture(scope="module", params=CT)
def made(request, tmp_path_factory) -> tuple[str, Path, dict[str, Path]]:
    home = tmp_path_factory.mktemp(request.param)
    registry.load("twins", request.param).make(home / "archive", cases=CASES, seed=1, size=48)
    return request.param, home / "archive", prepared(request.param, home / "archive", home / "prepared")


def difference_hash(hounsfield: np.ndarray) -> int:
    """The study's hash in its own steps: lowest to highest in eight bits, 9 x 8 pixels, brighter than the left one."""
    values = np.maximum(hounsfield.astype(np.float64), -1024)
    shades = np.rint((values - values.min()) / (values.max() - values.min()) * 255).astype(np.uint8)
    small = np.asarray(Image.fromarray(shades).convert("L").resize((9, 8), Image.Resampling.LANCZOS))
    bits = "".join("1" if right > left else "0" for row in small.tolist() for left, right in pairwise(row))
    return int(bits, 2)


def decoded(name: str, folder: Path, cases: pd.DataFrame) -> list[np.ndarray]:
    plugin = registry.load("datasets", name)
    return [plugin.read_pixels(folder, case) for case in cases.to_dict("records")]


def kept_by_hand(cases: pd.DataFrame, words: list[int], *, distance: int) -> list[int]:
    """Greedy leaders as the published code has them: scan by scan, slice by slice from the feet to the head."""
    train = cases[cases["split"] == "train"]
    kept = []
    for _, scan in train.groupby(["patient", "study", "series"]):
        leaders = []
        for row in scan.sort_values("position")["row"].tolist():
            if all((words[row] ^ words[leader]).bit_count() > distance for leader in leaders):
                leaders.append(row)
        kept += leaders
    return kept


def test_slices_are_kept_in_hounsfield_units_in_their_order(made):
    name, folder, files = made
    cases, images = store.CASES.read(files["cases"]), np.load(files["images"], mmap_mode="r")
    rejects = REJECTS.read(files["rejects"])
    assert len(cases) + len(rejects) == CASES
    assert (images.dtype, images.shape) == (np.int16, (len(cases), 1, 24, 24))
    for image, pixels in zip(images, decoded(name, folder, cases), strict=True):
        np.testing.assert_array_equal(image, fitted(pixels, size=24, resize="pad"))
    # air around a body of soft tissue and bone
    assert images[:, 0, 0, [0, -1]].max() < -500
    assert np.percentile(images, 99) > 200
    assert 0 < np.median(images[:, 0, 8:16, 8:16]) < 60 or name in ("lidc", "fdg_petct")
    for _, scan in cases.groupby("series", sort=False):
        assert (np.diff(scan["row"]) == 1).all()
        assert (np.diff(scan["position"]) > 0).all()
    assert cases[["row_spacing", "column_spacing"]].gt(0).all(axis=None)
    assert cases.groupby("patient")["split"].agg(set).map(len).eq(1).all()
    assert cases.groupby("patient")["series"].nunique().max() == (1 if name == "ct_ich" else 2)


def test_hashes_are_those_of_the_published_shades(made):
    name, folder, files = made
    cases = store.CASES.read(files["cases"])
    hashes = store.read_hashes(files["hashes"], cases=cases, table=files["cases"])
    read = decoded(name, folder, cases)
    assert hashes[:, LEDGER].tolist() == [difference_hash(pixels) for pixels in read]
    np.testing.assert_array_equal(hashes, [every(pixels) for pixels in read])


@pytest.mark.parametrize("distance", [3, 6, 12])
def test_a_reduction_keeps_what_a_plain_loop_keeps(made, tmp_path, distance):
    _, _, files = made
    cases = store.CASES.read(files["cases"])
    hashes = store.read_hashes(files["hashes"], cases=cases, table=files["cases"])
    manifest = reduced(files, tmp_path, distance=distance)
    expected = kept_by_hand(cases, hashes[:, LEDGER].tolist(), distance=distance)
    assert manifest.loc[manifest["kept"], "row"].tolist() == expected
    assert 0 < len(expected) < len(manifest)
    assert manifest["position"].notna().all()


def test_other_reductions_read_hounsfield_units(made, tmp_path):
    _, _, files = made
    given = {key: files[key] for key in ("cases", "images", "hashes")}
    for name in ("ssim", "mutual_information"):
        out = {"rows": tmp_path / "rows.parquet", "manifest": tmp_path / f"{name}.parquet"}
        reduce(reduction=Choice(name=name, options={"share": 0.5}), **given, **out)
        manifest = MANIFEST.read(out["manifest"])
        volumes = manifest.groupby(["patient", "volume"])["kept"]
        assert (volumes.sum() == volumes.count().mul(0.5).round().clip(lower=1)).all()


def test_names_of_files_mean_nothing(tmp_path):
    registry.load("twins", "lidc").make(tmp_path / "one", cases=48, seed=1, size=32)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    for series in {file.parent for file in (tmp_path / "other").rglob("*.dcm")}:
        files = sorted(series.glob("*.dcm"))
        for number, file in enumerate(np.random.default_rng(0).permutation(files)):
            file.rename(series / f"again{number:04d}.dcm")
    products = []
    for name in ("one", "other"):
        files = prepared("lidc", tmp_path / name, tmp_path / f"{name} prepared")
        manifest = reduced(files, tmp_path / f"{name} reduced", distance=6).drop(columns=["case", "leader"])
        cases = store.CASES.read(files["cases"]).drop(columns=["case", "file"])
        products.append((cases, manifest, files["images"].read_bytes(), files["hashes"].read_bytes()))
    for table in (0, 1):
        pd.testing.assert_frame_equal(products[0][table], products[1][table])
    assert products[0][2:] == products[1][2:]
    assert 0 < products[0][1]["kept"].mean() < 1


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_files(made, tmp_path):
    name, folder, files = made
    again = prepared(name, folder, tmp_path, workers=3)
    assert all(files[key].read_bytes() == again[key].read_bytes() for key in files)


# real scans

VOLUMES = SAMPLES / "ct_totalsegmentator"


@pytest.mark.skipif(not VOLUMES.is_dir(), reason="the CT of TotalSegmentator are not on this machine")
def test_a_real_volume_lies_from_the_feet_to_the_head_and_its_window_shows_lungs():
    found = list(nifti_slices(VOLUMES / "example_ct_sm.nii.gz"))
    positions = [one.place.position for one in found]
    assert len(found) == 30 and (np.diff(positions) > 0).all()
    assert all(one.pixels.dtype == np.int16 for one in found)
    assert min(one.pixels.min() for one in found) < -900 < 200 < max(one.pixels.max() for one in found)
    near = [(a ^ b).bit_count() for a, b in pairwise(words(found))]
    far = [(a ^ b).bit_count() for a, b in zip(words(found[:15]), words(found[15:]), strict=True)]
    # neighbours look more alike than what lies half a body apart
    assert np.mean(near) < np.mean(far) / 2


def words(found) -> list[int]:
    return [int(every(one.pixels)[LEDGER]) for one in found]


SERIES = SAMPLES / "volumes" / "dicom_ct_ge_tilt_variable_spacing"


@pytest.mark.skipif(not SERIES.is_dir(), reason="the series of odd geometry are not on this machine")
def test_a_real_series_with_a_tilt_and_gaps_gives_all_its_slices():
    files = sorted(SERIES.glob("*.dcm"))
    found = list(dicom_slices(files[::-1]))
    assert all(one.pixels is not None for one in found)
    assert sorted(one.file for one in found) == files
    assert (np.diff([one.place.position for one in found]) > 0).all()
    assert [one.file for one in found] == [one.file for one in dicom_slices(files)]
