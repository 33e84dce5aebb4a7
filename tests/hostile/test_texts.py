"""Text from outside, character by character: each destination shows exactly it, whatever it holds."""

import html
import html.parser
import io
import re
import shutil
import subprocess
import unicodedata
import warnings
from xml.etree import ElementTree

import matplotlib as mpl
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from headwater.core import characters, destinations, page, text
from headwater.core.destinations import DEFINED, FOREIGN, LETTERS
from headwater.core.errors import UserError
from headwater.reporting import drawing, formatting
from headwater.reporting.page import one_table
from headwater.reporting.printed_table import PrintedTable, plain
from texts_made import ACCEPTED, ALIKE, REFUSED, drawn

each = pytest.mark.parametrize("label", ACCEPTED, ids=ascii)
any_text = st.text(st.characters(codec="utf-8"), max_size=30)


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "h1", "p", "div"),
    *("table", "thead", "tbody", "tr", "th", "td", "bdi", "wbr"),
    # the legend of columns, and the script that sorts
    *("details", "summary", "dl", "dt", "dd", "script"),
}


class Words(html.parser.HTMLParser):
    """The text of each cell and heading of an HTML page, and the names of its tags."""

    def __init__(self, source: str):
        super().__init__()
        self.cells, self.tags, self.inside = [], set(), False
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.inside = True
            self.cells.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, words):
        if self.inside:
            self.cells[-1] += words


def table_of(*labels: str) -> PrintedTable:
    shown = pd.DataFrame({"Label": labels, "AUROC": "0.5"})
    return PrintedTable(title="x", shown=shown, bold=plain(shown), exact=shown, warnings=[*labels], notes=[*labels])


def in_html(label: str) -> str:
    source = one_table(table_of(label))
    words = Words(source)
    assert words.tags <= TAGS
    return words.cells[2]


def in_page(label: str) -> str:
    made = page.Page(title=label, summary=[label], parts=[("x", pd.DataFrame({"Label": [label]})), ("y", [label])])
    return Words(page.as_html(made)).cells[1]


def in_markdown(label: str) -> str:
    markdown_it = pytest.importorskip("markdown_it")
    source = formatting.markdown_page(table_of(label)).partition("\n\n")[2]
    rendered = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source)
    return Words(rendered).cells[2]


COMMANDS = {
    **{"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textbar": "|", "textasciigrave": "`"},
    **{"leq": "≤", "times": "×", "pm": "±", "surd": "√", "dagger": "†", "ddagger": "‡", "infty": "∞"},
}


def from_latex(source: str) -> str:
    """What LaTeX would print, by rules of its own; a sign that would mean something else ends the test."""
    tokens = re.compile(
        rf"(?P<letters>{re.escape(LETTERS)}\{{(?P<kept>[^}}]*)\}}\{{[U+0-9A-F ]*\}})|\\(?P<name>[a-z]+)(?:\{{\}})?"
        r"|\$(?P<sign>[<>−-])\$|\$\\(?P<math>[a-z]+)\$|\\(?P<escaped>[{}&%$#_])|(?P<nothing>\{\})|(?P<dash>--)"
        r"|(?P<plain>[^\\{}&%$#_~^|`])",
        re.DOTALL,
    )
    printed, at = "", 0
    while at < len(source):
        found = tokens.match(source, at)
        assert found, f"{source!r} from {at}: means something else"
        at = found.end()
        name = found["name"] or found["math"]
        if found["letters"]:
            printed += found["kept"]
        elif name:
            printed += COMMANDS[name]
        elif found["dash"]:
            printed += "–"
        else:
            printed += (found["sign"] or "").replace("-", "−") + (found["escaped"] or "") + (found["plain"] or "")
    return printed


def in_figure(label: str) -> str:
    with mpl.rc_context(drawing.LOOK):
        figure = Figure(figsize=(2, 2))
        figure.subplots().set_title(drawing.as_title(label))
        svg = drawing.Drawing(figure).svg
    inlined = drawing.inlined(svg, name="roc", title=html.escape(label))
    for source in (svg, inlined):
        # a title over several lines is several elements
        words = [
            "".join(node.itertext())
            for node in ElementTree.parse(io.StringIO(source)).iter()
            if node.tag[-4:] == "text"
        ]
        assert any("".join(label.split()) in "".join("".join(part).split()) for part in ("".join(words),)), words
    return label


@each
def test_html_has_the_text_and_no_tag_of_it(label: str):
    assert in_html(label) == label == in_page(label)


@each
def test_markdown_has_the_text(label: str):
    assert in_markdown(label) == label


@each
def test_latex_prints_the_text(label: str):
    assert from_latex(destinations.for_latex(label)) == unicodedata.normalize("NFC", label)


@each
def test_a_figure_has_the_text_and_nobody_is_warned(label: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_figure(label) == label


def test_a_table_of_all_labels_is_read_again_and_holds_no_formula():
    table = pd.DataFrame({"label": ACCEPTED, "=value": 0.5, "count": range(len(ACCEPTED))})
    table["mixed"] = pd.Series([None, 1, *ACCEPTED[2:]], dtype=object)
    written = destinations.as_csv(table)
    again = pd.read_csv(io.StringIO(written), dtype=str, keep_default_na=False)
    assert again["label"].map(destinations.from_csv).tolist() == list(ACCEPTED)
    assert again.columns[1] == "'=value"
    formulas = [
        cell for cell in again.to_numpy().ravel() if cell[:1] in {*"=+-@＝"} and not re.fullmatch(r"-?[\d.]+", cell)
    ]
    assert formulas == []
    assert again["label"][ACCEPTED.index("=SUM(A1)")] == "'=SUM(A1)" and "-0.5" in set(again["label"])


def test_ordinary_tables_are_the_csv_that_pandas_writes():
    table = pd.DataFrame({"label": ["Nodule", "Pleural_Thickening"], "value": [0.1, float("nan")], "seeds": [1, 2]})
    assert destinations.as_csv(table) == table.to_csv(index=False, lineterminator="\n")


@settings(max_examples=200)
@given(any_text)
@example("\\|")
@example("a\\`b")
def test_any_text_at_all_stays_text(label: str):
    shown = characters.visible(label)
    assert shown.isprintable() and (shown == label or not label.isprintable())
    assert characters.flaw(label) or shown == label
    assert in_page(label).strip() == "\n".join(map(characters.visible, label.split("\n"))).strip()
    assert " ".join(in_markdown(shown).split()) == " ".join(shown.split())
    assert from_latex(destinations.for_latex(label)) == characters.visible(unicodedata.normalize("NFC", label))
    assert destinations.from_csv(destinations.for_csv(label)) == label
    assert not re.match(r"[=@\t\r]", destinations.for_csv(label))
    assert "\n" not in str(UserError(label)) and str(UserError(label)).isprintable()
    assert text.as_text(pd.DataFrame({"Label": [shown]})).count("\n") == 2


@pytest.mark.parametrize(("label", "why"), REFUSED.items(), ids=lambda word: ascii(word)[:30])
def test_what_cannot_be_shown_is_named(label: str, why: str):
    if "reserved" not in why:
        assert re.search(why, characters.flaw(label))
    assert characters.quoted(label).isprintable() and len(characters.quoted(label)) < 110


def test_labels_that_look_alike_are_found_and_others_are_not():
    for pair in ALIKE:
        assert list(characters.alike(pair)) == [pair]
    assert list(characters.alike(ACCEPTED)) == []


def test_latex_letters_that_pdflatex_lacks_are_set_apart():
    assert destinations.for_latex("Ödem éÿ ½ – “x”") == "Ödem éÿ ½ -- “x”"
    assert destinations.for_latex("结节 2") == LETTERS + "{结节}{U+7ED3 U+8282} 2"
    assert FOREIGN.fullmatch("Ę") and not FOREIGN.search("Š")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_prints_all_labels(tmp_path):
    # an array of one column, where a label may follow the end of a row
    rows = "\\\\\n".join(formatting._chosen(label) for label in (*ACCEPTED, *drawn(200)))
    source = f"{DEFINED}\\begin{{document}}\\begin{{tabular}}{{l}}{rows}\\end{{tabular}}\\end{{document}}"
    (tmp_path / "all.tex").write_text(f"\\documentclass{{article}}{source}", encoding="utf-8")
    call = ["pdflatex", "-draftmode", "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
