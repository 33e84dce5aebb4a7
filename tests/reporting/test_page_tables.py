"""The page as readers get it: its size, its links, what its tables offer, and the words by which things are called."""

import re
from collections import Counter
from html.parser import HTMLParser

import pytest

from headwater.reporting.drawing import FORMATS
from headwater.stages.report import report
from headwater.study.wording import Wording, Words
from report_made import study

SOURCES = ("random", "wild_dino", "image_net", "more_dino", "more_net", "last_dino")
WORDING = Wording(
    sources={"wild_dino": Words(title="DINO on <photographs> & more", short="DINO_1 %")},
    labels={"Effusion": Words(title="Pleural fluid", short="Fluid"), "Edema": Words(title="Oedema")},
    datasets={"chest": Words(title="ChestX-ray14", short="CXR14")},
    recipes={"finetune": Words(title="Full fine-tuning")},
)


class Page(HTMLParser):
    """Its ids, links, headings of tables, and text outside scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.text, self.tables = [], [], [], []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside = tag
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag == "table":
            self.tables.append({"heads": [], "rows": 0, "folded": set()})
        if tag == "tr" and self.tables:
            self.tables[-1]["rows"] += 1
        if tag == "td" and "data-head" in given:
            self.tables[-1]["folded"].add(given["data-head"])

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.text.append(data)
        if self.inside == "th" and self.tables:
            self.tables[-1]["heads"].append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of 6 sources x 2 datasets x 5 seeds, with words for some of its things."""
    folder = tmp_path_factory.mktemp("study")
    strengths = {name: 0.3 + 0.2 * number for number, name in enumerate(SOURCES)}
    made = study(folder, strengths=strengths, seeds=tuple(range(5)), resamples=100)
    grid = made.grid.model_copy(update={"wording": WORDING})
    report(**made.arguments(grid=grid), folder=folder / "report")
    return folder / "report"


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "index.html").read_text())


@pytest.mark.slow
def test_the_page_of_sixty_trainings_is_below_three_megabytes(folder):
    assert 300_000 < (folder / "index.html").stat().st_size < 3_000_000


@pytest.mark.slow
def test_every_link_leads_somewhere_and_every_anchor_is_its_own(folder, page):
    assert [name for name, many in Counter(page.ids).items() if many > 1] == []
    inside = {link[1:] for link in page.links if link.startswith("#")}
    outside = {link for link in page.links if not link.startswith("#")}
    assert len(inside) > 15 and inside <= set(page.ids)
    assert len(outside) > 40 and [link for link in outside if not (folder / link).is_file()] == []
    # each table and figure is offered as a file
    files = {file.name for file in folder.iterdir()} - {"index.html", "summary.txt"}
    assert files <= outside, files - outside
    for svg in folder.glob("*.svg"):
        assert all(svg.with_suffix(f".{form}").is_file() for form in FORMATS)


@pytest.mark.slow
def test_each_cell_bears_the_heading_of_its_column_for_narrow_screens(page):
    assert len(page.tables) > 8
    for table in page.tables:
        assert table["rows"] > 1 and table["folded"] and table["folded"] <= set(table["heads"])


@pytest.mark.slow
def test_the_page_needs_no_network_and_tables_stand_without_their_script(folder):
    text = (folder / "index.html").read_text()
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text) and text.count("<script>") == 1
    # what the script adds is not there before: a reader without it sees no button that does nothing
    body = text.split("</style>")[1].split("<script>")[0]
    assert "<button" not in body and "aria-sort" not in body


@pytest.mark.slow
def test_things_are_called_by_their_titles_everywhere_but_in_csv_and_by_name(folder, page):
    text = " ".join(page.text)
    for name in ("wild_dino", "Edema", "finetune:"):
        assert name not in text, name
    for title in ("DINO on <photographs> & more", "DINO_1 %", "Pleural fluid", "Oedema", "ChestX-ray14"):
        assert title in text, title
    for file in [*folder.glob("*.md"), *folder.glob("*.tex"), *folder.glob("*.svg")]:
        if file.name not in ("columns.md", "numbers.tex"):
            assert "wild_dino" not in file.read_text() and "wild\\_dino" not in file.read_text(), file.name
    assert r"DINO on $<$photographs$>$ \& more" in (folder / "significance.tex").read_text()
    assert r"DINO\_1 \%" in (folder / "macro.tex").read_text()
    assert "DINO_1 %" in (folder / "forest_chest.svg").read_text() and "Fluid" in (folder / "roc_chest.svg").read_text()
    csv = (folder / "significance.csv").read_text()
    assert "wild_dino" in csv and "Edema" in csv and "DINO on" not in csv and "Oedema" not in csv
