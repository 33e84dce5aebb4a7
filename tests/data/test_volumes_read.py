"""Reading of prepared volumes: patches, shown values, anchors, the way back to the source, and files that changed."""

import numpy as np
import pytest

import volumes_made
from headwater.core.errors import UserError
from headwater.data import volumes
from headwater.data.splits import in_fold
from headwater.data.store import CASES
from headwater.data.tables import SPLITS
from headwater.study.ct_windows import Window
from headwater.study.folds import Fold, Folds
from headwater.study.intensity import Intensity

ZSCORE = Intensity(zscore=True)


def read(made, *, seen=ZSCORE, **given):
    return volumes.read_volumes(**vars(made), seen=seen, patch=(8, 8, 8), **given)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return volumes_made.archive(tmp_path_factory.mktemp("volumes"))


def test_volumes_stand_in_the_place_of_images(made):
    data = read(made)
    assert data.images.shape == (10, 1, 8, 8, 8) and len(data.images) == 10 and data.size == (8, 8, 8)
    assert data.labels == ["front", "back"] and data.images.structures == ("front", "back")
    assert data.targets(data.rows("train"), ["back"]).all()


def test_the_test_split_of_volumes_may_be_a_fold(made):
    fold = Fold(folds=Folds(folds=2, validation=0.4), number=1)
    cases, data = in_fold(CASES.read(made.cases), fold), read(made, fold=fold)
    for split in SPLITS:
        assert data.rows(split).tolist() == np.flatnonzero(cases["split"] == split).tolist()
    patients = cases.groupby("split")["patient"].nunique()
    assert patients["test"] == 2 and patients.sum() == 5


def test_a_case_has_its_voxels_mean_and_spread(made):
    data = read(made)
    for row in range(len(data.images)):
        image, mask = data.images.image(row), data.images.mask(row)
        assert (
            image.dtype == np.float32 and image.shape == (1, *data.images.sides(row)) and mask.shape == image[0].shape
        )
        assert abs(image.mean()) < 1e-4 and abs(image.std() - 1) < 1e-4
        assert image[0][mask > 0].mean() > image[0][mask == 0].mean() + 1


@pytest.mark.parametrize("corner", [(0, 0, 0), (3, 5, 2), (-4, -2, 11), (17, 20, -30), (40, 0, 0)])
def test_a_box_is_cut_out_and_filled_up_beyond_the_edges(made, corner):
    data, size = read(made), (8, 12, 16)
    image, mask = data.images.image(1), data.images.mask(1)
    margins = [(40, 40)] * 3
    expected = np.pad(image[0], margins, constant_values=image.min())
    place = tuple(slice(40 + first, 40 + first + side) for first, side in zip(corner, size, strict=True))
    np.testing.assert_array_equal(data.images.image(1, corner, size)[0], expected[place])
    np.testing.assert_array_equal(data.images.mask(1, corner, size), np.pad(mask, margins)[place])


def test_values_are_shown_by_window_and_by_percentiles(made):
    stored = np.load(made.images)[: int(read(made).images.sides(0).prod())]
    windowed = read(made, seen=Window(centre=100, width=80)).images.image(0)
    np.testing.assert_allclose(windowed.ravel(), np.clip((stored - 60) / 80, 0, 1), atol=1e-6)
    for pair in ((0.5, 99.5), (10.0, 90.0)):
        low, high = np.percentile(stored, pair)
        shown = read(made, seen=Intensity(percentiles=pair)).images.image(0)
        np.testing.assert_allclose(shown.ravel(), np.clip((stored - low) / (high - low), 0, 1), atol=0.02)


def test_percentiles_leave_the_background_out():
    stored = np.concatenate([np.full(1000, -5), np.arange(101)]).astype(np.int16)
    assert volumes.percentiles(stored, (0, 50, 100)).tolist() == [0, 50, 100]
    assert volumes.percentiles(np.full(9, 7, np.int16), (0.5, 99.5)).tolist() == [7, 7]
    extremes = np.array([-32768, -32767, 32767], np.int16)
    assert volumes.percentiles(extremes, (0, 100)).tolist() == [-32767, 32767]


def test_anchors_lie_in_their_structure_and_are_minus_one_where_it_is_absent(tmp_path):
    mask = np.zeros((9, 9, 9), np.uint8)
    mask[2:6, 3, 1:8] = 2
    made = volumes_made.written(tmp_path, images=[mask.astype(np.int16)], masks=[mask])
    absent, present = read(made).images.anchors(0)
    assert (absent == -1).all() and present.dtype == np.int32
    assert (mask[tuple(present.T)] == 2).all() and len(np.unique(present, axis=0)) == (mask == 2).sum()


def test_on_its_own_grid_a_prediction_goes_back_as_it_is(made):
    data = read(made)
    values = np.random.default_rng(0).normal(size=(3, *data.images.sides(2))).astype(np.float32)
    np.testing.assert_array_equal(data.images.to_source(2, values), values)
    np.testing.assert_array_equal(data.images.reference(2), data.images.mask(2))
    assert data.images.source_spacing(2).tolist() == [1, 1, 1] and data.images.affine(2).shape == (4, 4)


@pytest.mark.parametrize("name", ["images", "masks", "references"])
def test_a_changed_voxel_is_refused_when_its_case_is_read(tmp_path, name):
    made = volumes_made.archive(tmp_path, cases=3)
    path = getattr(made, name)
    values = np.load(path)
    values[len(values) // 2] += 1
    np.save(path, values)
    data = read(made).images
    reading = {"images": data.image, "masks": data.mask, "references": data.reference}[name]
    reading(0), reading(2)
    with pytest.raises(UserError, match=f"{name}.npy: volume 1 has changed since it was prepared"):
        reading(1)


def test_files_that_do_not_belong_together_are_refused(made, tmp_path):
    other = volumes_made.archive(tmp_path, cases=4)
    with pytest.raises(UserError, match="as the table of cases says"):
        read(volumes_made.Made(cases=made.cases, images=other.images, masks=other.masks, references=other.references))
    CASES.write(CASES.read(made.cases).drop(columns="kept_x"), tmp_path / "pictures.parquet")
    with pytest.raises(UserError, match="not of volumes"):
        read(volumes_made.Made(tmp_path / "pictures.parquet", made.images, made.masks, made.references))


def test_pages_are_given_back(made, monkeypatch):
    monkeypatch.setattr(volumes, "HELD", 1000)
    data = read(made).images
    before = data.image(0, (1, 1, 1), (8, 8, 8))
    for row in range(len(data)):
        data.mask(row), data.image(row)
    np.testing.assert_array_equal(data.image(0, (1, 1, 1), (8, 8, 8)), before)
