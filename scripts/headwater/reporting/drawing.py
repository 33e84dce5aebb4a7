"""Drawing: the style of all figures, and reproducible SVG files."""

import io
import re

from matplotlib.figure import Figure

from headwater.study.grid import Grid

INK, RULE = "#1b2430", "#c8ced8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Okabe and Ito's colours, which colour-blind readers can distinguish as well."""
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)))

LOOK = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
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
    return f", {recipe}" if len(grid.recipes) > 1 else ""


def as_svg(figure: Figure) -> str:
    """The figure as SVG without a background."""
    buffer = io.StringIO()
    # without date and creator, so that the same figure gives the same bytes
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def inlined(svg: str, *, name: str, title: str) -> str:
    """An SVG to embed in a page, with colours that follow the page's light or dark theme and an accessible title."""
    svg = svg[svg.index("<svg") :]
    # several figures share the page, so their ids need a prefix
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace(INK, "currentColor").replace(RULE, "var(--rule)").replace("#ffffff", "var(--ground)")
    # scaled to the page's width instead of the figure's
    svg = re.sub(r'<svg ([^>]*?)width="([\d.]+)pt"', r'<svg \1style="max-width: \2pt"', svg, count=1)
    svg = re.sub(r'height="[\d.]+pt" ', "", svg, count=1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
