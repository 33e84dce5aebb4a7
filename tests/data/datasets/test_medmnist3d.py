"""MedMNIST3D: cubes equal NumPy's for each flag and size, taken as stored; arrays that do not fit are refused."""

import numpy as np
import pytest

from headwater.core.errors import UserError
from headwater.core.page import as_text
from headwater.core.records import Choice
from headwater.data import cards, integrity
from headwater.data.datasets.medmnist3d import FLAGS, Options, card, label_files, labels, read_cases, read_volume
from headwater.data.index import CATALOGUE
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import TARGET
from headwater.data.twins import medmnist3d as twins
from headwater.models.tasks.classification import form
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study.archive import Archive

COUNTS = {"train": 5, "val": 3, "test": 4}


def arrays(classes=2, size=28, **changes):
    draw = np.random.default_rng(size)
    made = {f"{part}_images": draw.integers(0, 256, (many, *(size,) * 3), np.uint8) for part, many in COUNTS.items()}
    made |= {f"{part}_labels": np.arange(many, dtype=np.uint8)[:, None] % classes for part, many in COUNTS.items()}
    return made | changes


@pytest.mark.parametrize(("flag", "pixels"), [("organ", 28), ("nodule", 64), ("fracture", 28)])
def test_the_catalogue_and_its_cubes_are_the_arrays(tmp_path, flag, pixels):
    name = f"{flag}mnist3d.npz" if pixels == 28 else f"{flag}mnist3d_64.npz"
    made = arrays(len(FLAGS[flag].classes), pixels)
    np.savez_compressed(tmp_path / name, **made)
    options = Options(flag=flag, pixels=pixels)
    cases = CATALOGUE.check(read_cases(tmp_path, options))
    assert label_files(tmp_path, options) == [tmp_path / name]
    assert cases["split"].value_counts().to_dict() == {"train": 5, "validation": 3, "test": 4}
    numbers = np.concatenate([made[f"{part}_labels"].ravel() for part in COUNTS])
    targets = cases[[TARGET + label for label in labels(tmp_path, options)]].to_numpy()
    if flag == "nodule":
        np.testing.assert_array_equal(targets[:, 0], numbers)
    else:
        np.testing.assert_array_equal(targets.argmax(axis=1), numbers)
    assert form(targets) == ("multilabel" if flag == "nodule" else "multiclass")
    stored = np.concatenate([made[f"{part}_images"] for part in COUNTS])
    for case, voxels in zip(cases.to_dict("records"), stored, strict=True):
        volume = read_volume(tmp_path, case, options)
        assert volume.spacing == (1, 1, 1) and volume.unit == ""
        # as stored, also when volumes are prepared
        np.testing.assert_array_equal(volume.turned("RAS").voxels, voxels)


def test_the_cards_are_those_of_the_publisher():
    counted = {flag: card(Options(flag=flag)).expected["cases"] for flag in FLAGS}
    assert counted == {
        "organ": 1742, "nodule": 1633, "adrenal": 1584, "fracture": 1370, "vessel": 1908, "synapse": 1759
    }  # fmt: skip
    told = cards.card(Archive(name="cubes", kind={"name": "medmnist3d", "flag": "vessel"}, folder="x"))
    assert (told.title, told.labels, told.patients) == ("VesselMNIST3D (MedMNIST v2)", ("aneurysm",), False)
    assert "no millimetres" in told.note and told.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"val_labels": np.zeros((2, 1), np.uint8)}, "has 3 images and 2 labels in validation"),
        ({"test_labels": np.full((4, 1), 2, np.uint8)}, r"names no class in row 0 \(4 such rows\); .* from 0 to 1"),
        ({"train_images": np.zeros((5, 28, 28, 28))}, r"is float64 \(5, 28, 28, 28\), not uint8"),
        (
            {"train_images": np.zeros((5, 28, 28), np.uint8)},
            r"is uint8 \(5, 28, 28\), not uint8 \(images, 28, 28, 28\)",
        ),
        ({"test_images": np.zeros((4, 64, 64, 64), np.uint8)}, r"is uint8 \(4, 64, 64, 64\), not uint8"),
    ],
)
def test_cubes_that_do_not_fit_are_refused(tmp_path, changes, said):
    np.savez_compressed(tmp_path / "nodulemnist3d.npz", **arrays(**changes))
    with pytest.raises(UserError, match=said):
        read_cases(tmp_path, Options(flag="nodule"))


def test_absent_files_and_strange_cubes_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"vesselmnist3d_64\.npz: is not there; .* the options `flag` and `pixels`"):
        read_cases(tmp_path, Options(flag="vessel", pixels=64))
    with pytest.raises(UserError, match="is not an image of an array"):
        read_volume(tmp_path, {"case": "train-x", "file": "vesselmnist3d.npz"}, Options(flag="vessel"))


def test_a_twin_of_cubes_is_clean_and_prepared(tmp_path):
    for name in ("twin", "again"):
        twins.make(tmp_path / name, cases=16, seed=1)
    for file in sorted((tmp_path / "twin").iterdir()):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()
    kind = Choice(name="medmnist3d", options={"flag": "adrenal"})
    found = integrity.examine("medmnist3d", tmp_path / "twin", options=Options(flag="adrenal"), workers=0)
    assert found.code == 0 and "16 of 16 volumes read" in as_text(integrity._page(found, listed=False))
    out = tmp_path / "out"
    out.mkdir()
    tables = {name: out / f"{name}.parquet" for name in ("cases", "rejects", "labels", "ceilings")}
    arrays = {name: out / f"{name}.npy" for name in ("images", "masks", "references", "hashes")}
    archive = Archive(name="cubes", kind=kind, folder=str(tmp_path / "twin"), size=16)
    prepare_volumes(archive=archive, **tables, **arrays, split=out / "split.json", workers=0)
    cases = CASES.read(tables["cases"])
    assert cases["split"].value_counts().to_dict() == {"train": 11, "validation": 2, "test": 3}
    assert REJECTS.read(tables["rejects"]).empty and set(cases[TARGET + "hyperplasia"]) == {0, 1}
