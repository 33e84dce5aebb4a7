"""OrganSMNIST: images equal NumPy's in all four sizes; arrays that do not fit each other are refused."""

import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.data.datasets.organsmnist import CARD, Options, label_files, read_cases, read_pixels
from headwater.data.index import CATALOGUE
from headwater.data.tables import TARGET
from headwater.models.tasks.classification import form

COUNTS = {"train": 13, "val": 11, "test": 12}


def arrays(size=28, **changes):
    draw = np.random.default_rng(size)
    made = {f"{part}_images": draw.integers(0, 256, (count, size, size), np.uint8) for part, count in COUNTS.items()}
    made |= {f"{part}_labels": (np.arange(count)[:, None] % 11).astype(np.uint8) for part, count in COUNTS.items()}
    return made | changes


def archive(folder, size=28, **changes):
    np.savez_compressed(
        folder / ("organsmnist.npz" if size == 28 else f"organsmnist_{size}.npz"), **arrays(size, **changes)
    )
    return folder


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_the_catalogue_and_its_pixels_are_the_arrays(tmp_path, size):
    options = Options(pixels=size)
    cases = CATALOGUE.check(read_cases(archive(tmp_path, size), options))
    assert [file.name for file in label_files(tmp_path, options)] == [cases["file"][0]]
    assert cases["split"].value_counts().to_dict() == {"train": 13, "test": 12, "validation": 11}
    made = arrays(size)
    organs = np.concatenate([made[f"{part}_labels"].ravel() for part in COUNTS])
    assert np.array_equal(cases[[TARGET + label for label in CARD.labels]].to_numpy().argmax(axis=1), organs)
    assert form(cases[[TARGET + label for label in CARD.labels]].to_numpy()) == "multiclass"
    read = [read_pixels(tmp_path, case) for case in cases.to_dict("records")]
    assert np.array_equal(read, np.concatenate([made[f"{part}_images"] for part in COUNTS]))


def test_the_card_tells_that_patients_are_unknown():
    assert len(CARD.labels) == 11 and not CARD.patients
    assert sum(CARD.expected[split] for split in ("train", "validation", "test")) == CARD.expected["cases"]


def test_cut_outs_in_colour_are_read(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (13, 28, 28, 3), np.uint8)
    cases = read_cases(archive(tmp_path, train_images=colours), Options())
    assert np.array_equal(read_pixels(tmp_path, cases.iloc[4]), colours[4])
    grey = np.repeat(colours[..., :1], 3, axis=3)
    archive(tmp_path, train_images=grey)
    assert np.array_equal(read_pixels(tmp_path, cases.iloc[4]), colours[4, ..., 0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val_labels": np.zeros((3, 1), np.uint8)}, "has 11 images and 3 labels in validation"),
        (
            {"test_labels": np.full((12, 1), 11, np.uint8)},
            r"names no class in row 0 \(12 such rows\); classes are numbers from 0 to 10",
        ),
        ({"train_images": np.zeros((13, 28, 28))}, r"is float64 \(13, 28, 28\), not uint8"),
        ({"train_images": np.zeros((13, 28), np.uint8)}, r"is uint8 \(13, 28\), not uint8 \(images, height, width\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        read_cases(archive(tmp_path, **changes), Options())


def test_absent_sizes_and_strange_cases_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"organsmnist_64\.npz: is not there; .* the option `pixels`"):
        read_cases(archive(tmp_path), Options(pixels=64))
    for name in ("train", "train-x", "other-00001"):
        with pytest.raises(UserError, match="is not an image of an array"):
            read_pixels(tmp_path, {"case": name, "file": "organsmnist.npz"})
