"""Reliability: of the cases that were given about the same chance, how many have the finding?"""

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

BINS = 10
"""Points of a reliability plot, with about as many cases each."""


def points(target: np.ndarray, chance: np.ndarray, patient: np.ndarray, *, level: float) -> pd.DataFrame:
    """A row per bin of about as many chances (cases,): their mean, the observed share, and its interval.

    Equal chances share a bin. The interval is Wilson's (1927, JASA 22:209) for as many observations as the bin has
    different patients: another case of a patient, or another run's score of a case, tells little more.
    """
    edges = np.quantile(chance, np.linspace(0, 1, BINS + 1)[1:-1])
    cases = pd.DataFrame({"bin": np.searchsorted(edges, chance), "c": chance, "t": target, "patient": patient})
    bins = cases.groupby("bin").agg(
        predicted=("c", "mean"), observed=("t", "mean"), scored=("t", "size"), patients=("patient", "nunique")
    )
    low, high = proportion_confint(bins["observed"] * bins["patients"], bins["patients"], alpha=level, method="wilson")
    return bins.assign(low=low, high=high).reset_index(drop=True)
