"""A report calls volumes what they are: patches of voxels at a spacing, not images of pixels."""

import pytest

from headwater.reporting import prose
from headwater.study import config as study_config
from headwater.study.archive import Archive
from headwater.study.grid import Grid

TRAINING = {"steps": 500, "batch": 16}
OURS = {"backbone": "monai/segresnet", "method": "simclr", "corpus": "organ", "training": TRAINING}


def grid(**changed: object) -> Grid:
    """A study of volumes, unless it is changed."""
    return study_config.load(
        {
            "seeds": [0],
            "archives": {"organ": {"kind": "msd", "folder": "x", "size": [32, 40, 32]}},
            "sources": {"random": {"backbone": "monai/segresnet"}, "ours": OURS},
            "datasets": {"organ": {"task": "segmentation", "labels": ["a", "b"]}},
            "recipes": {"full": {"training": TRAINING, "select": "dice"}},
            "comparison": {"metrics": ["dice"], "reference": "random"},
            **changed,
        }
    ).grid()


PICTURES = {
    "archives": {"chest": {"kind": "chestxray14", "folder": "x", "size": 64}},
    "sources": {"random": {}, "ours": {"method": "simclr", "corpus": "chest", "training": TRAINING}},
    "datasets": {"chest": {}},
    "recipes": {"full": {"training": TRAINING}},
    "comparison": {"reference": "random"},
}


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ("native", "patches of 32 × 40 × 32 voxels at each volume's own spacing"),
        ("median", "patches of 32 × 40 × 32 voxels at the median spacing of the training split"),
        ((1.0, 0.5, 2.5), "patches of 32 × 40 × 32 voxels of 1 × 0.5 × 2.5 mm"),
    ],
    ids=["native", "median", "millimetres"],
)
def test_an_archive_of_volumes_is_told_by_its_patch_and_spacing(spacing: object, said: str):
    archive = Archive(name="organ", kind="msd", folder="x", size=(32, 40, 32), spacing=spacing)
    assert prose.about(archive) == f"Medical Segmentation Decathlon, MRI, {said}"


def test_one_number_is_a_cube_of_volumes_and_a_square_of_pictures():
    cube, square = (Archive(name="any", kind=kind, folder="x", size=64) for kind in ("msd", "chestxray14"))
    assert "patches of 64 × 64 × 64 voxels" in prose.about(cube) and prose.about(square).endswith(", 64 × 64 pixels")


def test_pre_trainings_on_volumes_are_as_many_steps_of_patches():
    of_volumes, of_pictures = grid(), grid(**PICTURES)
    assert prose.length(of_volumes.source("ours"), of_volumes) == "500 steps of 16 patches, seed 0"
    assert prose.length(of_pictures.source("ours"), of_pictures) == "500 steps of 16 images, seed 0"
    one = {**OURS, "training": {**TRAINING, "batch": 1}, "method": "supervised"}
    alone = grid(sources={"random": {"backbone": "monai/segresnet"}, "ours": one})
    assert prose.length(alone.source("ours"), alone) == "500 steps of 1 patch, seed 0"


def test_cases_of_both_kinds_are_cases():
    volumes, pictures = grid().archives, grid(**PICTURES).archives
    assert [prose.thing(each) for each in (volumes, pictures, (*volumes, *pictures))] == ["volume", "image", "case"]
