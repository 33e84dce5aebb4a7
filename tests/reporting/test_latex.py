"""Tables in LaTeX: a table that is too wide is split into several without losing a cell."""

import re
import shutil
import subprocess
from itertools import accumulate

import pandas as pd
import pytest

from headwater.reporting import formatting
from headwater.stages.report import report
from report_made import study

EVERYTHING = {
    "strengths": {"random": 0.3, "wild_dino": 1.4, "image_net": 0.8, "radiographs_supervised": 1.0},
    "metrics": ("auroc", "average_precision"),
    "recipes": ("finetune", "probe"),
    "margin": 0.01,
    "correction": "max_t",
    "method": "published",
    "resamples": 1000,
    "subsets": {"shared_with_mimic": {"chest": ("Atelectasis",)}},
}
PLAIN = {"strengths": {"random": 0.3, "wild_dino": 1.4}}


@pytest.fixture(scope="module", params=[PLAIN, EVERYTHING], ids=["plain", "everything"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        report(**study(place, **request.param).arguments(), folder=place / "report")
    return place / "report"


def texts(folder) -> dict[str, str]:
    return {file.stem: file.read_text() for file in folder.glob("*.tex") if file.stem != "numbers"}


def test_every_line_has_the_columns_of_its_table_and_braces_close(folder):
    for name, text in texts(folder).items():
        for layout, body in re.findall(r"\\begin{longtable}{((?:[lr]|p{4cm})+)}\n(.*?)\\end{longtable}", text, re.S):
            columns = len(re.sub(r"p{4cm}", "p", layout))
            rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
            assert len(rows) > 2 and {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {columns - 1}, name
        plain = re.sub(r"\\\\|\\[{}]", "", text)  # without line breaks and braces that are printed
        depths = list(accumulate({"{": 1, "}": -1}.get(sign, 0) for sign in plain))
        assert min(depths) == 0 and depths[-1] == 0, name


def test_each_part_says_what_its_rows_are_and_together_they_are_the_table():
    telling = {"Dataset": ["chest"], "Label": ["Pneumothorax"], "Source": ["radiographs_supervised"]}
    numbers = {f"number {at}": ["0.123 ± 0.456 [0.111, 0.222]"] for at in range(20)}
    table = pd.DataFrame(telling | numbers | {"Note": ["a word"]})
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    pages = formatting._pages(table, bold)
    assert len(pages) > 1 and all(page[:3] == list(telling) and len(page) > 3 for page in pages)
    assert [column for page in pages for column in page[3:]] == [*numbers, "Note"]
    widths = [sum(formatting._width(column, table[column], strong=False) for column in page) for page in pages]
    assert max(widths) <= formatting.PAGE
    text = formatting.as_latex(table, bold=bold, name="x", before=[], after=["the end"])
    assert text.count(r"\begin{longtable}") == len(pages) == text.count("Further columns") + 1
    assert text.index("the end") > text.rindex(r"\end{longtable}")


def test_a_table_that_fits_is_one_and_a_column_that_fits_nowhere_stands_alone():
    table = pd.DataFrame({"Source": ["random"], "Value": ["0.5"], "Long": ["x" * 500], "Last": ["1"]})
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    assert formatting._pages(table[["Source", "Value"]], bold) == [["Source", "Value"]]
    assert formatting._pages(table, bold) == [["Source", "Value"], ["Source", "Long"], ["Source", "Last"]]


@pytest.mark.slow
@pytest.mark.parametrize("paper", ["a4paper", "letterpaper"])
def test_no_table_is_wider_than_its_page(folder, tmp_path, paper):
    if not shutil.which("pdflatex") or subprocess.run(["kpsewhich", "pdflscape.sty"], capture_output=True).returncode:
        pytest.skip("pdflatex with pdflscape is not installed")
    for name, text in texts(folder).items():
        head = rf"\documentclass[{paper}]{{article}}\usepackage{{booktabs, longtable, pdflscape}}\begin{{document}}"
        page = tmp_path / f"{name}.tex"
        page.write_text(rf"{head}\begin{{landscape}}{text}\end{{landscape}}\end{{document}}")
        call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", page.name]
        for _ in range(2):  # the second time it knows how wide the columns are
            done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stdout[-2000:]
        assert "Overfull \\hbox" not in done.stdout, name


def test_a_table_without_a_row_has_its_headings():
    table = pd.DataFrame({"Dataset": [], "AUROC": []})
    bold = pd.DataFrame({"Dataset": [], "AUROC": []}, dtype=bool)
    text = formatting.as_latex(table, bold=bold, name="x", before=[], after=["nothing was told"])
    assert "Dataset & AUROC" in text and "nothing was told" in text
