"""The report's page as a browser shows it: no text is cut off, each link leads somewhere, and a keyboard is enough."""

import re
import urllib.parse
from pathlib import Path

import pytest

import browser
from archives_made import SAMPLES
from headwater.stages.report import report
from report_made import study
from reporting.test_range import REAL, real_cases

CUT_OFF = """[...document.querySelectorAll("body *")].flatMap((element) => {
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    const style = getComputedStyle(element), shown = element.getBoundingClientRect();
    const hidden = "script, style, title, details:not([open]) > :not(summary)";
    if (!own.length || style.visibility !== "visible" || !shown.width || element.closest(hidden)) return [];
    const drawing = element.closest("svg");
    if (drawing) {
        const frame = drawing.getBoundingClientRect();
        // a font's box is higher than its letters
        const above = shown.height / 4, edges = [frame.top - shown.top - above, shown.bottom - frame.bottom - above];
        const out = [frame.left - shown.left, shown.right - frame.right, ...edges];
        return Math.max(...out) > 1 ? [`${element.textContent.trim()} in ${drawing.closest("figure").id}`] : [];
    }
    const range = document.createRange();
    range.selectNodeContents(element);
    const text = range.getBoundingClientRect();
    for (let box = element; box && box !== document.body; box = box.parentElement) {
        const how = getComputedStyle(box), frame = box.getBoundingClientRect();
        // the heads of a table that stand in its cells on a phone: for screen readers only
        if (how.clipPath !== "none") return [];
        if (how.overflowX === "visible" && how.overflowY === "visible") continue;
        // what can be scrolled to is not cut off
        if (["auto", "scroll"].includes(how.overflowX)) break;
        const out = [text.right - frame.right, frame.left - text.left, text.bottom - frame.bottom];
        if (Math.max(...out) > 1) return [element.textContent.trim()];
    }
    return [];
})"""
"""The texts that do not fit into what shows them."""

LINKS = "[...document.querySelectorAll('a[href]')].map((one) => one.getAttribute('href'))"

TABLE = "document.querySelector('.filter + .scroll table')"
"""The first table that has a filter."""

SHOWN = "(row) => !row.hidden && !row.classList.contains('remark')"

FIRST = f"[...{TABLE}.tBodies[0].rows].filter({SHOWN}).map((row) => row.cells[0].textContent.trim())"
"""The cells of its first column that are shown."""


@pytest.fixture(scope="module", params=["made", "real"])
def page(request, tmp_path_factory) -> Path:
    """The page of a study of made labels, or of those of real patients."""
    of = {}
    if request.param == "real":
        if not REAL.is_dir():
            pytest.skip(f"{SAMPLES} is not there")
        of = {"chest": real_cases()}
    folder = tmp_path_factory.mktemp("study")
    made = study(folder, strengths={"random": 0.3, "dino": 1.2, "wild": 0.8}, seeds=(0, 1, 2), of=of, resamples=256)
    report(**made.arguments(), folder=folder / "report")
    return folder / "report" / "index.html"


@pytest.fixture(scope="module")
def tab():
    with browser.page() as one:
        yield one


@browser.needed
@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_no_text_is_cut_off_and_the_page_is_as_wide_as_its_window(page, tab, width):
    tab.open(page, width=width)
    assert tab.value(CUT_OFF) == []
    assert tab.value("document.documentElement.scrollWidth") <= width


@browser.needed
@pytest.mark.slow
def test_each_link_leads_to_a_file_or_a_place_of_the_page(page, tab):
    tab.open(page, width=1400)
    links = tab.value(LINKS)
    assert len(links) > 50
    broken = []
    for link in links:
        path, _, place = link.partition("#")
        if re.match(r"https?:|data:", link):
            continue
        if path and not (page.parent / urllib.parse.unquote(path)).is_file():
            broken.append(link)
        if place and not path and not tab.value(f"!!document.getElementById({urllib.parse.unquote(place)!r})"):
            broken.append(link)
    assert broken == []


@browser.needed
@pytest.mark.slow
def test_a_table_is_sorted_and_filtered_by_the_keyboard(page, tab):
    tab.open(page, width=1400)
    before = tab.value(FIRST)
    tab.value(f"{TABLE}.tHead.rows[0].cells[0].querySelector('button').focus()")
    tab.press("Enter")
    ascending = tab.value(FIRST)
    assert tab.value(f"{TABLE}.tHead.rows[0].cells[0].getAttribute('aria-sort')") == "ascending"
    assert ascending == sorted(before, key=str.lower) and sorted(ascending) == sorted(before)
    tab.press("Enter")
    assert tab.value(FIRST) == sorted(before, key=str.lower, reverse=True) != ascending
    tab.press("Enter")
    assert tab.value(FIRST) == before

    # the filter is the stop before the heads
    tab.value(f"{TABLE}.closest('.scroll').previousElementSibling.querySelector('input').focus()")
    word = before[-1]
    for letter in word.lower():
        tab.press(letter)
    shown = tab.value(FIRST)
    # the macro's remark names the labels that it is without
    assert word in shown and len(shown) < len(before) and {*shown} <= {word, "macro"}
    # the next stop is the table, which arrow keys scroll
    tab.press("Tab")
    tab.press("Tab")
    assert tab.value("document.activeElement.closest('th') !== null"), "the heads come after the filter"
