"""Crops are resampled as torchvision resizes the same box, bilinear and bicubic, with and without antialiasing."""

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop

import rounding
from headwater.study.recipe import Views
from headwater.training.views import pictures
from headwater.training.views.draws import keys

KINDS = {"bilinear": (InterpolationMode.BILINEAR, 1), "bicubic": (InterpolationMode.BICUBIC, 2)}
"""torchvision's name of each kind, and how many pixels away its weights reach."""


def view(images, *, share, kind, size, antialias, monkeypatch):
    """The view of a box with a share of each side, a quarter of the way from the left and half of it from the top."""
    drawn = torch.zeros(pictures.DRAWS, len(images))
    drawn[1], drawn[2], drawn[3], drawn[5] = 0.5, 0.25, 0.5, 1.0
    monkeypatch.setattr(pictures, "uniforms", lambda keys, first, count: list(drawn))
    cases = torch.arange(len(images))
    chance = keys(seed=0, epochs=torch.zeros_like(cases), cases=cases)
    changes = Views(crop=share**2, resampling=kind)
    return pictures.augment(images, chance, changes, size=size, antialias=antialias)


@rounding.in_float64()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("share", "size", "antialias"), [(0.5, 96, False), (0.5, 160, True), (0.75, 64, False), (0.75, 32, True)]
)
def test_a_crop_is_torchvisions_of_the_same_box(kind, share, size, antialias, monkeypatch):
    side = 128
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    box = round(share * side)
    top, left = (side - box) // 2, (side - box) // 4
    mode, reach = KINDS[kind]
    # torchvision's bicubic weights have a = -0.5 where it filters and -0.75 where not; only the latter enlarge here
    theirs = resized_crop(images, top, left, box, box, [size, size], mode, antialias=antialias and box > size)
    ours = view(images, share=share, kind=kind, size=size, antialias=antialias, monkeypatch=monkeypatch)
    # theirs ends at the edge of the box, while ours reads the pixels beyond it
    edge = reach * max(1, -(-size // box))
    inner = (..., slice(edge, -edge), slice(edge, -edge))
    torch.testing.assert_close(ours[inner], theirs.clamp(0, 1)[inner], **rounding.NEAR)


@rounding.in_float64()
def test_the_two_kinds_differ_and_neither_leaves_the_range(monkeypatch):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(4)).round()
    seen = {
        kind: view(images, share=0.5, kind=kind, size=96, antialias=False, monkeypatch=monkeypatch) for kind in KINDS
    }
    assert (seen["bicubic"] - seen["bilinear"]).abs().mean() > 0.02
    assert all(each.min() >= 0 and each.max() <= 1 for each in seen.values())
    # bicubic keeps more of what is as fine as the pixels
    assert seen["bicubic"].var() > 1.1 * seen["bilinear"].var()
