"""Statistics: how patients and seeds are resampled, and what intervals and p-values follow; numpy and numba only.

All functions take the replicates of a statistic as they come; a replicate that is NaN was undefined and is dropped.
"""
