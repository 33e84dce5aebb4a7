"""ROC curves of all runs, thinned for drawing."""

import pandas as pd

from headwater.data.tables import NUMBER, TEXT, WHOLE, Table
from headwater.evaluation.bootstrap import Runs
from headwater.evaluation.eligibility import Label
from headwater.evaluation.statistics import curves
from headwater.study.comparison import Comparison

CURVES = Table(
    name="curves",
    columns={
        "dataset": TEXT,
        "recipe": TEXT,
        "source": TEXT,
        "seed": WHOLE,
        "label": TEXT,
        "false_positive_rate": NUMBER,
        "true_positive_rate": NUMBER,
    },
)
"""ROC curves of the runs, thinned for drawing."""


def frame(runs: Runs, labels: list[Label], *, comparison: Comparison) -> pd.DataFrame:
    """The ROC curve of each run and label that has one, in the columns of `CURVES`."""
    parts, scored = [], comparison.giving("score", [label.name for label in labels])
    for (source, recipe, seed), run in runs.items():
        for position, label in enumerate(labels):
            if label.measured and label.name in scored:
                false, true = curves.roc(**run.of(("target", "score"), position, label.known))
                place = {"dataset": comparison.dataset, "recipe": recipe, "source": source, "seed": seed}
                named = place | {"label": label.name}
                parts.append(pd.DataFrame({**named, "false_positive_rate": false, "true_positive_rate": true}))
    return pd.concat(parts, ignore_index=True) if parts else CURVES.frame([])
