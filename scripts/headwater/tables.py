"""Tables: comparisons as a reader wants them, in plain text, Markdown, LaTeX and for the page."""

import math
from typing import Any

import pandas as pd

from headwater import plugins
from headwater.grid import Grid

NONE = "–"

LEFT = ("Dataset", "Metric", "Recipe", "Label", "Source", "Compared with", "Note")
"""Columns of words; all others hold numbers and stand to the right."""

LATEX = {"–": "--", "−": "$-$", "≤": r"$\leq$", "<": "$<$", ">": "$>$", "×": r"$\times$"}
"""How LaTeX spells the signs that its fonts lack."""


def titles(grid: Grid) -> dict[str, str]:
    """The words for each metric."""
    return {metric: plugins.load("metrics", metric).TITLE for metric in grid.comparing.metrics}


def readable(rows: pd.DataFrame, *, grid: Grid) -> pd.DataFrame:
    """The judged comparisons as words and rounded numbers, one column per thing that a reader looks for.

    Metric and recipe are shown where there is more than one; the note stands in the first row of its label.
    """
    metrics = titles(grid)
    covers = f"[{100 * (1 - grid.comparing.level):g}% CI]"
    value = next(iter(metrics.values())) if len(metrics) == 1 else "Value"
    lines = list(rows.itertuples())
    columns = {
        "Dataset": rows["dataset"].tolist(),
        "Metric": [metrics[row.metric] for row in lines],
        "Recipe": rows["recipe"].tolist(),
        "Label": rows["label"].tolist(),
        "Source": rows["source"].tolist(),
        "Compared with": [row.reference or NONE for row in lines],
        f"{value} {covers}": [estimate(row.value, row.value_low, row.value_high) for row in lines],
        f"Difference {covers}": [
            estimate(row.difference, row.difference_low, row.difference_high, sign="+") for row in lines
        ],
        "p": [p_value(row.p, floor=row.p <= row.smallest_p) for row in lines],
        "Adjusted p": [adjusted(row) + (" *" if row.significant else "") for row in lines],
        "Patients": rows["patients"].astype(str).tolist(),
        "Seeds": rows["seeds"].astype(str).tolist(),
        "Resamples": rows["resamples"].astype(str).tolist(),
        "Note": rows["note"].where(opens_group(rows), "").tolist(),
    }
    single = [name for name, of in (("Metric", metrics), ("Recipe", grid.recipes)) if len(of) == 1]
    return pd.DataFrame(columns).drop(columns=single)


def opens_group(rows: pd.DataFrame) -> pd.Series:
    """Whether a row is the first of its dataset, metric, recipe and label."""
    group = rows[["dataset", "metric", "recipe", "label"]]
    return (group != group.shift()).any(axis=1)


def estimate(value: float, low: float, high: float, *, sign: str = "") -> str:
    """A number to three digits with its interval."""
    if math.isnan(value):
        return NONE
    inside = ", ".join(NONE if math.isnan(bound) else _three(bound, sign) for bound in (low, high))
    return f"{_three(value, sign)} [{inside}]"


def _three(value: float, sign: str) -> str:
    # what rounds to nothing bears no sign
    value = round(value, 3)
    return f"{abs(value):.3f}" if value == 0 else f"{value:{sign}.3f}".replace("-", "−")


def p_value(p: float, *, floor: bool = False) -> str:
    """A p-value to four digits, or to its first; `floor`: more resamples might have told a smaller one."""
    if math.isnan(p):
        return NONE
    digits = max(4, math.ceil(-math.log10(p)))
    return ("≤" if floor else "") + f"{p:.{digits}f}"


def adjusted(row: Any) -> str:
    """The adjusted p of a judged comparison."""
    return p_value(row.p_adjusted, floor=row.p <= row.smallest_p and row.p_adjusted < 1)


def as_markdown(table: pd.DataFrame, *, bold: list[bool]) -> str:
    """The table in Markdown, significant differences in bold."""
    shown = table.replace(r"\|", r"\\|", regex=True)
    difference = _difference_column(table)
    shown[difference] = [
        f"**{cell}**" if strong else cell for cell, strong in zip(shown[difference], bold, strict=True)
    ]
    align = ["left" if column in LEFT else "right" for column in table.columns]
    return shown.to_markdown(index=False, colalign=align, disable_numparse=True) + "\n"


def as_text(table: pd.DataFrame) -> str:
    """The table in plain text for a terminal."""
    align = ["left" if column in LEFT else "right" for column in table.columns]
    return table.to_markdown(index=False, tablefmt="simple", colalign=align, disable_numparse=True)


def as_latex(table: pd.DataFrame, *, bold: list[bool]) -> str:
    """The table as a LaTeX longtable with booktabs rules, significant differences in bold."""
    weights = pd.DataFrame("", index=table.index, columns=table.columns)
    weights.loc[bold, _difference_column(table)] = "font-weight: bold"
    styled = table.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis=1)
    styled = styled.apply(lambda _: weights, axis=None)
    layout = "".join("p{4cm}" if column == "Note" else "l" if column in LEFT else "r" for column in table.columns)
    text = styled.to_latex(environment="longtable", hrules=True, convert_css=True, column_format=layout)
    for sign, spelling in LATEX.items():
        text = text.replace(sign, spelling)
    return (
        "% \\usepackage{booktabs, longtable, pdflscape}; \\begin{landscape} \\input{significance} \\end{landscape}\n"
        "{\\scriptsize\\setlength{\\tabcolsep}{3pt}\n" + text + "}\n"
    )


def _difference_column(table: pd.DataFrame) -> str:
    return next(column for column in table.columns if column.startswith("Difference"))
