"""Figures for papers: their width, their fonts, their dots, and that they can be told apart in grey."""

import io
import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from headwater.reporting import drawing
from headwater.reporting.drawing import COLOURS, DASHES, LOOK, NARROW, WIDE, Drawing, as_title, paper
from headwater.stages.report import report
from report_made import study

pytestmark = pytest.mark.every_format


def drawn(wide: float, words: str = "Ödem $x$ −0.3") -> Drawing:
    with mpl.rc_context(LOOK | {"svg.hashsalt": "test"}):
        figure = paper(wide, 2.0)
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1])
        ax.set_title(words)
        return Drawing(figure)


@pytest.mark.parametrize(("wide", "millimetres"), [(2.0, 89), (3.4, 89), (3.6, 183), (20.0, 183)])
def test_figures_have_the_width_of_one_column_or_of_two(wide, millimetres):
    made = drawn(wide)
    [box] = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) [\d.]+ \]", made.pdf)
    assert float(box) == pytest.approx(millimetres / 25.4 * 72, abs=0.01)
    png = Image.open(io.BytesIO(made.png))
    assert png.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert png.width == pytest.approx(millimetres / 25.4 * 300, abs=1)


def test_panels_of_a_fixed_aspect_are_where_further_drawings_leave_them():
    with mpl.rc_context(LOOK):
        figure = paper(WIDE, 5.7)
        axes = figure.subplots(2, 3).ravel()
        for ax in axes:
            ax.plot([0, 1], [0, 1], label="a source 0.577 [0.497, 0.652]")
            ax.set(aspect="equal", title="macro")
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12))
        figure.draw_without_rendering()
        first = [ax.get_position().bounds for ax in axes]
        made = Drawing(figure)
        assert made.svg
        places = [ax.get_position().bounds for ax in axes]
        figure.set_layout_engine("constrained")
        figure.draw_without_rendering()
        assert np.allclose(places, [ax.get_position().bounds for ax in axes], atol=1e-3)
        assert not np.allclose(places, first, atol=1e-2), "one drawing would do"


def test_a_title_is_no_wider_than_its_panel():
    assert as_title("Pneumothorax, scaled", inches=1.3) == "Pneumothorax,\nscaled"
    assert as_title("Pneumothorax, scaled") == "Pneumothorax, scaled"


def test_a_pdf_embeds_its_fonts_as_truetype():
    pdf = drawn(NARROW).pdf
    # each composite font refers to a descriptor with a TrueType file; Type 3 fonts are outlines that journals refuse
    assert b"/Type3" not in pdf and b"/Subtype /Type0" in pdf
    descriptors = pdf.count(b"/Type /FontDescriptor")
    assert descriptors > 0 and pdf.count(b"/FontFile2 ") == descriptors


def test_the_same_figure_gives_the_same_bytes():
    one, other = drawn(WIDE), drawn(WIDE)
    assert (one.svg, one.pdf, one.png) == (other.svg, other.pdf, other.png)


def test_each_colour_has_a_way_of_drawing_of_its_own():
    assert len(DASHES) == len(set(DASHES)) == len(COLOURS)
    assert set(drawing.FORMATS) == {"svg", "pdf", "png"}


def test_each_figure_of_a_report_is_there_in_every_format(tmp_path: Path):
    made = study(tmp_path, strengths={"random": 0.3, "dino": 1.2}, resamples=128)
    report(**made.arguments(), folder=tmp_path / "report")
    figures = {file.stem for file in (tmp_path / "report").glob("*.svg")}
    assert {"forest_macro", "roc_chest"} <= figures
    for name in figures:
        pdf, png = ((tmp_path / "report" / f"{name}.{form}").read_bytes() for form in ("pdf", "png"))
        assert pdf.startswith(b"%PDF-1") and b"/FontFile2 " in pdf and b"/Type3" not in pdf
        assert Image.open(io.BytesIO(png)).width in {round(wide * 300) for wide in (NARROW, WIDE)}
