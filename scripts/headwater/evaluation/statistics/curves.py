"""Curves: the ROC curve of one run, with few enough points to draw."""

import numpy as np


def roc(target: np.ndarray, score: np.ndarray, *, points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates from (0, 0) to (1, 1), both rising, at most `points` corners of the curve.

    Cases of equal score are passed together. Of longer curves the corners nearest to equal steps along the curve stay.
    """
    fall = np.argsort(-score, kind="stable")
    last_of_its_score = np.append(score[fall][1:] != score[fall][:-1], True)
    true = np.cumsum(target[fall] == 1)[last_of_its_score]
    false = np.cumsum(target[fall] == 0)[last_of_its_score]
    true, false = np.insert(true / true[-1], 0, 0.0), np.insert(false / false[-1], 0, 0.0)
    steps = np.linspace(0, 2, points)
    kept = np.unique(np.searchsorted(true + false, steps, side="left").clip(max=len(true) - 1))
    kept = np.arange(len(true)) if len(true) <= points else kept
    return false[kept], true[kept]
