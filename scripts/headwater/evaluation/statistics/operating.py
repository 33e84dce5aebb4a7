"""Operating points: thresholds for a given specificity, and the rates at a threshold."""

import numpy as np

from headwater.evaluation.statistics.ranked import ROUNDING


def threshold(target: np.ndarray, score: np.ndarray, *, specificity: float) -> float:
    """The lowest of the scores (cases,) at which the specificity is at least `specificity`; NaN without both classes.

    A case is called positive if its score is at least the threshold. If the specificity is too low even at the highest
    score, the threshold is the next larger number.
    """
    negatives = np.sort(score[target == 0])
    if not len(negatives) or not (target == 1).any():
        return np.nan
    candidates = np.unique(score)
    true_negatives = np.searchsorted(negatives, candidates, side="left")
    # ROUNDING, since 0.9 of 30 is not exactly 27 in binary
    specific = candidates[true_negatives >= specificity * len(negatives) - ROUNDING]
    return float(specific[0]) if len(specific) else float(np.nextafter(candidates[-1], np.inf))


def correctness(target: np.ndarray, score: np.ndarray, *, threshold: float) -> dict[str, np.ndarray]:
    """For each rate 1 or 0 for each case called correctly or not, (cases,); NaN if it does not count. Rates are means.

    Sensitivity counts the cases with the finding, specificity those without, the predictive values those called
    positive and those called negative.
    """
    called, positive = score >= threshold, target == 1
    correct = (called == positive).astype(float)
    counted = {"sensitivity": positive, "specificity": ~positive, "ppv": called, "npv": ~called}
    return {name: np.where(inside, correct, np.nan) for name, inside in counted.items()}
