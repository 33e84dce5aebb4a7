"""Curves: the ROC curve of one run, thinned for drawing."""

import numpy as np


def roc(target: np.ndarray, score: np.ndarray, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), both ascending, at most `points` corners of the curve.

    Longer curves keep the corners nearest to equal steps along the curve.
    """
    descending = np.argsort(-score, kind="stable")
    # cases of equal score are on one side of any threshold, so only the last of them is a corner
    last_of_its_score = np.append(score[descending][1:] != score[descending][:-1], True)
    true = np.cumsum(target[descending] == 1)[last_of_its_score]
    false = np.cumsum(target[descending] == 0)[last_of_its_score]
    true, false = np.insert(true / true[-1], 0, 0.0), np.insert(false / false[-1], 0, 0.0)
    # the rates sum to the distance along the curve, from 0 to 2
    steps = np.linspace(0, 2, points)
    kept = np.unique(np.searchsorted(true + false, steps, side="left").clip(max=len(true) - 1))
    kept = np.arange(len(true)) if len(true) <= points else kept
    return false[kept], true[kept]
