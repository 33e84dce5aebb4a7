"""Metrics: one file per measure of performance.

A plug-in holds
    TITLE: str                                its name in tables
    BETTER: "higher" | "lower"                which direction is better
    RANGE: tuple[float, float]                its lowest and highest value
    EVIDENCE: tuple[str, ...]                 the columns of a task's evidence that it needs, each (cases,), such as
        target          1 with, 0 without the finding
        score           the higher, the more likely the finding
        true_positive   voxels; with false_positive and false_negative, of a segmented structure
    measure(*evidence, weights) -> ndarray    float (replicates,); NaN where the measure is undefined
        weights   integers or floats (replicates, cases): how often each case counts in each replicate

and may hold
    PROBABILITIES = True                      scores must be probabilities; classification writes log-odds
    CHANCE: float                             its chance level, for the control with shuffled labels
    KERNEL: tuple                             if it ranks cases by score: the name of a kernel of statistics/ranked.py,
                                              and its first arguments; a name, so that trainings, which use metrics as
                                              well, need not import numba
    per_case(*evidence) -> ndarray            float (cases,), if it is a mean over cases

A bootstrap replicate is a row of `weights`, so that a metric never sees how patients were resampled. `measure` alone is
enough; KERNEL or per_case give the same numbers hundreds of times faster. A metric is measured for the labels whose
task gives its evidence; a config that asks for one which fits no label of a dataset is refused.
"""
