"""Formatting: comparisons as printed tables in plain text, Markdown, LaTeX and HTML."""

import math
import re
import textwrap
from typing import Any

import pandas as pd

from headwater.core import registry
from headwater.core.destinations import DEFINED, FOREIGN, LATEX, LETTERS, for_latex, for_markdown
from headwater.core.text import LEFT, NONE, align, p_value, plain
from headwater.data import cards
from headwater.reporting.printed_table import PrintedTable
from headwater.study.archive import Dataset
from headwater.study.grid import Grid

CONTROL_FAILED, FEW = " †", " ‡"
"""Marks of a dataset on which a control failed, and of a label that few patients have."""


DETAILS = ("df", "Percentile p", "Effect", "Superiority")
"""Columns that only the table of all comparisons shows."""


def titles(grid: Grid) -> dict[str, str]:
    """The title of each metric."""
    return {metric: title(metric, grid) for metric in grid.comparing.metrics}


def title(metric: str, grid: Grid) -> str:
    """The title of a metric; of distances with the unit that they have in this study."""
    words = registry.load("metrics", metric).TITLE
    return words.format(unit=_unit(metric, grid)) if "{unit}" in words else words


def _unit(metric: str, grid: Grid) -> str:
    """What a metric's distances are in; where datasets differ, which of them are in pixels."""
    units = {dataset.name: unit_of(dataset, grid) for dataset in grid.datasets if dataset.fitting([metric])}
    if len(set(units.values())) < 2:
        return next(iter(units.values()), "mm")
    return (
        f"mm; pixels in {', '.join(grid.wording.title('datasets', name) for name in units if units[name] == 'pixels')}"
    )


def unit_of(dataset: Dataset, grid: Grid) -> str:
    """What distances in a dataset's images are in: mm, or pixels where nothing tells millimetres."""
    return cards.card(grid.archive(dataset.archive)).unit


def headings(grid: Grid) -> dict[str, str]:
    """The title of each metric above a panel of a figure, which says where lower values are better."""
    lower = {metric: registry.load("metrics", metric).BETTER == "lower" for metric in grid.comparing.metrics}
    return {metric: title + ", lower is better" * lower[metric] for metric, title in titles(grid).items()}


def digits(metric: str) -> int:
    """The decimals of a metric in tables."""
    return registry.constant("metrics", metric, "DIGITS", default=3)


def covers(grid: Grid) -> str:
    """The heading of intervals in brackets."""
    return f"[{100 * (1 - grid.comparing.level):g}% CI]"


def readable(rows: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """The corrected comparisons as text and rounded numbers.

    Metric and recipe are shown if there is more than one; the note is in the first row of its label, and where it
    differs from the one above.
    """
    lines = list(rows.itertuples())
    metrics, called = titles(grid), grid.wording.title
    notes = pd.Series([note_of(row, grid) for row in lines], rows.index, dtype=object)
    columns = {
        "Dataset": [dataset_of(row, grid) for row in lines],
        "Metric": [metrics[row.metric] for row in lines],
        "Recipe": [called("recipes", row.recipe) for row in lines],
        "Label": [label_of(row, grid) for row in lines],
        "Source": [called("sources", row.source) for row in lines],
        "Compared with": [called("sources", row.reference) or NONE for row in lines],
        **_numbers(lines, grid),
        **(_margin(lines, grid.comparing.margin) if grid.comparing.margin else {}),
        **(_published(lines) if grid.comparing.method == "published" else {}),
        **({"Ceiling": [plain(row.ceiling, digits=3) for row in lines]} if "ceiling" in rows else {}),
        "Patients": rows["patients"].astype(str).tolist(),
        "Seeds": [f"{row.seeds}{_folds(row, grid)}" for row in lines],
        "Resamples": rows["resamples"].astype(str).tolist(),
        "Note": notes.where(opens_group(rows) | (rows["note"] != rows["note"].shift()), "").tolist(),
    }
    return pd.DataFrame(columns).drop(columns=single(grid))


def _folds(row: Any, grid: Grid) -> str:
    """In how many folds each seed was fitted; nothing where there is a test split."""
    folds = grid.dataset(row.dataset).splits
    return f" in {folds.folds} folds" if folds else ""


def single(grid: Grid) -> list[str]:
    """Columns with a single value in the study, which no table shows."""
    columns = (("Metric", grid.comparing.metrics), ("Recipe", grid.recipes))
    return [name for name, values in columns if len(values) == 1]


def dataset_of(row: Any, grid: Grid, *, short: bool = False) -> str:
    """The dataset of a comparison as it is called, marked if a control failed."""
    called = grid.wording.short if short else grid.wording.title
    return called("datasets", row.dataset) + (CONTROL_FAILED if row.controls.startswith("failed") else "")


def place_of(row: Any, grid: Grid) -> str:
    """Where a comparison is made, in a sentence: dataset, recipe if there are several, and metric."""
    called = grid.wording.title
    recipe = [called("recipes", row.recipe)] if len(grid.recipes) > 1 else []
    return ", ".join([called("datasets", row.dataset), *recipe, title(row.metric, grid)])


def label_of(row: Any, grid: Grid, *, short: bool = False) -> str:
    """The label of a comparison as it is called, marked if few patients have it."""
    return (grid.wording.short if short else grid.wording.title)("labels", row.label) + (FEW if row.few else "")


NAMING = ("mean of ", "without ", "interval without width: ")
"""Beginnings of the parts of a note that name labels or sources."""


def note_of(row: Any, grid: Grid) -> str:
    """The note of a comparison, in which labels and sources are called as in the tables."""
    entries = {**grid.wording.labels, **grid.wording.sources}
    if not entries:
        return row.note
    # the longest first, as one name may hold another
    either = "|".join(map(re.escape, sorted(entries, key=len, reverse=True)))
    word = re.compile(rf"(?<![\w-])({either})(?![\w-])")

    def called(part: str) -> str:
        return word.sub(lambda name: entries[name[1]].title or name[1], part) if part.startswith(NAMING) else part

    return "; ".join(map(called, row.note.split("; ")))


def _numbers(lines: list[Any], grid: Grid) -> dict[str, list[str]]:
    """The columns of values, differences and p-values."""
    metrics = titles(grid)
    value = next(iter(metrics.values())) if len(metrics) == 1 else "Value"
    return {
        f"{value} ± SE {covers(grid)}": [
            with_error(row.value, row.value_se, row.value_low, row.value_high, digits=digits(row.metric))
            for row in lines
        ],
        f"Difference ± SE {covers(grid)}": [
            with_error(*difference_of(row), sign="+", digits=digits(row.metric)) for row in lines
        ],
        "df": [NONE if math.isnan(row.difference) else degrees(row.degrees_of_freedom) for row in lines],
        "p": [p_value(row.p, floor=floored(row, "p")) for row in lines],
        "Adjusted p": [adjusted(row) + (" *" if row.significant else "") for row in lines],
        "Percentile p": [p_value(row.p_percentile, floor=floored(row, "p_percentile")) for row in lines],
        "Effect": [plain(row.effect, sign="+", digits=2) for row in lines],
        "Superiority": [plain(row.superiority, digits=2) for row in lines],
    }


def difference_of(row: Any) -> tuple[float, float, float, float]:
    """The difference of a comparison, its standard error, and the ends of its interval."""
    return row.difference, row.difference_se, row.difference_low, row.difference_high


def _margin(lines: list[Any], margin: float) -> dict[str, list[str]]:
    """Adjusted p against the margin, and the claims that they support."""
    return {
        "Non-inferiority p": [
            p_value(row.p_noninferior_adjusted) + (f", not worse by {margin:g}" if row.noninferior else "")
            for row in lines
        ],
        "Equivalence p": [
            p_value(row.p_equivalent_adjusted) + (f", equivalent within {margin:g}" if row.equivalent else "")
            for row in lines
        ],
    }


def _published(lines: list[Any]) -> dict[str, list[str]]:
    """The same by the published study's method."""
    return {
        "Published: value ± SD": [
            mean_and_sd(row.published_value, row.published_sd, digits=digits(row.metric)) for row in lines
        ],
        "Published: reference ± SD": [
            mean_and_sd(row.published_reference, row.published_reference_sd, digits=digits(row.metric)) for row in lines
        ],
        "Published: p": [published_p(row.published_p) for row in lines],
    }


def opens_group(rows: pd.DataFrame) -> pd.Series:
    """Whether a row is the first of its dataset, metric, recipe and label."""
    group = rows[["dataset", "metric", "recipe", "label"]]
    return (group != group.shift()).any(axis=1)


# numbers


def estimate(value: float, low: float, high: float, *, sign: str = "", digits: int = 3) -> str:
    """A number to so many decimals with its interval, if it has one."""
    if math.isnan(value) or math.isnan(low):
        return plain(value, sign=sign, digits=digits)
    ends = [plain(end, sign=sign, digits=digits) for end in (low, high)]
    return f"{plain(value, sign=sign, digits=digits)} [{ends[0]}, {ends[1]}]"


def with_error(value: float, error: float, low: float, high: float, *, sign: str = "", digits: int = 3) -> str:
    """A number to so many decimals with its standard error and its interval."""
    whole = estimate(value, low, high, sign=sign, digits=digits)
    return whole.replace(" [", f" ± {plain(error, digits=digits)} [", 1)


def mean_and_sd(mean: float, sd: float, *, digits: int = 3) -> str:
    """A mean and a standard deviation to so many decimals."""
    return NONE if math.isnan(mean) else f"{plain(mean, digits=digits)} ± {plain(sd, digits=digits)}"


def degrees(value: float) -> str:
    """Degrees of freedom to one digit; ∞ above 9999."""
    return NONE if math.isnan(value) else "∞" if value > 9999 else f"{value:.1f}"


def published_p(p: float) -> str:
    """A p as the published study prints it: a share of 1,000 resamples, which may be 0."""
    return NONE if math.isnan(p) else f"{p:.3f}"


def adjusted(row: Any) -> str:
    """The adjusted p of a comparison."""
    if row.correction == "max-T":
        return p_value(row.p_adjusted, floor=row.p_adjusted <= 1 / (row.correction_resamples + 1))
    return p_value(row.p_adjusted, floor=floored(row, "p") and row.p_adjusted < 1)


def floored(row: Any, column: str) -> bool:
    """Whether a p comes from the replicates and is the smallest that they can give."""
    p = getattr(row, column)
    return p == row.p_percentile and p <= row.smallest_p


# forms


def strong(table: pd.DataFrame, significant: list[bool]) -> pd.DataFrame:
    """The bold cells of the table of all comparisons: significant differences."""
    bold = pd.DataFrame(False, index=table.index, columns=table.columns)
    bold[next(column for column in table.columns if column.startswith("Difference"))] = significant
    return bold


def as_markdown(table: pd.DataFrame, *, bold: pd.DataFrame) -> str:
    """The table in Markdown; `bold` has a flag for each cell."""
    shown = table.map(for_markdown)
    # a star goes after the bold text, because *** would mean bold italics
    shown = shown.where(~bold, shown.replace(r"^(.*?)( \*)?$", r"**\1**\2", regex=True))
    shown = shown.rename(columns=for_markdown)
    return shown.to_markdown(index=False, colalign=align(table), disable_numparse=True) + "\n"


def markdown_page(table: PrintedTable) -> str:
    """A table in Markdown with its warnings above and its footnotes below."""
    quoted = "".join(f"> {for_markdown(warning)}\n\n" for warning in table.warnings)
    below = "\n\n".join(map(for_markdown, table.notes))
    whole = f"{for_markdown(table.nothing)}\n" if table.shown.empty else as_markdown(table.shown, bold=table.bold)
    return f"{quoted}{whole}\n{below}\n"


def latex_page(table: PrintedTable, *, name: str) -> str:
    """A table in LaTeX with its warnings above and its footnotes below; `name` is the name of the file."""
    if table.shown.empty:
        return f"\\noindent {for_latex(table.nothing)}\\par\n"
    return as_latex(table.shown, bold=table.bold, name=name, before=table.warnings, after=table.notes)


BREAKS = re.compile(r",? (?=\[|vs |published way|not worse|equivalent)")
"""Places at which a cell may break into a further line."""


def _in_cell(text: str) -> str:
    """Plain text as LaTeX in a narrow cell: an interval is placed below its number."""
    return _stacked(BREAKS.split(text))


FREE = ("Label", "Group", "Characteristic")
"""Columns of words that the config or an archive chose."""

LONGEST_LINE = 40
"""Characters of such a word on one line."""


def _chosen(word: str) -> str:
    """A word that we did not choose: a long one in several lines."""
    lines = _lines_of_word(word)
    # {} before [ and *, which LaTeX would read as options of the end of the row above
    return _stacked(lines, side="l") if len(lines) > 1 else re.sub(r"^(?=[*[])", "{}", for_latex(word))


def _lines_of_word(word: str) -> list[str]:
    return textwrap.wrap(word, LONGEST_LINE) if len(word) > LONGEST_LINE else [word]


def _in_head(text: str) -> str:
    """The same for a column's heading."""
    return _stacked(_lines_of_head(text))


def _lines_of_head(text: str) -> list[str]:
    """The lines of a column's heading, which may also break before its last word."""
    lines = BREAKS.split(text)
    return lines if len(lines) > 1 else text.rsplit(" ", 1)


def _stacked(lines: list[str], *, side: str = "r") -> str:
    """Lines of a cell in LaTeX, one below the other."""
    if len(lines) == 1:
        return for_latex(lines[0])
    # {} after \\, or LaTeX would read a following [ as the optional length of the line break
    return f"\\shortstack[{side}]{{" + r"\\{}".join(map(for_latex, lines)) + "}"


PAGE = 540.0
"""Largest width of a table in points: a little less than the text height of an article on letter paper in landscape."""

LETTER, SIGN, GAP, NOTE, BOLD = 4.1, 6.6, 6.0, 114.0, 1.14
"""Widths in points: of a letter and a mathematical sign at scriptsize, of the gap between columns, of the column of
notes; and the ratio of bold to plain."""

FURTHER = "\\noindent Further columns of the same rows:\\par\n"


def as_latex(table: pd.DataFrame, *, bold: pd.DataFrame, name: str, before: list[str], after: list[str]) -> str:
    """The table as LaTeX longtables with booktabs rules, with warnings above and footnotes below.

    A table that is too wide is split into several, each with the columns that identify a row. `name` is the name of the
    file, for the comment on how to include it.
    """
    parts = [_longtable(table[columns], bold=bold[columns]) for columns in _pages(table, bold)]
    warnings = "".join(f"\\noindent\\textbf{{{for_latex(line)}}}\\par\n" for line in before)
    notes = "".join(f"\\noindent {for_latex(line)}\\par\n" for line in after)
    needed = f"{DEFINED}\n" if LETTERS in "".join([warnings, *parts, notes]) else ""
    return (
        "% \\usepackage{booktabs, longtable, pdflscape}; "
        f"\\begin{{landscape}} \\input{{{name}}} \\end{{landscape}}\n"
        f"{needed}"
        "{\\scriptsize\\setlength{\\tabcolsep}{3pt}\\renewcommand{\\arraystretch}{1.7}\n"
        f"{warnings}{FURTHER.join(parts)}{notes}}}\n"
    )


def _longtable(table: pd.DataFrame, *, bold: pd.DataFrame) -> str:
    """One longtable, which may continue on further pages."""
    layout = "".join("p{4cm}" if column == "Note" else "l" if column in LEFT else "r" for column in table.columns)
    cells = {name: column.map(_chosen if name in FREE else _in_cell) for name, column in table.items()}
    shown = pd.DataFrame(cells, index=table.index).rename(columns=_in_head)
    weights = pd.DataFrame("", index=shown.index, columns=shown.columns).mask(bold.to_numpy(), "font-weight: bold")
    styled = shown.style.hide(axis="index").apply(lambda _: weights, axis=None)
    return styled.to_latex(environment="longtable", hrules=True, convert_css=True, column_format=layout)


def _pages(table: pd.DataFrame, bold: pd.DataFrame) -> list[list[str]]:
    """The columns of each table that fits a page; all have the columns of words, which identify a row."""
    widths = {column: _width(column, table[column], strong=bool(bold[column].any())) for column in table.columns}
    identifying = [column for column in table.columns if column in LEFT and column != "Note"]
    pages, available = [[*identifying]], PAGE - sum(widths[column] for column in identifying)
    room = available
    for column in [column for column in table.columns if column not in identifying]:
        # a column that is too wide for any page is put on one all the same
        if widths[column] > room and len(pages[-1]) > len(identifying):
            pages.append([*identifying])
            room = available
        pages[-1].append(column)
        room -= widths[column]
    return pages


def _width(head: str, cells: pd.Series, *, strong: bool) -> float:
    """The approximate width of a column in points: that of the longest line of its cells or heading."""
    if head == "Note":
        return NOTE + GAP
    lines = [line for cell in set(cells) for line in (_lines_of_word if head in FREE else BREAKS.split)(cell)]
    widths = (sum(map(_width_of_sign, line)) for line in lines)
    longest = max(widths, default=0)
    return max(longest * (BOLD if strong else 1.0), *(LETTER * len(line) for line in _lines_of_head(head))) + GAP


def _width_of_sign(sign: str) -> float:
    """The width of a character; for a letter that pdflatex lacks, that of its code point."""
    if FOREIGN.match(sign):
        return LETTER * len(" U+0000")
    return SIGN if LATEX.get(sign, "").startswith("$") else LETTER
