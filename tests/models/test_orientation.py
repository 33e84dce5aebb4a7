"""Volumes in the orientation of published weights: turned for the network, and what it says turned back."""

import nibabel
import numpy as np
import pytest
import torch

from headwater.models import backbones, encoder, published_weights
from headwater.models.orientation import turned, turned_back
from headwater.models.weight_files import load_weights
from headwater.study.source import Source


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPL", "PIR", "ALI"])
def test_turned_as_nibabel_turns(orientation):
    volume = torch.rand(2, 1, 3, 4, 5)
    image = nibabel.Nifti1Image(volume[1, 0].numpy(), np.eye(4))  # an affine of ones is RAS
    wanted = nibabel.orientations.axcodes2ornt(tuple(orientation))
    expected = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(image.affine), wanted))
    assert np.array_equal(turned(volume, orientation)[1, 0].numpy(), expected.get_fdata(dtype=np.float32))
    assert torch.equal(turned_back(turned(volume, orientation), orientation), volume)


def test_a_network_of_other_axes_sees_and_outlines_what_it_would_on_them(tmp_path):
    drawn = {"size": (16, 8, 24), "mean": (0.0,), "std": (1.0,), "seed": 3}
    plain = backbones.build("monai/segresnet_ds_small", **drawn).eval()
    of_others = backbones.build("monai/segresnet_ds_small", **drawn, orientation="SPL").eval()
    volume = torch.rand(1, 1, 16, 8, 24)
    on_its_axes = volume.permute(0, 1, 4, 3, 2).flip(3, 4)  # superior, posterior, left
    with torch.no_grad():
        assert torch.equal(of_others(volume), plain(on_its_axes))
        levels = of_others.levels(volume)
        assert [tuple(level.shape[2:]) for level in levels] == [(16, 8, 24), (8, 4, 12), (4, 2, 6)]
        expected = plain.decoded(plain.levels(on_its_axes))[0].flip(3, 4).permute(0, 1, 4, 3, 2)
        assert torch.equal(of_others.decoded(levels)[0], expected)
    assert not torch.equal(of_others(volume), plain(volume))


def test_adopted_weights_keep_their_axes_in_every_file(tmp_path):
    tensors = backbones.build("monai/segresnet_ds_small", size=8, mean=(0.0,), std=(1.0,), seed=3).tensors()
    torch.save(tensors, tmp_path / "x.pth")
    source = Source(
        name="ct_fm",
        backbone="monai/segresnet_ds_small",
        weights={"layout": "ct_fm", "path": str(tmp_path / "x.pth")},
    )
    weights = published_weights.read(source, size=8)
    weights.write(tmp_path / "e.safetensors")
    tensors, metadata = load_weights(tmp_path / "e.safetensors")
    again, _ = encoder.restore(tensors, metadata, name=source.backbone, size=8, file="e")
    assert weights.network.orientation == again.orientation == "SPL"
    # once more, as a file of our own
    checkpoint = {"layout": "headwater", "path": str(tmp_path / "e.safetensors")}
    ours = Source(name="ours", backbone=source.backbone, weights=checkpoint)
    assert published_weights.read(ours, size=8).network.orientation == "SPL"


def test_networks_of_our_own_axes_say_nothing_of_them():
    assert "orientation" not in backbones.build("timm/test_resnet", size=32, mean=(0.5,), std=(0.5,), seed=0).metadata()
