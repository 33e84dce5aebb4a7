"""Overlays: what two sources outline in the cases in which they differ most, and in the one in the middle."""

import base64
from collections.abc import Sequence
from typing import NamedTuple

import markupsafe
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from headwater.core import text
from headwater.reporting.drawing import INK, LOOK, as_png
from headwater.reporting.page import rendered

PLANES = {"sagittal": (0, "front"), "coronal": (1, "right"), "axial": (2, "right")}
"""The axis that each plane is cut across, and where its right-hand side lies in the patient."""

MARKS = {"reference": "#e69f00", "first": "#56b4e9", "second": "#d55e00"}
"""Colours of the contours, on grey: of the reference, of the source and of the source that it is compared with."""

SHOWN = (0.5, 99.5)
"""Percentiles of a volume's values that are shown as black and white."""


class Chosen(NamedTuple):
    """A case that is shown, and how much better the source outlines it than the other one."""

    words: str
    case: str
    difference: float


class Overlay(NamedTuple):
    """A case on the grid of its source: arrays (x, y, z) in orientation RAS, with voxels of `spacing` millimetres."""

    image: np.ndarray
    reference: np.ndarray
    first: np.ndarray
    second: np.ndarray
    spacing: np.ndarray


class Shown(NamedTuple):
    """A case as the page shows it: its heading, what is said of it, and the picture."""

    heading: str
    said: str
    picture: markupsafe.Markup


class Part(NamedTuple):
    """What the page shows of one pair of sources under one recipe."""

    title: str
    cases: list[Shown]


def chosen(cases: Sequence[str], differences: np.ndarray) -> list[Chosen]:
    """The cases that are the best, in the middle and the worst for a source, by its differences (cases,) from another.

    Cases without a difference (NaN) are left out; of few cases none is shown twice.
    """
    known = np.flatnonzero(np.isfinite(differences))
    # stable, so that of equal differences the first case is taken on each machine
    order = known[np.argsort(-differences[known], kind="stable")]
    if not len(order):
        return []
    places = {0: "Most in favour", len(order) - 1: "Most against"}
    places |= {len(order) // 2: "In the middle"} if len(order) > 2 else {}
    return [Chosen(words, str(cases[order[at]]), float(differences[order[at]])) for at, words in sorted(places.items())]


def picture(overlay: Overlay, *, names: tuple[str, str]) -> markupsafe.Markup:
    """A PNG for a page: the planes of a volume, each where the two sources disagree in most voxels."""
    low, high = np.percentile(overlay.image, SHOWN)
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(9.6, 3.6), layout="constrained")
        shown = planes(overlay)
        for ax, plane in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            _plane(ax, overlay, plane=plane, low=low, high=max(high, low + 1e-6))
        lines = [Line2D([], [], color=colour) for colour in MARKS.values()]
        figure.legend(lines, ["reference", *names], loc="outside lower left", ncols=3, frameon=False)
        content = base64.b64encode(as_png(figure)).decode()
    return markupsafe.Markup(f'<img alt="" style="max-width: 100%" src="data:image/png;base64,{content}">')


def planes(overlay: Overlay) -> list[str]:
    """The planes in which a case is more than a line: of a picture only that which it lies in."""
    sides = overlay.image.shape
    return [plane for plane, (axis, _) in PLANES.items() if min(sides[:axis] + sides[axis + 1 :]) > 1]


def _plane(ax: Axes, overlay: Overlay, *, plane: str, low: float, high: float) -> None:
    """One plane, with the head or the front at the top."""
    axis, right = PLANES[plane]
    number = level(overlay, axis=axis)

    def cut(volume: np.ndarray) -> np.ndarray:
        return np.take(volume, number, axis=axis).T

    across, up = (each for each in range(3) if each != axis)
    # a pixel as wide and as high as its voxel
    ax.imshow(
        cut(overlay.image), cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest",
        aspect=overlay.spacing[up] / overlay.spacing[across],
    )  # fmt: skip
    for name, width in (("reference", 1.8), ("first", 1.1), ("second", 1.1)):
        outlined = cut(getattr(overlay, name))
        for structure in np.unique(outlined[outlined > 0]):
            _contour(ax, outlined == structure, colour=MARKS[name], width=width)
    ax.set_title(f"{plane}, slice {number + 1} of {overlay.image.shape[axis]}", fontsize=9, loc="left")
    ax.set_xlabel(f"to the {right}", color=INK)
    ax.set_xticks([])
    ax.set_yticks([])


def _contour(ax: Axes, inside: np.ndarray, *, colour: str, width: float) -> None:
    """The border of a structure in a slice, closed at the edges of the picture too."""
    # a contour needs two rows and columns, and has an end where it meets an edge
    framed = np.pad(inside.astype(float), 1)
    down, across = framed.shape
    ax.contour(np.arange(across) - 1, np.arange(down) - 1, framed, levels=[0.5], colors=[colour], linewidths=[width])


def level(overlay: Overlay, *, axis: int) -> int:
    """The slice across an axis in which two sources disagree in most voxels, or else that which shows most."""
    others = tuple(each for each in range(3) if each != axis)
    for shown in (overlay.first != overlay.second, (overlay.reference > 0) | (overlay.first > 0)):
        if shown.any():
            return int(shown.sum(axis=others).argmax())
    return overlay.image.shape[axis] // 2


def said(case: Chosen, *, dice: tuple[float, float], drawn: tuple[float, float], seeds: Sequence[int]) -> str:
    """What is said of a case: Dice of both sources, means over structures and seeds, and of the seed that is drawn."""
    first, second, of_first, of_second = (text.plain(value, digits=3) for value in (*dice, *drawn))
    told = f"Case {case.case}: mean Dice {first} against {second}"
    if len(seeds) == 1:
        return f"{told}."
    return f"{told}, over {len(seeds)} seeds; drawn is seed {seeds[0]}, with {of_first} against {of_second}."


def page(dataset: str, parts: list[Part]) -> str:
    """One file for a browser, which needs neither network nor other files."""
    return rendered("overlays.html", dataset=dataset, parts=parts)
