"""Grey pictures are resized to the very values that Pillow gives."""

import sys

import numpy as np
import pytest
from PIL import Image

from headwater.data import lanczos
from headwater.data.lanczos import Grey
from headwater.data.resizing import fitted

SIDES = [(512, 512), (300, 700), (1025, 129), (137, 1031), (2048, 90), (640, 480), (700, 360)]


def drawn(height: int, width: int, *, seed: int) -> np.ndarray:
    """Noise of few shades, many of them black or white, where the filter overshoots: uint8 (height, width)."""
    shades = np.random.default_rng(seed).integers(0, 256, (height, width))
    return np.where(shades % 3, 255 * (shades > 127), shades).astype(np.uint8)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("size", [(224, 224), (64, 64), (9, 8), (1, 40), (512, 300), (700, 512), (1200, 1100)])
def test_the_values_are_those_of_pillow(sides: tuple[int, int], size: tuple[int, int]):
    pixels = drawn(*sides, seed=sum(size))
    assert pixels.size >= lanczos.LARGE
    theirs = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(Grey(pixels).resized(*size), theirs)


def test_small_pictures_do_not_wait_for_the_compiler(monkeypatch):
    pixels = drawn(64, 64, seed=0)
    theirs = np.asarray(Image.fromarray(pixels).resize((9, 8), Image.Resampling.LANCZOS))
    monkeypatch.setitem(sys.modules, "headwater.data.weighted_sums", None)
    np.testing.assert_array_equal(Grey(pixels).resized(9, 8), theirs)
    with pytest.raises(ImportError):
        Grey(drawn(512, 512, seed=0)).resized(9, 8)


@pytest.mark.parametrize("sides", SIDES)
def test_the_stored_image_is_one_by_pillow(sides: tuple[int, int]):
    pixels = drawn(*sides, seed=3)
    squashed = Image.fromarray(pixels).resize((96, 96), Image.Resampling.LANCZOS)
    for grey in (None, Grey(pixels)):
        np.testing.assert_array_equal(fitted(pixels, size=96, resize="squash", grey=grey)[0], np.asarray(squashed))
