"""Columns: what each column of the report's tables holds, said once for its files and its page."""

import re
from collections.abc import Iterable, Mapping

from headwater.core.destinations import for_markdown

PLACE = {
    "dataset": "the dataset whose cases are tested, by its name in the config",
    "fitted_to": "the dataset that the network was fitted to, by its name in the config",
    "metric": "the metric, by its name in the config",
    "recipe": "the recipe, by its name in the config",
    "label": "the label by its name in the archive; `macro`: the mean over all tested labels, `macro: NAME` over some",
    "asked": "the name of the label in the dataset that the network was fitted to",
    "source": "the source, by its name in the config",
    "reference": "the source that it is compared with; `chance`: guessing; empty: with none",
    "scores": "`raw`: scores as predicted; `scaled`: divided by the temperature chosen on validation",
    "seed": "the seed of the training",
    "part": "the split or fold",
    "characteristic": "what patients are grouped or counted by",
    "group": "the group of patients",
    "name": "the projection or label that is counted",
    "split": "the split, `all` for all of them together",
    "findings": "findings over which the macro is a mean",
    "tested_on": "the dataset whose cases were shown",
}
"""Columns that say what a row is about."""

COUNTS = {
    "patients": "patients whose label is known",
    "cases": "images or volumes whose label is known; of a characteristic all of the split",
    "positives": "cases with the label",
    "positive_patients": "patients with a case with the label",
    "negative_patients": "patients with a case without the label",
    "seeds": "trainings of each source",
    "resamples": "bootstrap replicates of the patients; 0 over folds",
    "dropped": "replicates in which the metric of a run is not defined",
    "known": "cases whose value is recorded",
    "correction_resamples": "replicates that the correction uses",
}
"""Columns of whole numbers."""

NUMBERS = {
    "value": "the metric, mean over seeds; in `characteristics.csv` the count or mean",
    "reference_value": "the metric of the reference, mean over seeds",
    "home_value": "the metric of networks of the same source that were fitted to the tested dataset, same findings",
    "difference": "the source minus its reference; of a group minus all others; elsewhere minus at home",
    "rest": "the metric in all other patients for whom the characteristic is known",
    "degrees_of_freedom": "degrees of freedom of t",
    "p": "two-sided p, not corrected",
    "p_percentile": "two-sided p from the bootstrap replicates alone",
    "smallest_p": "the smallest p that so many replicates can give",
    "p_noninferior": "one-sided p against being worse by the margin",
    "p_equivalent": "p of equivalence within the margin, the larger of two one-sided tests",
    "margin_low": "lower end of the interval that belongs to the tests against the margin, at 1 - 2 x level",
    "margin_high": "upper end of that interval",
    "effect": "the difference in standard deviations between trainings",
    "superiority": "share of pairs of trainings in which the source is better",
    "published_value": "the mean by the published study's method",
    "published_sd": "the standard deviation by the published study's method",
    "published_reference": "the mean of the reference by the published study's method",
    "published_reference_sd": "the standard deviation of the reference by the published study's method",
    "published_p": "p by the published study's method",
    "p_adjusted": "p corrected within its family",
    "p_noninferior_adjusted": "p of non-inferiority, corrected within its family",
    "p_equivalent_adjusted": "p of equivalence, corrected within its family",
    "ceiling": "the mean Dice that the networks' grid allows",
    "sd": "standard deviation",
    "intercept": "intercept of the logistic recalibration with the slope fixed at 1; 0 is ideal",
    "slope": "slope of the logistic recalibration; 1 is ideal",
    "brier": "Brier score",
    "ratio": "findings that the scores promise divided by those present",
    "asked_specificity": "the specificity asked for on validation",
    "threshold": "the threshold, mean over seeds",
    "threshold_low": "the lowest threshold of a seed",
    "threshold_high": "the highest threshold of a seed",
    "sensitivity": "share of cases with the finding that raise an alarm",
    "specificity": "share of cases without the finding that raise none",
    "ppv": "share of alarms with the finding",
    "npv": "share of cases without an alarm that lack the finding",
    "predicted": "mean predicted probability",
    "observed": "share of cases with the finding",
}
"""Columns of quantities."""

FLAGS = {
    "tested": "whether it is in a family of tests; else described only, without interval",
    "few": "whether so few patients have the label, or lack it, that it is tested with caution",
    "significant": "whether the corrected p is at most the level",
    "noninferior": "whether it is not worse than the reference by the margin",
    "equivalent": "whether it is within the margin of the reference",
    "largest": "whether this group lies furthest from all others",
}
"""Columns of yes or no."""

OF_REDUCTIONS = {
    "method": "the method of the pre-training",
    "corpus": "the archive that the pre-training learned from",
    "reduction": "how the corpus was reduced, by its name in the config",
    "by": "what the reduction goes by, and its settings",
    "images": "images of the corpus",
    "kept": "images that the reduction kept",
    "share": "share of the corpus that is kept",
    "reduction_seconds": "seconds that the reduction took",
    "features_seconds": "seconds that the features took that the reduction looks at",
    "pretraining_seconds": "seconds that the pre-training took",
    "steps": "optimiser steps of the pre-training",
    "epochs": "passes through the images that were kept",
    "study_reduction_hours": "hours that the published study's reduction took",
    "study_pretraining_hours": "hours that the published study's pre-training took",
    "study_value": "the published study's value",
    "study_spread": "the published study's standard deviation",
    "differs": "how this study differs from the published one",
}
"""Columns of the tables of reductions."""

OF_CHECKS = {
    "list": "the check-list",
    "item": "the number of the item",
    "section": "the section of the paper",
    "asked": "what the item asks for, in short",
    "by": "`study`: filled from what the study knows; `author`: to be written",
    "answer": "what the study says",
    "files": "the files of the report that hold it",
}
"""Columns of the check-lists."""

OTHERS = {
    "note": "what is to be known of the row",
    "family": "the family of tests: confirmatory, exploratory or control",
    "correction": "how p is corrected in this family",
    "controls": "how the controls of this dataset came out",
    "provenance": "the name under which `provenance.csv` lists the files of predictions behind the row",
    "file": "the file of predictions, or the file of the report that shows it",
    "run": "the run, by its folder",
    "record": "the digest of the run's settings",
    "predictions": "the fingerprint (SHA-256) of the file of predictions",
    "model": "the fingerprint of the model that predicted",
    "encoder": "the fingerprint of the encoder that the model started from",
}
"""Other columns."""

OF_TABLES = {
    "reductions": OF_REDUCTIONS,
    "reductions_measured": OF_REDUCTIONS,
    "claim": OF_CHECKS,
    "tripod_ai": OF_CHECKS,
}
"""Columns that only one table has, by the table's name."""

ENDS = {
    "_se": "standard error of {}",
    "_low": "lower end of the interval of {}, within the metric's range; empty where it is described only",
    "_high": "upper end of the interval of {}, within the metric's range; empty where it is described only",
}
"""Columns that belong to another one, by their end."""

SHORT = {"home": "home_value", "reference": "reference_value"}
"""What the columns of an uncertainty are about, where their beginning is not that column's name."""

HEADINGS = {
    "Dataset": "dataset whose test cases are measured",
    "Label": "label; macro: the mean over all labels that are tested",
    "Source": "where the first weights come from",
    "Compared with": "the source that it is compared with",
    "Recipe": "how the networks were fitted",
    "Metric": "what is measured",
    "df": "degrees of freedom of t",
    "p": "two-sided p, not corrected",
    "Adjusted p": "p corrected for the number of tests in its family; a star: significant",
    "Percentile p": "p from the bootstrap replicates alone",
    "Effect": "difference in standard deviations between trainings",
    "Superiority": "share of pairs of trainings in which the source is better",
    "Patients": "patients whose label is known",
    "Seeds": "trainings of each source",
    "Resamples": "bootstrap replicates of the patients",
    "Ceiling": "the mean Dice that the networks' grid allows",
    "Fitted to": "dataset that the networks were fitted to",
    "Scores": "raw: as predicted; scaled: divided by the temperature chosen on validation",
    "Characteristic": "what patients are grouped by",
    "Group": "group of patients",
}
"""Headings of printed tables; those of a number begin with it."""

BEGINNINGS = {
    "Difference from the others": "the group minus all other patients",
    "Difference": "the source minus what it is compared with, its standard error and its interval",
    "Intercept": "calibration in the large; 0 is ideal",
    "Slope": "of the logistic recalibration; 1 is ideal",
    "Brier score": "mean squared error of the probabilities; lower is better",
    "Expected / observed": "findings that the scores promise divided by those present",
    "Sensitivity": "share of cases with the finding that raise an alarm",
    "Specificity reached": "share of cases without the finding that raise none",
    "PPV": "share of alarms with the finding",
    "NPV": "share of cases without an alarm that lack the finding",
    "p: ": "p of the two sources' difference, corrected within its family",
}
"""Beginnings of headings."""


def of_heading(name: str) -> str:
    """What a column of a printed table holds; nothing for headings that say it themselves."""
    if name in HEADINGS:
        return HEADINGS[name]
    begun = next((said for beginning, said in BEGINNINGS.items() if name.startswith(beginning)), "")
    return begun or ("mean over seeds, its standard error and its interval" if " ± SE " in name else "")


def of_column(name: str, *, table: str = "") -> str:
    """What a column of the .csv of a table holds; nothing if nobody says so."""
    plain = {**PLACE, **COUNTS, **NUMBERS, **FLAGS, **OTHERS, **OF_TABLES.get(table, {})}
    if name in plain:
        return plain[name]
    for end, said in ENDS.items():
        about = SHORT.get(name.removesuffix(end), name.removesuffix(end))
        if name.endswith(end) and about in plain:
            return said.format(f"`{about}`")
    return _of_part(name, table=table) if "." in name else ""


def _of_part(name: str, *, table: str) -> str:
    """What a column of a source, a pair or a dataset holds: the last part names the quantity, the first whose it is."""
    whose, _, quantity = name.rpartition(".")
    said = of_column(quantity, table=table)
    pair = re.fullmatch(r"(.+)\.vs\.(.+)", whose)
    about = f"{pair[1]} against {pair[2]}" if pair else whose
    return said and f"{about}: {said}"


def dictionary(tables: Mapping[str, Iterable[str]]) -> str:
    """The data dictionary in Markdown: what each column of the .csv of each table holds, from its columns by name."""
    parts = [
        "# What the columns of each .csv hold\n",
        "Names are those of the config; tables and figures show titles.\n",
    ]
    for table, held in tables.items():
        rows = [f"| `{name}` | {for_markdown(of_column(name, table=table))} |" for name in held]
        parts.append("\n".join([f"## {table}.csv\n", "| column | what it holds |", "|:--|:--|", *rows, ""]))
    return "\n".join(parts)
