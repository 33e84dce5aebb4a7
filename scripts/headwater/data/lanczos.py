"""Resizes grey pictures by the Lanczos filter to the very values that Pillow gives, several times as fast.

Pillow adds up whole numbers (see `weighted_sums.py`), and such sums are the same in any order: here many columns are
added at a time, where Pillow goes pixel by pixel.
"""

from functools import cached_property

import numpy as np
from PIL import Image

LARGE = 2**17
"""Pixels from which a picture is resized by compiled code, whose start takes as long as some hundred pictures."""


class Grey:
    """A grey picture uint8 (height, width), to be resized to several sizes."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self._columns: np.ndarray | None = None

    @cached_property
    def picture(self) -> Image.Image:
        """The same as Pillow has it."""
        return Image.fromarray(self.pixels)

    def resized(self, width: int, height: int) -> np.ndarray:
        """The picture at another size: uint8 (height, width)."""
        if self.pixels.size < LARGE or not self._gets_narrower_first(width, height):
            return np.asarray(self.picture.resize((width, height), Image.Resampling.LANCZOS))
        # not above: it takes most of a second
        from headwater.data.weighted_sums import of_rows, on_its_side

        if self._columns is None:
            self._columns = on_its_side(self.pixels)
        # in Pillow's order, because values are rounded between the two
        across = self._columns if width == self.pixels.shape[1] else of_rows(self._columns, width)
        narrow = on_its_side(across)
        return narrow if height == len(narrow) else of_rows(narrow, height)

    def _gets_narrower_first(self, width: int, height: int) -> bool:
        """Whether all versions of Pillow change the width before the height; Pillow 13 does not in tall pictures."""
        high, wide = self.pixels.shape
        return high <= 2 * wide and (high <= height or high - height < 2 * (wide - width))
