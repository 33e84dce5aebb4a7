"""Soundness: can scores be read as probabilities, what do alarms find, and for whom does it work less well, in tables.

The readable tables hold the macro of each source, the .csv files every label and control.
"""

import pandas as pd

from headwater.core import registry
from headwater.data.tables import MACRO
from headwater.evaluation import subgroups
from headwater.evaluation.calibration import RATES, SCALED
from headwater.reporting import formatting
from headwater.reporting.pivot import Wide
from headwater.study.grid import Grid

HEADINGS = {
    "intercept": "Intercept",
    "slope": "Slope",
    "brier": "Brier score",
    "ratio": "Expected / observed",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity reached",
    "ppv": "PPV",
    "npv": "NPV",
}
"""How tables call a quantity."""

OF_CALIBRATION = ("intercept", "slope", "brier", "ratio")

TITLES = {
    "calibration": "Can the scores be read as probabilities?",
    "thresholds": "What alarms find and miss",
    "subgroups": "For whom does it work less well?",
}


def all_tables(found: dict[str, pd.DataFrame], *, grid: Grid, order: dict[str, list[str]]) -> dict[str, Wide]:
    """Calibration, thresholds and subgroups by the name of the file; `order` gives each dataset's labels."""
    shown = {"calibration": _calibration, "thresholds": _thresholds, "subgroups": _subgroups}
    return {name: _wide(name, ordered(found[name], grid=grid, order=order), shown[name], grid) for name in shown}


def _wide(name: str, rows: pd.DataFrame, shown_by, grid: Grid) -> Wide:
    shown = shown_by(_to_be_read(rows, grid), grid).drop(columns=formatting.single(grid), errors="ignore")
    bold = pd.DataFrame(False, index=shown.index, columns=shown.columns)
    return Wide(title=TITLES[name], shown=shown, bold=bold, exact=rows)


def ordered(rows: pd.DataFrame, *, grid: Grid, order: dict[str, list[str]]) -> pd.DataFrame:
    """Rows as the config orders datasets, recipes, sources and labels; `order` gives each dataset's labels."""
    places = {
        "dataset": [dataset.name for dataset in grid.datasets],
        "fitted_to": [dataset.name for dataset in grid.datasets],
        "recipe": [recipe.name for recipe in grid.recipes],
        "source": [source.name for source in grid.sources],
    }

    def place(at: int) -> tuple:
        row = rows.loc[at]
        first = tuple(names.index(row[name]) for name, names in places.items() if name in rows)
        label = order[row["dataset"]].index(row["label"])
        last = (row["scores"] == SCALED,) if "scores" in rows else ()
        return (*first, label, *(subgroups.place(row["characteristic"], row["group"]) if "group" in rows else last))

    return rows.loc[sorted(rows.index, key=place)].reset_index(drop=True)


def _to_be_read(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """The macro of what is no control, of networks at home."""
    controls = [source.name for source in grid.sources if source.control]
    at_home = rows["fitted_to"] == rows["dataset"] if "fitted_to" in rows else True
    return rows[(rows["label"] == MACRO) & ~rows["source"].isin(controls) & at_home].reset_index(drop=True)


def _place(rows: pd.DataFrame) -> dict[str, list[str]]:
    return {heading: rows[heading.lower()].tolist() for heading in ("Dataset", "Recipe", "Source")}


def _numbers(rows: pd.DataFrame, name: str, *, sign: str = "") -> list[str]:
    """A quantity with its standard error and interval, in words."""
    columns = [rows[f"{name}{suffix}"] for suffix in ("", "_se", "_low", "_high")]
    return [formatting.with_error(*numbers, sign=sign) for numbers in zip(*columns, strict=True)]


def _calibration(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A line per source and kind of scores."""
    signed = {"intercept": "+"}
    told = {
        f"{HEADINGS[name]} ± SE {formatting.covers(grid)}": _numbers(rows, name, sign=signed.get(name, ""))
        for name in OF_CALIBRATION
    }
    return pd.DataFrame({**_place(rows), "Scores": rows["scores"].tolist(), **told})


def _thresholds(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A line per source."""
    told = {f"{HEADINGS[name]} ± SE {formatting.covers(grid)}": _numbers(rows, name) for name in RATES}
    return pd.DataFrame({**_place(rows), **told, "Note": rows["note"].tolist()})


def _subgroups(rows: pd.DataFrame, grid: Grid) -> pd.DataFrame:
    """A line per source and characteristic: the group that lies furthest from all others."""
    rows = rows[rows["largest"]].reset_index(drop=True)
    metric = registry.load("metrics", grid.comparing.metrics[0]).TITLE
    return pd.DataFrame(
        {
            **_place(rows),
            "Characteristic": rows["characteristic"].tolist(),
            "Group": rows["group"].tolist(),
            "Patients": rows["patients"].astype(str).tolist(),
            f"{metric} ± SE {formatting.covers(grid)}": _numbers(rows, "value"),
            f"Difference from the others ± SE {formatting.covers(grid)}": _numbers(rows, "difference", sign="+"),
        }
    )


# footnotes


def footnotes(name: str, *, grid: Grid) -> list[str]:
    """What stands below one of the tables."""
    told = {"calibration": _of_calibration, "thresholds": _of_thresholds, "subgroups": _of_subgroups}[name](grid)
    elsewhere = [OF_GUESTS.format(name=name)] if grid.comparing.external and name != "subgroups" else []
    return [*told, *elsewhere, OF_INTERVALS]


OF_INTERVALS = (
    "±: standard error, of the mean over seeds; with its interval it speaks of other patients and of other trainings "
    "(seeds as readers, all images of a patient drawn together). Nothing in this table is tested, and no star or claim "
    "rests on it."
)


OF_GUESTS = (
    "Networks fitted to other datasets stand in {name}.csv, by fitted_to, for the findings that both datasets have: "
    "with the temperature and the thresholds of their own validation split, as they would be carried to this hospital."
)


def _of_calibration(grid: Grid) -> list[str]:
    return [
        "Logistic recalibration on the test split (Cox 1958; Van Calster et al. 2019). Intercept with the slope fixed "
        "at 1, calibration in the large: 0 where findings are as many as the scores promise, below 0 where they are "
        "fewer. Slope: 1 as it should be, below 1 where scores are too extreme. Their standard errors come from each "
        "patient's influence (sandwich), all others from resampled patients.",
        "Expected / observed: findings that the scores promise over those that are there; a geometric mean over labels "
        "and seeds. All numbers are macros; labels that err in opposite ways make up for each other in them, so look "
        "at the single labels in calibration.csv.",
        "Scaled: all scores of a run divided by one temperature (Guo et al. 2017), with which the log loss of all "
        "known targets of its validation split is least. The test split has no say in it; it is taken as it is, "
        "without an error of its own.",
    ]


def _of_thresholds(grid: Grid) -> list[str]:
    return [
        f"For each run and label the threshold is the least score with a specificity of at least "
        f"{grid.comparing.specificity:g} on its validation split; an alarm is a score of at least the threshold. All "
        "rates are of the test split, which has no say in the threshold: the specificity reached there may be another.",
        "Predictive values hold for the share of findings in this test split. Labels whose validation split lacks a "
        "class have no threshold. Where a rate is 0 or 1 in every run, its interval is Clopper and Pearson's for the "
        "patients of the smaller class.",
    ]


def _of_subgroups(grid: Grid) -> list[str]:
    metric = registry.load("metrics", grid.comparing.metrics[0]).TITLE
    return [
        f"Of each characteristic the group whose {metric} lies furthest from that of all other test patients of whom "
        "the characteristic is told, over the labels that both sides have enough of; all groups are in subgroups.csv. "
        "It was picked for being the furthest, so its difference is on average too large, and its interval does not "
        "know of the picking.",
        "The gap between the best and the worst group is not told and not tested: it is above zero even where all "
        "groups fare alike, because it is the largest of several differences that vary by chance.",
        f"Groups with fewer than {grid.comparing.fewest_positive} positive or negative patients are counted, not "
        "measured. A patient whose images belong to two groups is in both. A difference can come from other cases in a "
        "group as well as from the network.",
    ]
