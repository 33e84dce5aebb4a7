"""Operating: where a score turns into an alarm, settled on cases that are not tested on."""

import numpy as np

from headwater.evaluation.statistics.ranked import ROUNDING


def threshold(target: np.ndarray, score: np.ndarray, *, specificity: float) -> float:
    """The least score (of `score`, (cases,)) whose alarms pass over the asked share of the cases without the finding.

    An alarm is a score of at least the threshold, so that of cases with equal scores all raise one or none. Where even
    the highest score lets too many through, the threshold lies just above it. NaN without a case of either class.
    """
    without = np.sort(score[target == 0])
    if not len(without) or not (target == 1).any():
        return np.nan
    heights = np.unique(score)
    passed_over = np.searchsorted(without, heights, side="left")
    enough = heights[passed_over >= specificity * len(without) - ROUNDING]
    return float(enough[0]) if len(enough) else float(np.nextafter(heights[-1], np.inf))


def told_apart(target: np.ndarray, score: np.ndarray, *, threshold: float) -> dict[str, np.ndarray]:
    """What each rate is the mean of, (cases,) each, NaN where a case does not count.

    Sensitivity over the cases with the finding, specificity over those without, the predictive values over those
    with and without an alarm.
    """
    alarm, there = score >= threshold, target == 1
    right = (alarm == there).astype(float)
    counted = {"sensitivity": there, "specificity": ~there, "ppv": alarm, "npv": ~alarm}
    return {name: np.where(inside, right, np.nan) for name, inside in counted.items()}
