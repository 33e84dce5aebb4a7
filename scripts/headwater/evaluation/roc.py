"""ROC curves of all runs, thinned for drawing."""

import pandas as pd

from headwater.data.tables import NUMBER, TEXT, WHOLE, Table
from headwater.evaluation.bootstrap import Runs
from headwater.evaluation.eligibility import Label
from headwater.evaluation.statistics import curves

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


def frame(runs: Runs, labels: list[Label], *, dataset: str) -> pd.DataFrame:
    """The ROC curve of each run and label that has one, in the columns of `CURVES`."""
    parts = []
    for (source, recipe, seed), run in runs.items():
        for position, label in enumerate(labels):
            if label.measured:
                target, score = run.target[position, label.known], run.score[position, label.known]
                false, true = curves.roc(target, score)
                curve = {"dataset": dataset, "recipe": recipe, "source": source, "seed": seed, "label": label.name}
                parts.append(pd.DataFrame({**curve, "false_positive_rate": false, "true_positive_rate": true}))
    return pd.concat(parts, ignore_index=True) if parts else CURVES.frame([])
