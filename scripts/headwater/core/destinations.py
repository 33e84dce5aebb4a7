"""Destinations: text of configs and archives, written so that HTML, LaTeX, Markdown and spreadsheets show it as it is.

Each function takes any text, and gives back text that the destination shows as that text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

from headwater.core.characters import visible, visible_lines

if TYPE_CHECKING:
    import markupsafe
    import pandas as pd

# tables of text for people and spreadsheets

FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
"""Beginnings of a cell that spreadsheets take for a formula, also in their full-width forms, guarded or not."""

HARMLESS = re.compile(r"[+-](\d+\.?\d*|\.\d+)(e[+-]?\d+)?%?", re.IGNORECASE)
"""Numbers that begin like a formula."""

GUARD = "'"
"""What stands before a cell that would be a formula: spreadsheets take it for "this is text"."""


def for_csv(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe in front."""
    if isinstance(cell, str) and FORMULA.match(cell) and not HARMLESS.fullmatch(cell):
        return GUARD + cell
    return cell


def from_csv(cell: Any) -> Any:
    """A cell as it was before `for_csv`."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == GUARD and for_csv(cell[1:]) == cell else cell


def as_csv(frame: pd.DataFrame) -> str:
    """A table as CSV, without a formula in any cell."""
    guarded = {}
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        cells = list(map(for_csv, frame[name]))
        # other columns keep their type, and so the digits of their numbers
        if any(cell is not former for cell, former in zip(cells, frame[name], strict=True)):
            guarded[name] = cells
    return frame.assign(**guarded).rename(columns=for_csv).to_csv(index=False, lineterminator="\n")


# HTML

RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]+")
ISOLATED = re.compile(rf"{RIGHT_TO_LEFT.pattern}(?:[^\w<>&]*{RIGHT_TO_LEFT.pattern})*")
"""Words of a script that runs from right to left, with what stands between them."""

LEFT_TO_RIGHT = re.compile(r"[A-Za-z]")

LONG_WORD = re.compile(r"[^\s&;]{40}(?=[^\s&;]{20})")
"""The beginning of a word that would widen its whole column."""


def for_html(value: Any) -> Any:
    """A value of a template, escaped if it needs more than that.

    Words from right to left are isolated, so that they do not reorder what follows them; very long words may break.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    value = visible_lines(value)
    return _marked(value) if RIGHT_TO_LEFT.search(value) or LONG_WORD.search(value) else value


def _marked(text: str) -> markupsafe.Markup:
    # imported here, because pages for the terminal need not wait for it
    import markupsafe

    marked = LONG_WORD.sub(r"\g<0><wbr>", str(markupsafe.escape(text)))
    if LEFT_TO_RIGHT.search(text):
        return markupsafe.Markup(ISOLATED.sub(r"<bdi>\g<0></bdi>", marked))
    # a label of such words alone has their direction also where it ends in a number
    return markupsafe.Markup(f"<bdi>{marked}</bdi>" if RIGHT_TO_LEFT.search(text) else marked)


# Markdown

MARKS = re.compile(
    r"""
    [\\`~$|]                            # escapes, code, strokes, formulas, columns
    | (?<!\s)\* | \*(?=\S)              # emphasis; a star between blanks is none
    | (?<![^\W_])_ | _(?![^\W_])        # emphasis, but within a word none
    | <(?=[A-Za-z/!?])                  # HTML
    | &(?=\#?\w+;)                      # entities
    | !(?=\[) | \](?=[\[(:])            # images, links
    | ^(?:>|\#(?=[\s\#])|[+-](?=[\s-]))   # quotations, headings, lists
    """,
    re.VERBOSE,
)
"""Characters that would mark text up where they stand; elsewhere Markdown shows them as they are."""


def for_markdown(text: str) -> str:
    """Plain text as Markdown (CommonMark, with GitHub's tables and formulas)."""
    return MARKS.sub(r"\\\g<0>", visible(text))


# LaTeX

LATEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "–": "--", "−": "$-$"},
    **{"≤": r"$\leq$", "×": r"$\times$", "±": r"$\pm$", "√": r"$\surd$", "†": r"$\dagger$", "‡": r"$\ddagger$"},
    **{"∞": r"$\infty$", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
}
"""LaTeX for reserved characters, and for characters that its fonts lack or set as another."""

LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=[?!])(?=`)|(?<=')(?=')")
"""Between characters that LaTeX would join to another one."""

FOREIGN = re.compile(rf"[^ -~¡-ſ–—‘’“”•…‰€™{''.join(map(re.escape, LATEX))}]+|[«»ÐÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲųſ]+")
"""What pdflatex stops at, unless packages are loaded for it."""

LETTERS = "\\headwaterletters"
"""The command for these, and below its definition: xelatex and lualatex print them, pdflatex their code points."""

DEFINED = rf"\providecommand{{{LETTERS}}}[2]{{\ifdefined\pdfoutput[#2]\else#1\fi}}"


def for_latex(text: str) -> str:
    """Plain text as LaTeX, in which `LETTERS` must be defined if it is there."""
    parts = LIGATURES.split(visible(unicodedata.normalize("NFC", text)))
    return FOREIGN.sub(_letters, "{}".join("".join(LATEX.get(letter, letter) for letter in part) for part in parts))


def _letters(foreign: re.Match) -> str:
    codes = " ".join(f"U+{ord(letter):04X}" for letter in foreign[0])
    return f"{LETTERS}{{{foreign[0]}}}{{{codes}}}"
