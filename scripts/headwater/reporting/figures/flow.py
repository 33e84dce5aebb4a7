"""Flow: how many cases of each dataset were found, left out, learned from and tested, as STARD asks."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes

from headwater.core.text import many
from headwater.data.tables import SPLITS, is_mean
from headwater.reporting.artefacts import FigureCard
from headwater.reporting.drawing import INK, LOOK, WIDE, Drawing, paper
from headwater.reporting.results import StudyResults
from headwater.study.archive import Dataset

CARD = FigureCard(
    section="datasets",
    place=25,
    title="Flow of cases",
    caption="Flow of cases after STARD: found in the archive, left out, split, and tested.",
)

BOX = {"boxstyle": "square,pad=0.5", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8}
ARROW = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}


def make(study: StudyResults) -> dict[str, Drawing]:
    """The flow of each dataset."""
    return {dataset.name: drawn(steps(dataset, study)) for dataset in study.grid.datasets}


def steps(dataset: Dataset, study: StudyResults) -> dict[str, list[str]]:
    """The text of each box: `found`, `left_out`, the `parts` side by side, and what of the tested one is `tested`."""
    cases, rejected = study.cases[dataset.archive], len(study.rejects[dataset.archive])
    dropped = len(study.dropped[dataset.archive]) if dataset.archive in study.dropped else 0
    left_out = [f"unreadable: {rejected:,}"] + [f"dropped, as a test split has their like: {dropped:,}"] * bool(dropped)
    if dataset.splits:
        parts = [f"{dataset.splits.folds} folds\n{_counted(cases)}"]
    else:
        parts = [f"{split}\n{_counted(cases[cases['split'] == split])}" for split in SPLITS]
    rows = study.comparisons
    here = rows[(rows["dataset"] == dataset.name) & ~rows["label"].map(is_mean)].groupby("label")
    # a source alone is not tested, so that one row of a label does not tell
    tested, measured = here["tested"].any(), here["value"].count() > 0
    fates = {
        "tested": int(tested.sum()),
        "described only": int((measured & ~tested).sum()),
        "without a number": int((~measured).sum()),
    }
    # the index test are the networks, the reference standard the archive's labels
    said = [f"{many(number, 'label')} {fate}" for fate, number in fates.items() if number]
    return {
        "found": [f"found in the archive\n{many(len(cases) + rejected + dropped, 'case')}"],
        "left_out": left_out,
        "parts": parts,
        "tested": [f"{many(len(study.grid.fitted_to(dataset.name)), 'source')}, each network on all of these", *said],
    }


def _counted(cases: pd.DataFrame) -> str:
    return f"{many(len(cases), 'case')}, {many(cases['patient'].nunique(), 'patient')}"


def drawn(boxes: dict[str, list[str]]) -> Drawing:
    """A drawing of these boxes with arrows between them."""
    with mpl.rc_context(LOOK | {"svg.hashsalt": "flow"}):
        figure = paper(WIDE, 3.6)
        ax = figure.subplots()
        ax.set(xlim=(0, 1), ylim=(0, 1))
        ax.axis("off")
        parts = boxes["parts"]
        places = [(number + 0.5) / len(parts) for number in range(len(parts))]
        _box(ax, boxes["found"], (0.5, 0.97), va="top")
        _box(ax, ["left out", *boxes["left_out"]], (0.66, 0.72), ha="left")
        _arrow(ax, (0.5, 0.9), (0.5, 0.56))
        _arrow(ax, (0.5, 0.72), (0.65, 0.72))
        ax.plot([places[0], places[-1]], [0.56, 0.56], color=INK, linewidth=0.8)
        for words, place in zip(parts, places, strict=True):
            _arrow(ax, (place, 0.56), (place, 0.48))
            _box(ax, [words], (place, 0.46), va="top")
        _arrow(ax, (places[-1], 0.4), (places[-1], 0.24))
        _box(ax, boxes["tested"], (places[-1], 0.22), va="top")
        return Drawing(figure)


def _box(ax: Axes, lines: list[str], place: tuple[float, float], *, ha: str = "center", va: str = "center") -> None:
    ax.text(*place, "\n".join(lines), ha=ha, va=va, multialignment="center", fontsize=7.5, bbox=BOX, zorder=3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops=ARROW, zorder=1)
