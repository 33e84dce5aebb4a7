"""Metrics: one file per measure of how well scores tell cases with a finding from cases without it.

A plug-in holds
    TITLE: str                                how tables call it
    BETTER: "higher" | "lower"                which way is better
    RANGE: tuple[float, float]                between which values it lies
    measure(target, score, weights) -> ndarray
        target    float (cases,): 1 with, 0 without the finding
        score     float (cases,): the higher, the more the network believes in the finding
        weights   whole or decimal numbers (replicates, cases): how often each case counts in each replicate
        gives     float (replicates,); NaN where the measure is undefined

A bootstrap replicate is a row of `weights`, so that a metric never sees how patients were resampled.
"""
