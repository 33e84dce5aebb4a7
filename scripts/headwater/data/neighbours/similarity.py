"""Image similarity: structural similarity (SSIM) and normalised mutual information."""

import numba
import numpy as np

WINDOW = 7
"""Width and height of the windows in pixels, scikit-image's default."""

STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""The constants C1 and C2, which prevent a division by zero in flat windows (Wang et al. 2004, section III B)."""


@numba.njit(nogil=True, cache=True)
def structural(image, other):
    """Mean structural similarity of two images uint8 (height, width), each at least 7 x 7; 1 for equal ones.

    Wang, Bovik, Sheikh & Simoncelli 2004, equation 13, with uniform windows inside the image and sample covariances:
    scikit-image's `structural_similarity`. Sums are integers, so that rounding does not depend on the order.
    """
    height, width = image.shape
    size, total = WINDOW * WINDOW, 0.0
    # running sums over the last WINDOW rows of each column: the cost per pixel does not depend on the window
    columns = np.zeros((5, width), np.int64)
    for row in range(height):
        for column in range(width):
            _count_in(columns, column, np.int64(image[row, column]), np.int64(other[row, column]), 1)
            if row >= WINDOW:
                leaving = row - WINDOW
                _count_in(columns, column, np.int64(image[leaving, column]), np.int64(other[leaving, column]), -1)
        if row >= WINDOW - 1:
            total += _row(columns, width, size)
    return total / ((height - WINDOW + 1) * (width - WINDOW + 1))


@numba.njit(nogil=True, cache=True)
def _count_in(columns, column, a, b, times):
    """Add a pair of pixels to the sums of its column (a, b, aa, bb, ab), or with times -1 subtract it."""
    columns[0, column] += times * a
    columns[1, column] += times * b
    columns[2, column] += times * a * a
    columns[3, column] += times * b * b
    columns[4, column] += times * a * b


@numba.njit(nogil=True, cache=True)
def _row(columns, width, size):
    """The sum of the similarities of a row of windows."""
    total = 0.0
    a = b = aa = bb = ab = np.int64(0)
    for column in range(width):
        a, b, aa = a + columns[0, column], b + columns[1, column], aa + columns[2, column]
        bb, ab = bb + columns[3, column], ab + columns[4, column]
        if column >= WINDOW:
            leaving = column - WINDOW
            a, b, aa = a - columns[0, leaving], b - columns[1, leaving], aa - columns[2, leaving]
            bb, ab = bb - columns[3, leaving], ab - columns[4, leaving]
        if column >= WINDOW - 1:
            # sums instead of means: products of means have the divisor size squared, covariances size * (size - 1)
            pairs, spread = size * size, size * (size - 1)
            means = (2.0 * a * b / pairs + STABLE[0]) / ((1.0 * a * a + 1.0 * b * b) / pairs + STABLE[0])
            crossed = 2.0 * (size * ab - a * b) / spread + STABLE[1]
            within = (1.0 * (size * aa - a * a) + 1.0 * (size * bb - b * b)) / spread + STABLE[1]
            total += means * crossed / within
    return total


@numba.njit(nogil=True, cache=True)
def mutual(image, other, bins):
    """Mutual information of the grey values of two images, divided by the mean of their entropies: 0 to 1.

    Strehl & Ghosh 2002, with the mean of Kvalseth 1987: scikit-learn's `normalized_mutual_info_score` of grey values in
    `bins` equal bins. The estimate increases with the number of bins and decreases with that of pixels, so values are
    comparable for the same numbers only.
    """
    counts = np.zeros((bins, bins), np.int64)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            counts[np.int64(image[row, column]) * bins // 256, np.int64(other[row, column]) * bins // 256] += 1
    total = image.size
    first, second, joint = _entropy(counts.sum(axis=1), total), _entropy(counts.sum(axis=0), total), 0.0
    for row in range(bins):
        joint += _entropy(counts[row], total)
    # constant images have no entropy; by definition their similarity is 1
    return 1.0 if first + second == 0.0 else max(0.0, 2.0 * (first + second - joint) / (first + second))


@numba.njit(nogil=True, cache=True)
def _entropy(counts, total):
    """The contribution of these counts to the entropy of `total` pixels, in nats."""
    entropy = 0.0
    for count in counts:
        if count:
            entropy -= count / total * np.log(count / total)
    return entropy
