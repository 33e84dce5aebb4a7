"""Published: the arithmetic of the chest radiograph study's own code, kept to be laid beside ours, faults included.

What is wrong with it: images are resampled although patients have several; one training stands for a source; the
direction of a test is chosen after looking, so that 5 % are 10; nothing is corrected for the number of tests; p can be
0; the spread of a mean over labels is mostly the spread between labels.
"""

import numpy as np

RESAMPLES = 1000
"""As many as the study drew."""

COLUMNS = ("published_value", "published_sd", "published_reference", "published_reference_sd", "published_p")
"""Where its numbers stand in the table of comparisons."""


def mean_and_sd(replicates: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all replicates, and over labels at once if there are several."""
    return float(np.mean(replicates)), float(np.std(replicates))


def p(one: np.ndarray, other: np.ndarray) -> float:
    """The share of replicates (resamples,) in which `one` is not above `other`, or the reverse if that is small.

    An undefined replicate counts against a difference, as a comparison with NaN does.
    """
    not_above, not_below = 1 - np.mean(one > other), 1 - np.mean(other > one)
    return float(not_below if not_above > 0.05 and not_below <= 0.05 else not_above)
