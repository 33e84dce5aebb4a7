"""Drawing: the style of all figures, their widths on paper, and reproducible SVG, PDF and PNG files."""

import io
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from headwater.core.characters import visible
from headwater.study.grid import Grid

INK, RULE = "#1b2430", "#c8ced8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colours, which colour-blind readers can distinguish as well."""
DASHES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.2, 1.2, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (2.4, 2.4)),
)
"""A way of drawing lines for each colour, so that curves can be told apart in grey."""

FORMATS = ("svg", "pdf", "png")
"""The formats of every figure."""

NARROW, WIDE = 89 / 25.4, 183 / 25.4
"""Inches of one column and of two, as in most journals: 89 and 183 mm."""

DOTS = 300
"""Dots per inch of a PNG."""

DRAWINGS = 3
"""Drawings after which no panel moves any more."""

LOOK = {
    "svg.fonttype": "none",
    # fonts as TrueType within the file: journals refuse the outlines of Type 3
    "pdf.fonttype": 42,
    # a label with two $ is no formula
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 8.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}


def palette(sources: list[str]) -> dict[str, str]:
    """A colour for each source, the same in all figures."""
    return {source: COLOURS[position % len(COLOURS)] for position, source in enumerate(sources)}


def colours_of(grid: Grid) -> dict[str, str]:
    """The colour of each source of a study, controls included."""
    return palette([source.name for source in grid.sources])


def behind(recipe: str, grid: Grid) -> str:
    """The recipe as the end of a heading, if the study has several."""
    return f", {grid.wording.short('recipes', recipe)}" if len(grid.recipes) > 1 else ""


def paper(wide: float, high: float) -> Figure:
    """An empty figure of one column's width, where at least so many inches fit one, else of two; `high` in inches."""
    return Figure(figsize=(NARROW if wide <= NARROW else WIDE, high), layout="constrained")


@dataclass(frozen=True)
class Drawing:
    """A finished figure, written in each format when it is asked for; made where its style is set."""

    figure: Figure
    look: dict[str, Any] = field(default_factory=lambda: dict(mpl.rcParams))

    @cached_property
    def svg(self) -> str:
        """Without a background, for pages."""
        # without date and creator here and below, so that the same figure gives the same bytes
        svg = self._saved("svg", transparent=True, metadata={"Date": None, "Creator": None}).decode()
        return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"

    @cached_property
    def pdf(self) -> bytes:
        """With its fonts embedded, for papers."""
        return self._saved("pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})

    @cached_property
    def png(self) -> bytes:
        """At 300 dots per inch."""
        return self._saved("png", dpi=DOTS, metadata={"Software": None})

    def _saved(self, form: str, **how: Any) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(self.look), _any_letters():
            self._settled.savefig(buffer, format=form, **how)
        return buffer.getvalue()

    @cached_property
    def _settled(self) -> Figure:
        """The figure with everything at its place, the same in each format.

        Constrained layout moves panels of a fixed aspect once more at each drawing; the first would cut titles off.
        """
        for _ in range(DRAWINGS):
            self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        return self.figure


def as_png(figure: Figure) -> bytes:
    """The figure as PNG: of photographs, which an SVG would hold as one."""
    buffer = io.BytesIO()
    with _any_letters():
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _any_letters() -> Iterator[None]:
    """No warning of letters that our fonts lack: an SVG is drawn by the fonts of its reader."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def inlined(svg: str, *, name: str, title: str) -> str:
    """An SVG to embed in a page, with colours that follow the page's light or dark theme and an accessible title."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # in the tags only: a label may hold the same characters
    svg = re.sub(r"<[^>]*>", lambda tag: _inlined_tag(tag[0], name=name), svg)
    # scaled to the page's width instead of the figure's
    svg = re.sub(r'<svg ([^>]*?)width="([\d.]+)pt"', r'<svg \1style="max-width: \2pt"', svg, count=1)
    svg = re.sub(r'height="[\d.]+pt" ', "", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def _inlined_tag(tag: str, *, name: str) -> str:
    """A tag of an SVG with ids of its own, because several figures share the page, and the page's colours."""
    tag = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", tag)
    return tag.replace(INK, "currentColor").replace(RULE, "var(--rule)").replace("#ffffff", "var(--ground)")


LONGEST_LINE = 36
"""Characters of the title of a panel on one line."""

ABOVE, BESIDE = 2.2, 4.2
"""Inches of text that fit above a small panel, and beside the panels of a figure."""


def as_title(words: str, *, inches: float = ABOVE) -> str:
    """Text from a config or an archive above a small panel: in several lines where one is wider than the panel."""
    lines, longest = [visible(words)], LONGEST_LINE
    while longest > 8 and _width(lines) > inches:
        lines, longest = textwrap.wrap(visible(words), longest), longest - 1
    return "\n".join(lines)


def growth(lines: Iterable[str]) -> float:
    """The inches by which a figure must be wider for these lines beside its panels."""
    return max(0.0, _width(lines) - BESIDE)


def _width(lines: Iterable[str]) -> float:
    """The width of the widest line in inches, if it is bold."""
    font = FontProperties(size=LOOK["font.size"], weight="bold")
    with _any_letters():
        return max((TextPath((0, 0), line, prop=font).get_extents().width / 72 for line in lines if line), default=0.0)
