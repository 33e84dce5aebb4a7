"""Multiplicity: the families of tests, the correction of their p-values, and the outcome of the controls.

Three families are declared before any result: the macro of all datasets, pairs, recipes and metrics; all single labels;
and the macro tests of the controls, which validate the comparison itself.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from headwater.core import text
from headwater.core.errors import UserError
from headwater.data.tables import CHANCE, MACRO
from headwater.evaluation.statistics import corrections
from headwater.study.grid import Grid

CONFIRMATORY, EXPLORATORY, CONTROL = "confirmatory", "exploratory", "control"

PLACE = ["dataset", "recipe"]
"""A control is judged per dataset and recipe over all metrics, because some metrics have no chance level."""

TEST = ["dataset", "metric", "recipe", "source", "reference"]

AGAINST_MARGIN = ("p_noninferior", "p_equivalent")

Correct = Callable[[np.ndarray], np.ndarray]


def corrected(rows: pd.DataFrame, *, grid: Grid, order: dict[str, list[str]], replicates: pd.DataFrame) -> pd.DataFrame:
    """The comparisons in the order of the config, with family, correction, adjusted p, significance and controls.

    `order` gives each dataset's labels, including the macro; `replicates` are used by max-T.
    """
    rows = rows.loc[sorted(rows.index, key=lambda at: _place(rows.loc[at], grid, order))].reset_index(drop=True)
    rows = rows.assign(family=_families(rows, grid), correction="", p_adjusted=np.nan, correction_resamples=0)
    for family, name, correct in (
        (CONFIRMATORY, "Holm", corrections.holm),
        (EXPLORATORY, "Benjamini-Hochberg", corrections.benjamini_hochberg),
        (CONTROL, "Holm", corrections.holm),
    ):
        inside = rows["family"] == family
        if family == CONFIRMATORY and grid.comparing.correction == "max_t":
            rows.loc[inside, "correction"] = "max-T"
            by_max_t = _max_t(rows[inside], replicates)
            rows.loc[inside, ["p_adjusted", "correction_resamples"]] = by_max_t.to_numpy()
        else:
            rows.loc[inside, "correction"] = name
            rows.loc[inside, "p_adjusted"] = correct(rows.loc[inside, "p"].to_numpy())
    rows["correction_resamples"] = rows["correction_resamples"].astype(int)
    rows["significant"] = rows["p_adjusted"] <= grid.comparing.level
    rows = _against_margin(rows, level=grid.comparing.level)
    return rows.assign(controls=_controls(rows, level=grid.comparing.level))


def _place(row: pd.Series, grid: Grid, order: dict[str, list[str]]) -> tuple:
    """The sort key of a row: the order of the config, with sources without a reference first and controls last."""
    if row["label"] not in order[row["dataset"]]:
        raise UserError(
            f"{row['dataset']}: label {row['label']!r} is compared, but its archive does not have it",
            remedy="run compare again",
        )
    sources = ["", *(source.name for source in grid.sources if not source.control)]
    controls = [source.name for source in grid.sources if source.control]
    everyone = [*sources, *controls, CHANCE]
    return (
        [dataset.name for dataset in grid.datasets].index(row["dataset"]),
        grid.comparing.metrics.index(row["metric"]),
        [recipe.name for recipe in grid.recipes].index(row["recipe"]),
        order[row["dataset"]].index(row["label"]),
        row["source"] in controls,
        everyone.index(row["reference"]),
        everyone.index(row["source"]),
    )


def _families(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """The family of each row; "" if it is not tested, or is a single label of a control."""
    controls = {source.name for source in grid.sources if source.control}

    def family(row: tuple) -> str:
        if not row.tested or np.isnan(row.p):
            return ""
        if row.source in controls:
            return CONTROL if row.label == MACRO else ""
        return CONFIRMATORY if row.label == MACRO else EXPLORATORY

    return [family(row) for row in rows.itertuples()]


def _max_t(rows: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Adjusted p and the number of replicates; replicates of different datasets are matched by number."""
    drawn_of = {test: part.set_index("replicate")["difference"] for test, part in replicates.groupby(TEST)}
    tests = list(rows[TEST].itertuples(index=False, name=None))
    for dataset, *_, source, reference in [test for test in tests if test not in drawn_of]:
        raise UserError(f"{dataset}: no replicates of {source} against {reference}", remedy="run compare again")
    drawn = pd.concat([drawn_of[test] for test in tests], axis=1).to_numpy() if tests else np.empty((0, 0))
    adjusted = corrections.max_t(rows["p"].to_numpy(), drawn)
    return pd.DataFrame({"p_adjusted": adjusted, "resamples": len(corrections.whole_replicates(drawn))})


def _against_margin(rows: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """Adjusted p against the margin, per family, and whether non-inferiority and equivalence are shown."""
    for column in AGAINST_MARGIN:
        adjusted = pd.Series(np.nan, index=rows.index)
        for family, correct in ((CONFIRMATORY, corrections.holm), (EXPLORATORY, corrections.benjamini_hochberg)):
            inside = rows["family"] == family
            adjusted[inside] = correct(rows.loc[inside, column].to_numpy())
        rows = rows.assign(**{f"{column}_adjusted": adjusted, column.removeprefix("p_"): adjusted <= level})
    return rows


def _controls(rows: pd.DataFrame, *, level: float) -> list[str]:
    """The outcome of the controls for the dataset and recipe of each row."""
    outcomes = {}
    for place, part in rows[rows["family"] == CONTROL].groupby(PLACE):
        failed = part[part["p_adjusted"] <= level].itertuples()
        names = "; ".join(f"{row.source}, p {text.p_value(row.p_adjusted)}" for row in failed)
        outcomes[place] = f"failed: {names}" if names else "passed"
    return [outcomes.get(place, "none") for place in rows[PLACE].itertuples(index=False, name=None)]


def failed(rows: pd.DataFrame) -> pd.DataFrame:
    """The control tests that are significant, which they should not be."""
    return rows[(rows["family"] == CONTROL) & rows["significant"]]
