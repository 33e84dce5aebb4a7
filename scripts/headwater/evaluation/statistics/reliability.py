"""Reliability: the observed share of a finding among cases of similar predicted probability."""

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

BINS = 10
"""Points of a reliability plot, with about as many cases each."""


def points(target: np.ndarray, chance: np.ndarray, patient: np.ndarray, *, level: float) -> pd.DataFrame:
    """A row per bin of about equally many probabilities (cases,): their mean, the observed share, and its interval.

    Equal probabilities are in one bin. The interval is Wilson's (1927, JASA 22:209) with the number of different
    patients as the sample size, as further cases of a patient, or other runs' scores of a case, add little information.
    """
    edges = np.quantile(chance, np.linspace(0, 1, BINS + 1)[1:-1])
    cases = pd.DataFrame({"bin": np.searchsorted(edges, chance), "c": chance, "t": target, "patient": patient})
    bins = cases.groupby("bin").agg(
        predicted=("c", "mean"), observed=("t", "mean"), scored=("t", "size"), patients=("patient", "nunique")
    )
    low, high = proportion_confint(bins["observed"] * bins["patients"], bins["patients"], alpha=level, method="wilson")
    return bins.assign(low=low, high=high).reset_index(drop=True)
