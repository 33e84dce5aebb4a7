"""Published: the statistics of the chest radiograph study's own code, faults included, for comparison with ours.

Its faults: images are resampled although patients have several; one training represents a source; the direction of a
test is chosen after seeing the data, which doubles the level of 5 %; there is no correction for multiple testing; p can
be 0; the standard deviation of a mean over labels is mostly the spread between labels.
"""

import numpy as np

RESAMPLES = 1000
"""The study's number of resamples."""

COLUMNS = ("published_value", "published_sd", "published_reference", "published_reference_sd", "published_p")
"""Its columns in the table of comparisons."""


def mean_and_sd(replicates: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all replicates, and over labels at once if there are several."""
    return float(np.mean(replicates)), float(np.std(replicates))


def p(source: np.ndarray, reference: np.ndarray) -> float:
    """The share of replicates (resamples,) in which `source` is not above `reference`, or the reverse if only that is
    at most 5 %.

    An undefined replicate counts against a difference, because comparisons with NaN are false.
    """
    not_above, not_below = 1 - np.mean(source > reference), 1 - np.mean(reference > source)
    return float(not_below if not_above > 0.05 and not_below <= 0.05 else not_above)
