"""Sketches: small pictures of an image's local contrast, by which its copies are recognised although they were edited.

Grey levels are replaced by their ranks, which no gamma or window changes; and the local mean and spread are removed,
which CLAHE, shadows and burnt-in text change. What is left is kept as its lowest frequencies (discrete cosine
transform), so that a flipped, turned or inverted copy differs only in their signs and places. There are two sketches of
each image: of all of it, and of what is left without borders of one shade.
"""

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

SIDE = 32
"""Frequencies along either axis."""

FINE = 64
"""Width and height in pixels of the picture that is transformed."""

NEIGHBOURHOOD = 1.4
"""Standard deviation in those pixels of the Gaussian that weighs what counts as local."""

FLAT = 0.03
"""Spread of ranks below which an area counts as flat, so that its noise is not amplified."""

BORDER = 128
"""Rows and columns among which borders are looked for, at most."""

SHADES, STRAY = 8, 0.02
"""A row of one shade has at most this share of pixels that differ by more than so many shades from its median."""

LENGTH = SIDE * SIDE
"""Numbers of one sketch."""

LEVELS = 16
"""Odd whole numbers from -15 to 15 are kept, four bits each: none is 0, so that inversion turns all signs."""

STEP = 0.4
"""Distance of two levels, as a share of the root mean square of a sketch."""

VIEWS = 2
"""Sketches of an image: of all of it and of what is inside its borders."""

WORDS = VIEWS * LENGTH // 16
"""64-bit words of both."""

BLANK = 0
"""The words of an image that shows nothing, or of which no sketch was made."""


def _by_frequency() -> np.ndarray:
    """Places of the frequencies in the transform, flattened, from the lowest to the highest."""
    row, column = np.mgrid[:SIDE, :SIDE]
    return np.lexsort((column.ravel(), row.ravel(), (row**2 + column**2).ravel()))


ORDER = _by_frequency()
"""The place of each number of a sketch among the frequencies, row by row; the first one, the mean, is always 0."""


def both(grey: Image.Image) -> np.ndarray:
    """The sketches of a grey image, of all of it and inside its borders, as uint64 (words,)."""
    whole, inside = (0.0, 0.0, float(grey.width), float(grey.height)), inner(grey)
    first = packed(drawn(grey, box=whole))
    return np.concatenate([first, first if inside == whole else packed(drawn(grey, box=inside))])


def packed(sketch: np.ndarray) -> np.ndarray:
    """The words uint64 of a sketch; those of one without any contrast are blank."""
    size = np.sqrt(np.mean(sketch**2))
    if size < 1e-6:
        return np.full(LENGTH // 16, BLANK, np.uint64)
    levels = np.clip(np.floor(sketch / (STEP * size)) + LEVELS // 2, 0, LEVELS - 1).astype(np.uint8)
    return (levels[0::2] << 4 | levels[1::2]).view(np.uint64)


def unpacked(words: np.ndarray) -> np.ndarray:
    """Sketches int8 (..., numbers) from their words (..., LENGTH / 16); blank ones are zeros."""
    pairs = np.ascontiguousarray(words).view(np.uint8)
    levels = np.stack([pairs >> 4, pairs & 15], axis=-1).reshape(*words.shape[:-1], LENGTH).astype(np.int8)
    levels = np.where((words == BLANK).all(axis=-1, keepdims=True), 0, 2 * levels - (LEVELS - 1)).astype(np.int8)
    levels[..., 0] = 0
    return levels


def drawn(grey: Image.Image, *, box: tuple[float, float, float, float]) -> np.ndarray:
    """The sketch of a part of an image, float64 (numbers,), lowest frequencies first."""
    small = np.asarray(grey.resize((FINE, FINE), Image.Resampling.BILINEAR, box=box, reducing_gap=3.0))
    ranks = _ranks(small)
    detail = ranks - gaussian_filter(ranks, NEIGHBOURHOOD, mode="nearest")
    spread = gaussian_filter(detail**2, NEIGHBOURHOOD, mode="nearest")
    sketch = dctn(detail / np.sqrt(spread + FLAT**2), norm="ortho")[:SIDE, :SIDE].ravel()[ORDER]
    sketch[0] = 0.0
    return sketch


def inner(grey: Image.Image) -> tuple[float, float, float, float]:
    """What is left of an image without rows and columns of one shade at its edges: left, upper, right, lower."""
    width, height = min(grey.width, BORDER), min(grey.height, BORDER)
    small = np.asarray(grey.resize((width, height), Image.Resampling.BOX, reducing_gap=3.0)).astype(np.int16)
    upper, lower = _inside(small)
    left, right = _inside(small[upper:lower].T)
    across, down = grey.width / width, grey.height / height
    return left * across, upper * down, right * across, lower * down


def _inside(rows: np.ndarray) -> tuple[int, int]:
    """The first row of more than one shade and the one after the last; all rows if there is none."""
    count = rows.shape[1]
    # sorted, because NumPy sorts whole numbers many times as fast as it finds their median, here twice that
    ordered = np.sort(rows, axis=1)
    middle = ordered[:, (count - 1) // 2] + ordered[:, count // 2]
    away = np.abs(2 * rows - middle[:, None]) > 2 * SHADES
    busy = np.flatnonzero(np.count_nonzero(away, axis=1) / count > STRAY)
    return (int(busy[0]), int(busy[-1]) + 1) if len(busy) else (0, len(rows))


def _ranks(small: np.ndarray) -> np.ndarray:
    """The share of pixels that are darker, with half of those of the same shade."""
    counts = np.bincount(small.ravel(), minlength=256)
    return ((np.cumsum(counts) - counts / 2) / small.size)[small]
