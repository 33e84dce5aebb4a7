"""How alike two images are: by local structure, and by what the grey values of one tell of those of the other."""

import numba
import numpy as np

WINDOW = 7
"""Width and height of the windows in pixels, as scikit-image has them by default."""

STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""What keeps flat windows from a division by nothing (Wang et al. 2004, section III B)."""


@numba.njit(nogil=True, cache=True)
def structural(one, other):
    """Mean structural similarity of two images uint8 (height, width), each at least 7 x 7; 1 for equal ones.

    Wang, Bovik, Sheikh & Simoncelli 2004, equation 13, in windows of equal weight with sample covariances, of those
    inside the image: scikit-image's `structural_similarity`. Sums are whole numbers, so no order of adding matters.
    """
    height, width = one.shape
    size, total = WINDOW * WINDOW, 0.0
    columns = np.zeros((5, width), np.int64)
    for row in range(height):
        for column in range(width):
            _count_in(columns, column, np.int64(one[row, column]), np.int64(other[row, column]), 1)
            if row >= WINDOW:
                left = row - WINDOW
                _count_in(columns, column, np.int64(one[left, column]), np.int64(other[left, column]), -1)
        if row >= WINDOW - 1:
            total += _row(columns, width, size)
    return total / ((height - WINDOW + 1) * (width - WINDOW + 1))


@numba.njit(nogil=True, cache=True)
def _count_in(columns, column, one, other, times):
    """Add a pair of pixels to the sums of its column, or take it out."""
    columns[0, column] += times * one
    columns[1, column] += times * other
    columns[2, column] += times * one * one
    columns[3, column] += times * other * other
    columns[4, column] += times * one * other


@numba.njit(nogil=True, cache=True)
def _row(columns, width, size):
    """The sum of the similarities of a row of windows."""
    total = 0.0
    a = b = aa = bb = ab = np.int64(0)
    for column in range(width):
        a, b, aa = a + columns[0, column], b + columns[1, column], aa + columns[2, column]
        bb, ab = bb + columns[3, column], ab + columns[4, column]
        if column >= WINDOW:
            left = column - WINDOW
            a, b, aa = a - columns[0, left], b - columns[1, left], aa - columns[2, left]
            bb, ab = bb - columns[3, left], ab - columns[4, left]
        if column >= WINDOW - 1:
            # all by size squared, or by size times size - 1
            pairs, spread = size * size, size * (size - 1)
            means = (2.0 * a * b / pairs + STABLE[0]) / ((1.0 * a * a + 1.0 * b * b) / pairs + STABLE[0])
            crossed = 2.0 * (size * ab - a * b) / spread + STABLE[1]
            within = (1.0 * (size * aa - a * a) + 1.0 * (size * bb - b * b)) / spread + STABLE[1]
            total += means * crossed / within
    return total


@numba.njit(nogil=True, cache=True)
def mutual(one, other, bins):
    """Mutual information of the grey values of two images, over the mean of their entropies: 0 to 1.

    Strehl & Ghosh 2002, with the mean of Kvalseth 1987: scikit-learn's `normalized_mutual_info_score` of grey values in
    `bins` equal parts. The estimate grows with the number of bins and shrinks with that of pixels: both belong to it.
    """
    counts = np.zeros((bins, bins), np.int64)
    for row in range(one.shape[0]):
        for column in range(one.shape[1]):
            counts[np.int64(one[row, column]) * bins // 256, np.int64(other[row, column]) * bins // 256] += 1
    total = one.size
    first, second, joint = _entropy(counts.sum(axis=1), total), _entropy(counts.sum(axis=0), total), 0.0
    for row in range(bins):
        joint += _entropy(counts[row], total)
    # two images of one grey each tell all of each other
    return 1.0 if first + second == 0.0 else max(0.0, 2.0 * (first + second - joint) / (first + second))


@numba.njit(nogil=True, cache=True)
def _entropy(counts, total):
    """What these counts add to the entropy of `total` cases, in nats."""
    entropy = 0.0
    for count in counts:
        if count:
            entropy -= count / total * np.log(count / total)
    return entropy
