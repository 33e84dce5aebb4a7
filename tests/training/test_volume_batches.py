"""Patches of volumes follow from seed, epoch and case, show image and label map of one place, and know no batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import volumes_made
from headwater.core.errors import UserError
from headwater.data.volumes import UNKNOWN, read_volumes
from headwater.models.tasks import Task
from headwater.study.intensity import Intensity
from headwater.training.batches import training_batches
from headwater.training.ddp import World
from headwater.training.reading.volumes import masks_of

PATCH = (12, 10, 18)
TASK = Task(name="segmentation", labels=("back", "front"), form="exclusive")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten volumes of about 20 x 24 x 16 voxels, thinner than the patch along z."""
    made = volumes_made.archive(tmp_path_factory.mktemp("volumes"))
    files = {name: getattr(made, name) for name in ("images", "masks", "references")}
    return read_volumes(made.cases, **files, seen=Intensity(zscore=True), patch=PATCH)


def learned(data, rows, *, foreground=1 / 3):
    presence = data.targets(rows, list(TASK.labels))
    presence[1] = np.nan
    return masks_of(data.images, TASK, presence, foreground=foreground)


def batches(data, ahead, *, rank=0, size=1, foreground=1 / 3, seed=5):
    rows = np.array([7, 2, 3, 5])
    targets = {"outline": learned(data, rows, foreground=foreground), "row": rows[:, None].astype(np.float32)}
    world = World(rank=rank, size=size, device=torch.device("cpu"))
    return list(
        training_batches(ahead, images=data.images, rows=rows, targets=targets, batch=8, seed=seed, world=world)
    )


def test_image_label_map_and_other_targets_are_of_one_case_and_place(data):
    (batch,) = batches(data, [3], foreground=1.0)
    assert batch.images.values.shape == (8, 1, *PATCH) and batch.images.spacing.shape == (8, 3)
    assert torch.equal(batch.targets["row"][:, 0].long(), batch.cases)
    for image, mask, row in zip(
        batch.images.values, batch.targets["outline"].values, batch.cases.tolist(), strict=True
    ):
        if row == 2:
            assert (mask == UNKNOWN).all()
            continue
        # both structures are far brighter than what lies around them; classes follow the task's labels
        assert image[0][mask > 0].mean() > image[0][mask == 0].mean() + 1
        assert set(mask.unique().tolist()) <= {0, 1, 2} and (mask > 0).any()
        voxels = data.images.mask(row)
        found = [
            corner
            for corner in np.ndindex(*(abs(side - edge) + 1 for side, edge in zip(voxels.shape, PATCH, strict=True)))
            if _same(data, row, _first(voxels.shape) + corner, image, mask)
        ]
        assert len(found) == 1


def _first(shape):
    return np.minimum(0, np.array(shape) - PATCH)


def _same(data, row, corner, image, mask):
    classes = np.array([0, 2, 1], np.uint8)[data.images.mask(row, corner, PATCH)]
    return np.array_equal(classes, mask) and np.array_equal(data.images.image(row, corner, PATCH), image)


def test_all_ranks_together_see_the_bytes_that_one_rank_sees(data):
    (alone,) = batches(data, [7])
    for size in (2, 4):
        shares = [batches(data, [7], rank=rank, size=size)[0] for rank in range(size)]
        for part in (
            lambda batch: batch.images.values,
            lambda batch: batch.images.spacing,
            lambda batch: batch.targets["outline"].values,
            lambda batch: batch.targets["row"],
            lambda batch: batch.cases,
        ):
            assert torch.equal(torch.stack([part(share) for share in shares], dim=1).flatten(0, 1), part(alone))


def test_epochs_and_seeds_place_patches_anew_and_a_resumed_training_places_them_alike(data):
    whole = [batch.images.values for batch in batches(data, range(3))]
    assert torch.equal(batches(data, range(2, 3))[0].images.values, whole[2])
    first = batches(data, range(1))[0]
    again = {}
    for image, row in zip(first.images.values, first.cases.tolist(), strict=True):
        again.setdefault(row, []).append(image)
    assert not any(torch.equal(*images) for images in again.values() if len(images) == 2)
    assert not torch.equal(batches(data, range(1), seed=6)[0].images.values, whole[0])


def test_foreground_is_shown_as_often_as_asked_and_each_structure_alike(data):
    def middles(foreground):
        parts = batches(data, range(60), foreground=foreground)
        masks = torch.cat([part.targets["outline"].values for part in parts])[:, *(side // 2 for side in PATCH)]
        return masks[masks != UNKNOWN]

    often, seldom = middles(1.0), middles(0.0)
    # not all: near an edge a patch cannot be centred on its voxel
    assert (often > 0).float().mean() > 0.75 > (seldom > 0).float().mean() + 0.1
    assert 0.35 < (often[often > 0] == 1).float().mean() < 0.65


def test_a_label_without_an_outline_is_refused(data):
    task = replace(TASK, labels=("bak",))
    with pytest.raises(UserError, match="'bak' has no outline in this archive; did you mean 'back'"):
        masks_of(data.images, task, np.ones((2, 1)), foreground=0)
