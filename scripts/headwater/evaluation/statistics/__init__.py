"""Statistics: resampling of patients and seeds, confidence intervals and p-values, on plain arrays.

Replicates that are NaN, where a statistic was undefined, are dropped by the function that uses them.
"""
