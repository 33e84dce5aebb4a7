"""Volumes from files to flat maps: orientation, intensities, masks, rejects, ceilings, splits; real hippocampi."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archives_made import SAMPLES
from headwater.core.errors import UserError
from headwater.data.datasets import msd as dataset
from headwater.data.io.nifti import read_nifti
from headwater.data.io.nifti_writing import write_volume
from headwater.data.store import CASES, REJECTS
from headwater.data.twins import msd as twins
from headwater.data.volume_preparation import CEILINGS, as_stored
from headwater.data.volumes import PreparedVolumes, read_volumes
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study.archive import Archive
from headwater.study.intensity import Intensity

TABLES = ("cases", "rejects", "labels", "ceilings")
ARRAYS = ("images", "masks", "references", "hashes")


def products(folder: Path) -> dict[str, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.parquet" for name in TABLES} | {name: folder / f"{name}.npy" for name in ARRAYS}
    return files | {"split": folder / "split.json"}


def prepare(folder: Path, place: Path, *, options=None, workers=0, **keys) -> PreparedVolumes:
    kind = {"name": "msd", **(options or {})}
    archive = Archive(name="organ", kind=kind, folder=str(place), size=16, rejects=0.4, **keys)
    files = products(folder)
    prepare_volumes(archive=archive, **files, workers=workers)
    flat = {name: files[name] for name in ("cases", "images", "masks", "references")}
    return read_volumes(**flat, seen=Intensity(zscore=True), patch=archive.patch)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("twins") / "organ"
    twins.make(folder, cases=12, seed=1, size=32)
    # what goes wrong
    (folder / "labelsTr" / "organ_003.nii.gz").unlink()
    (folder / "imagesTr" / "organ_007.nii.gz").unlink()
    (folder / "imagesTr" / "._organ_001.nii.gz").write_bytes(b"left by macOS")
    return folder


@pytest.fixture(scope="module")
def native(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    return folder, prepare(folder, place)


def test_every_volume_and_mask_is_that_of_its_file_turned(place, native):
    _, data = native
    options = dataset.Options()
    for row, case in enumerate(data.cases.to_dict("records")):
        volume = read_nifti(place / case["file"]).turned("RAS")
        mask = dataset.read_mask(place, case, options).turned("RAS").voxels
        values = data.images.image(row)[0] * case["std"] + case["mean"]
        spread = np.ptp(volume.voxels)
        np.testing.assert_allclose(values, volume.voxels, atol=2e-5 * spread)
        np.testing.assert_array_equal(data.images.mask(row), mask)
        np.testing.assert_array_equal(data.images.reference(row), mask)
        np.testing.assert_allclose(data.images.affine(row), volume.affine)


def test_cases_without_a_partner_are_rejected_by_reason(native):
    folder, data = native
    rejects = REJECTS.read(folder / "rejects.parquet").set_index("case")
    assert rejects["kind"].to_dict() == {
        "organ_003": "has an image but no mask",
        "organ_007": "has a mask but no image",
    }
    assert len(data.cases) == 10 and not data.cases["case"].isin(rejects.index).any()


def test_structures_are_labels_in_the_order_of_their_values(native):
    _, data = native
    assert data.images.structures == twins.STRUCTURES == tuple(data.labels)
    present = [[(data.images.mask(row) == value).any() for value in (1, 2)] for row in range(len(data.images))]
    np.testing.assert_array_equal(data.targets(np.arange(len(present)), data.labels), present)


def test_at_native_spacing_the_ceiling_is_one(native):
    ceilings = CEILINGS.read(native[0] / "ceilings.parquet")
    assert set(ceilings["structure"]) == set(twins.STRUCTURES)
    assert (ceilings[["dice_mean", "dice_min"]] == 1).all(axis=None)
    assert ceilings.loc[ceilings["structure"] == "Anterior", "cases"].sum() == 10


def test_at_another_spacing_an_oracle_scores_the_printed_ceiling(place, tmp_path):
    data = prepare(tmp_path, place, spacing=(2.0, 2.0, 1.5))
    told = CEILINGS.read(tmp_path / "ceilings.parquet").set_index(["structure", "split"])
    rows, found = data.rows("test"), {1: [], 2: []}
    for row in rows:
        outline = data.images.mask(row)
        certain = np.stack([outline == value for value in range(3)]).astype(np.float32)
        predicted, reference = data.images.to_source(row, certain).argmax(axis=0), data.images.reference(row)
        assert predicted.shape == reference.shape and data.images.spacing(row).tolist() == [2.0, 2.0, 1.5]
        for value, dice in found.items():
            both = ((predicted == value) & (reference == value)).sum()
            dice.append(2 * both / ((predicted == value).sum() + (reference == value).sum()))
    for value, structure in enumerate(twins.STRUCTURES, start=1):
        assert abs(np.mean(found[value]) - told.loc[(structure, "test"), "dice_mean"]) < 1e-9
        assert 0.8 < np.mean(found[value]) < 0.99


def test_the_same_files_for_any_number_of_workers(place, native, tmp_path):
    prepare(tmp_path, place, workers=2)
    for name in (*TABLES, *ARRAYS, "split"):
        (here,) = tmp_path.glob(f"{name}.*[!v]")
        assert here.read_bytes() == next(native[0].glob(f"{name}.*[!v]")).read_bytes(), name


def test_a_case_may_be_kept_without_a_mask(place, tmp_path):
    data = prepare(tmp_path, place, options={"unlabelled": "kept"})
    (row,) = np.flatnonzero(data.cases["case"] == "organ_003")
    assert np.isnan(data.targets(np.array([row]), data.labels)).all() and not data.images.mask(row).any()


@pytest.mark.parametrize(("spacing", "times"), [("native", 1), ("median", 2)])
def test_a_volume_without_a_mask_is_read_once_unless_spacings_are_compared(
    place, tmp_path, monkeypatch, spacing, times
):
    read, whole = [], dataset.read_volume
    monkeypatch.setattr(dataset, "read_volume", lambda *given: read.append(given[1]["case"]) or whole(*given))
    prepare(tmp_path, place, options={"unlabelled": "kept"}, spacing=spacing)
    assert read.count("organ_003") == times and read.count("organ_001") == 1


def test_the_median_spacing_is_that_of_the_training_split(tmp_path):
    place = tmp_path / "organ"
    twins.make(place, cases=12, seed=2, size=32)
    for file in place.glob("*Tr/*.nii.gz"):
        number = int(file.name[6:9])
        voxels = read_nifti(file).turned("RAS").voxels
        affine = np.diag([1.0, 1.0, 1.0 + number / 10, 1.0])
        write_volume(voxels.astype("u1" if "labels" in str(file) else "f4"), file, affine=affine)
    data = prepare(tmp_path / "made", place, spacing="median")
    own = data.cases["source_spacing_z"][data.cases["split"] == "train"]
    assert np.allclose(data.cases["spacing_z"], np.median(own), rtol=1e-3) and own.nunique() > 3


def test_masks_on_another_grid_or_of_unknown_values_are_rejected(place, tmp_path):
    copy = tmp_path / "organ"
    shutil.copytree(place, copy)
    mask = read_nifti(copy / "labelsTr" / "organ_001.nii.gz")
    write_volume(mask.voxels[1:].T.astype("u1"), copy / "labelsTr" / "organ_001.nii.gz", affine=np.eye(4))
    write_volume(3 * mask.voxels.T.astype("u1"), copy / "labelsTr" / "organ_002.nii.gz", affine=np.eye(4))
    prepare(tmp_path / "made", copy)
    kinds = REJECTS.read(tmp_path / "made" / "rejects.parquet").set_index("case")["kind"]
    assert kinds["organ_001"] == "is on another grid"
    assert kinds["organ_002"] == "has values that stand for no structure"


@pytest.mark.parametrize(
    "values",
    [
        np.arange(0, 1_700_000, 17_000, dtype=np.float32),
        np.linspace(-0.001, 0.002, 100, dtype=np.float32),
        np.arange(-32_768, 32_768, 655, dtype=np.float32),
        np.arange(60_000, 125_000, 655, dtype=np.float32),
    ],
)
def test_intensities_survive_as_whole_numbers(values):
    stored, slope, intercept = as_stored(values.reshape(1, 1, -1), is_hounsfield=False)
    exact = bool((values == np.rint(values)).all()) and np.ptp(values) < 65_536
    assert stored.dtype == np.int16 and (slope == 1) == exact
    assert np.abs(stored.ravel() * slope + intercept - values).max() <= (0 if exact else 0.51 * np.ptp(values) / 65_535)


def test_a_few_bright_voxels_do_not_take_the_levels_of_all_others():
    values = np.random.default_rng(0).normal(1, 0.1, (20, 20, 20)).astype(np.float32)
    values[0, 0, 0] = 1e7
    stored, slope, intercept = as_stored(values, is_hounsfield=False)
    error = np.abs(stored * slope + intercept - values)
    assert error.ravel()[1:].max() < 0.001 and stored[0, 0, 0] == 32_767


def test_an_archive_without_any_readable_volume_says_why(tmp_path):
    place = tmp_path / "organ"
    twins.make(place, cases=8, seed=1, size=32)
    for file in (place / "imagesTr").glob("*"):
        file.write_bytes(b"nothing")
    with pytest.raises(UserError, match="8 of 8 images cannot be read"):
        prepare(tmp_path / "made", place)


HIPPOCAMPUS = SAMPLES / "msd_hippocampus"


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the real samples are not there")
def test_real_hippocampi(tmp_path):
    place = tmp_path / "some"
    for part in ("images", "labels"):
        (place / part).mkdir(parents=True)
        for file in sorted((HIPPOCAMPUS / part).iterdir()):
            if int(file.name[12:15]) < 13 or file.name[12:15] in ("118", "281"):
                (place / part / file.name).symlink_to(file)
    options = {"structures": ["anterior", "posterior"], "images": "images", "labels": "labels"}
    data = prepare(tmp_path / "made", place, options=options)
    rejects = REJECTS.read(tmp_path / "made" / "rejects.parquet").set_index("case")["kind"]
    assert rejects.to_dict() == {
        "hippocampus_010": "has a mask but no image",
        "hippocampus_118": "has an image but no mask",
        "hippocampus_281": "has a mask but no image",
    }
    truth = pd.read_csv(HIPPOCAMPUS / "TRUTH_nifti.csv").set_index("path")
    for row, case in enumerate(CASES.read(tmp_path / "made" / "cases.parquet").to_dict("records")):
        told = truth.loc[case["file"]]
        values = data.images.image(row) * case["std"] + case["mean"]
        assert "x".join(map(str, data.images.sides(row))) == told["shape"]
        assert abs(values.mean() - told["value_mean"]) < 1e-4 * (told["value_max"] - told["value_min"])
