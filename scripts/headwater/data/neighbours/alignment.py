"""Alignment: how well two sketches agree after the one is moved, turned and stretched a little to fit the other.

Gauss-Newton on the six numbers of an affine map (Lucas & Kanade 1981; Baker & Matthews 2004, section 2.1), with the
correlation of what overlaps as the measure, so that gain and offset do not matter.
"""

import numba
import numpy as np

POINTS = 32
"""Points along either axis at which the sketches are compared."""

GRID = 64
"""Points along either axis of the picture that is interpolated."""

ROUNDS = 8
"""Steps at most; most pairs of copies need four."""

SETTLED = 1e-3
"""A step that moves no point by more than this share of half the width is the last one."""

STRAYED = 0.15
"""Largest change of any of the six numbers: what is further is no small edit."""

OVERLAP = 0.7
"""Share of the points that must lie inside the other picture."""


def waves(side: int, points: int, *, start: float = 0.0, width: float = 1.0) -> np.ndarray:
    """The cosines of the lowest frequencies at the centres of `points` pixels of a part: float64 (points, side)."""
    row = (np.arange(points)[:, None] + 0.5) / points * width + start
    return np.cos(np.pi * row * np.arange(side)) * np.where(np.arange(side) > 0, np.sqrt(2), 1)


@numba.njit(nogil=True, cache=True)
def agreement(other, picture, start):
    """The correlation of `picture` at points that a map takes into it with `other`, best near `start`.

    `other` float64 (POINTS, POINTS), `picture` float64 (GRID, GRID); a map is (2, 3) on coordinates from -1 to 1.
    """
    place = start.copy()
    values, slopes = np.empty(POINTS * POINTS), np.empty((POINTS * POINTS, 2))
    points, wanted = np.empty((POINTS * POINTS, 3)), np.empty(POINTS * POINTS)
    best = -1.0
    for _ in range(ROUNDS):
        count = _sampled(other, picture, place, values, slopes, points, wanted)
        if count < OVERLAP * POINTS * POINTS:
            return best
        spread, other_spread = _standardised(values, count), _standardised(wanted, count)
        if spread == 0 or other_spread == 0:
            return best
        correlation = np.dot(values[:count], wanted[:count]) / (count * spread * other_spread)
        best = max(best, correlation)
        moved = _step(values, slopes, points, wanted, count, spread, spread / other_spread)
        place += moved
        if np.abs(place - start).max() > STRAYED or np.abs(moved).max() < SETTLED:
            return best
    return best


@numba.njit(nogil=True, cache=True)
def _sampled(other, picture, place, values, slopes, points, wanted):
    """The number of points that fall into the picture; fills its values and slopes there, and the other's values."""
    count = 0
    for row in range(POINTS):
        down = (2 * row + 1) / POINTS - 1
        for column in range(POINTS):
            right = (2 * column + 1) / POINTS - 1
            y = place[0, 0] * down + place[0, 1] * right + place[0, 2]
            x = place[1, 0] * down + place[1, 1] * right + place[1, 2]
            if abs(y) > 1 or abs(x) > 1:
                continue
            # half a pixel at the edges is extended
            upper, left = (y + 1) * GRID / 2 - 0.5, (x + 1) * GRID / 2 - 0.5
            i = min(max(int(np.floor(upper)), 0), GRID - 2)
            j = min(max(int(np.floor(left)), 0), GRID - 2)
            v, u = min(max(upper - i, 0.0), 1.0), min(max(left - j, 0.0), 1.0)
            a, b, c, d = picture[i, j], picture[i, j + 1], picture[i + 1, j], picture[i + 1, j + 1]
            values[count] = (a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v
            slopes[count, 0] = ((c - a) * (1 - u) + (d - b) * u) * GRID / 2
            slopes[count, 1] = ((b - a) * (1 - v) + (d - c) * v) * GRID / 2
            points[count, 0], points[count, 1], points[count, 2] = down, right, 1.0
            wanted[count] = other[row, column]
            count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _standardised(numbers, count):
    """Makes the mean of the first `count` numbers 0; returns their standard deviation."""
    mean = 0.0
    for place in range(count):
        mean += numbers[place]
    mean /= count
    spread = 0.0
    for place in range(count):
        numbers[place] -= mean
        spread += numbers[place] ** 2
    return np.sqrt(spread / count)


@numba.njit(nogil=True, cache=True)
def _step(values, slopes, points, wanted, count, spread, gain):
    """The change of the map that takes the values closest to the wanted ones times `gain`, to first order."""
    normal, right, slope = np.zeros((6, 6)), np.zeros(6), np.empty(6)
    for place in range(count):
        for axis in range(2):
            for term in range(3):
                slope[3 * axis + term] = slopes[place, axis] * points[place, term]
        missing = wanted[place] * gain - values[place]
        for first in range(6):
            right[first] += slope[first] * missing
            for second in range(first, 6):
                normal[first, second] += slope[first] * slope[second]
    for first in range(6):
        # a picture that is flat along one direction would leave the system without a solution
        normal[first, first] += 1e-3 * count * spread**2
        for second in range(first):
            normal[first, second] = normal[second, first]
    return np.linalg.solve(normal, right).reshape(2, 3)
