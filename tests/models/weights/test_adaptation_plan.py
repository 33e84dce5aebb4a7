"""The adaptation plan in nnssl's checkpoints: read without running anything, and held against source and archive."""

import os

import pytest
import torch

from adaptation_plan_made import FORM, plan
from headwater.core.errors import UserError
from headwater.models import published_weights
from headwater.reporting import footnotes
from headwater.study import adaptation_plan, input_contract
from headwater.study.archive import Archive, Dataset
from headwater.study.source import Source
from headwater.study.wording import Wording

NAMES = ("encoder.stem.convs.0.conv.weight", "encoder.stages.0.blocks.0.conv1.conv.weight")


def published(folder, **entries):
    """A checkpoint with a plan, or with what is given as the plan."""
    content = {"network_weights": {name: torch.rand(2, 1, 3, 3, 3) for name in NAMES}, "trainer_name": "BaseMAETrainer"}
    torch.save(content | {"nnssl_adaptation_plan": plan(**entries)}, folder / "checkpoint_final.pth")
    return folder / "checkpoint_final.pth"


def adopted(file, *, backbone="nnunet/resenc_test", otherwise=()):
    weights = {"layout": "nnssl", "path": str(file), "fed_otherwise": otherwise}
    return Source(name="ours", backbone=backbone, weights=weights)


class Study:
    """As much of a config, and of its grid, as the checks look at."""

    def __init__(self, archive, source):
        self.archives, self.sources, self.datasets = (
            {"mr": archive},
            {"ours": source},
            {"mr": Dataset(name="mr", archive="mr")},
        )


def archive(**fed):
    return Archive(name="mr", kind="msd", folder="x", **{"size": 160, "spacing": [1, 1, 1], **fed})


def mistakes(file, *, otherwise=(), **fed):
    return list(input_contract.mistakes(Study(archive(**fed), adopted(file, otherwise=otherwise))))


@pytest.mark.parametrize(
    ("of_plan", "fed", "said"),
    [
        ({}, {}, None),
        ({}, {"spacing": "native"}, "spacing native of mr, but 1 x 1 x 1 mm in the training of its weights"),
        (
            {"recommended_downstream_patchsize": [192, 192, 192]},
            {},
            "patch 160 x 160 x 160 of mr, but 192 x 192 x 192 voxels in the training of its weights; set arch",
        ),
        ({"recommended_downstream_patchsize": [64, 96, 128]}, {"size": [128, 96, 64]}, None),
        ({"configuration": {"spacing_style": "noresample", "spacing": None}}, {"spacing": "native"}, None),
        (
            {"configuration": {"spacing_style": "noresample", "spacing": None}},
            {},
            "spacing 1 x 1 x 1 of mr, but each volume's own in the training of its weights; set archives.mr.spacing: n",
        ),
        ({"configuration": {"spacing_style": "median", "spacing": [3.0, 0.6, 0.5]}}, {"spacing": [0.5, 0.6, 3]}, None),
        # the thickest axis was moved to the front, as nnU-Net does: it was x
        (
            {"configuration": {"spacing_style": "median", "spacing": [3.0, 0.6, 0.5]}, "transposed": (2, 0, 1)},
            {"spacing": [3, 0.5, 0.6]},
            None,
        ),
        (
            {"configuration": {"normalization_schemes": ["CTNormalization"]}},
            {},
            "z-scores of mr, but CTNormalization in",
        ),
        (
            {},
            {"intensity": {"percentiles": [0.5, 99.5]}},
            "percentiles 0.5 to 99.5 of mr, but z-scores in the training",
        ),
        ({"pretrain_num_input_channels": 4}, {}, "channels 1 of mr, but 4 in the training of its weights"),
    ],
)
def test_an_archive_is_held_against_the_plan_in_the_file(tmp_path, of_plan, fed, said):
    lines = mistakes(published(tmp_path, **of_plan), **fed)
    assert [said in line for line in lines] == ([True] if said else [])


def test_a_difference_from_the_plan_is_said_aloud_or_refused(tmp_path):
    file = published(tmp_path, recommended_downstream_patchsize=[192, 192, 192])
    assert mistakes(file, otherwise=["patch"]) == []
    (line,) = mistakes(file, otherwise=["patch"], size=192)
    assert "fed_otherwise: patch is as in the training of the weights; remove it" in line

    class Grid:
        wording = Wording()
        archives, datasets = (archive(),), (Dataset(name="mr", archive="mr"),)
        sources = (adopted(file, otherwise=["patch"]),)

    assert (
        "ours: fed patch 160 x 160 x 160 of mr, but 192 x 192 x 192 voxels in the training"
        in footnotes.of_weights(Grid)[-1]
    )
    file.unlink()
    # the check of files tells that it is gone; what it held is not guessed
    assert mistakes(file, otherwise=["patch"]) == []
    assert "the file of its weights was gone" in footnotes.of_weights(Grid)[-1]


def test_without_a_plan_the_layout_says_what_the_papers_do(tmp_path):
    torch.save({"network_weights": {NAMES[0]: torch.rand(2)}}, tmp_path / "x.pth")
    assert adaptation_plan.read(tmp_path / "x.pth") is None
    (line,) = mistakes(tmp_path / "x.pth", size=96)
    assert "patch 96 x 96 x 96 of mr, but 160 x 160 x 160 voxels" in line


@pytest.mark.parametrize(
    ("of_plan", "said"),
    [
        (
            {"architecture": "ResEncL", "form": None},
            "holds a ResEncL by its adaptation plan, not nnunet/resenc_test; set backbone: nnunet/resenc_l",
        ),
        ({"architecture": "PrimusM", "form": None}, "holds a PrimusM .*; choose other weights: no backbone here"),
        (
            {"form": {**FORM, "features_per_stage": [4, 8, 16]}},
            r"of features_per_stage \[4, 8, 16\], n_blocks.* not nnunet",
        ),
        ({"form": {**FORM, "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]]}}, "choose other weights"),
        ({"form": {**FORM, "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}}, "choose other weights"),
        ({"form": {**FORM, "n_blocks_per_stage": 2}}, "choose other weights"),
        ({"architecture": "PlainConvUNet"}, "holds a PlainConvUNet of"),
        ({"key_to_stem": "down_projection"}, "names tensors below down_projection, and the file has none"),
        ({"pretrain_plan": {}}, r"is not as nnssl writes it \(pretrain_plan.configurations: Field required\)"),
        ({"recommended_downstream_patchsize": [160]}, "List should have at least 3 items"),
    ],
)
def test_weights_of_another_network_are_refused_by_the_plan(tmp_path, of_plan, said):
    with pytest.raises(UserError, match=said):
        published_weights.read(adopted(published(tmp_path, **of_plan)), size=8)


def test_a_plan_that_is_damaged_is_one_line_of_the_plan_of_the_study(tmp_path):
    (line,) = mistakes(published(tmp_path, pretrain_plan={}))
    assert line.startswith("sources.ours.weights.path: ") and "is not as nnssl writes it" in line


def test_kernels_and_strides_may_be_one_number(tmp_path):
    file = published(tmp_path, form={**FORM, "kernel_sizes": 3, "strides": [1, 2, 2]})
    assert published_weights.read(adopted(file), size=8).network.name == "nnunet/resenc_test"


class Foreign:
    """What makes a folder when torch or pickle read it without care."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_nothing_that_a_file_names_is_run(tmp_path):
    torch.save({"init_args": Foreign(tmp_path / "made"), "nnssl_adaptation_plan": plan()}, tmp_path / "x.pth")
    assert adaptation_plan.read(tmp_path / "x.pth").architecture == "ResidualEncoderUNet"
    assert not (tmp_path / "made").exists()
    content = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(content[: len(content) // 2])
    assert adaptation_plan.read(tmp_path / "x.pth") is None
