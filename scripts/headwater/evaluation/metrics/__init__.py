"""Metrics: one file per measure of performance.

A plug-in holds
    TITLE: str                                its name in tables, with its unit if it has one; {unit} is what
                                              distances are in
    BETTER: "higher" | "lower"                which direction is better
    RANGE: tuple[float, float]                its lowest and highest value
    EVIDENCE: tuple[str, ...]                 the columns of a task's evidence that it needs, each (cases,), such as
        target          1 with, 0 without the finding
        score           the higher, the more likely the finding
        true_positive   voxels; with false_positive and false_negative, of a segmented structure
        hausdorff95     mm or pixels; surface_dice, reference_ml, predicted_ml: as in `models.outlines`
    measure(*evidence, weights) -> ndarray    float (replicates,); NaN where the measure is undefined
        weights   integers or floats (replicates, cases): how often each case counts in each replicate

and may hold
    CLASSES: tuple[str, ...]                  ("positive",) or ("negative",) if it is about the cases with the label, or
                                              without it, only; these follow from the target, so that all sources are
                                              measured on the same ones; predictions that lack evidence are refused
    DIGITS: int                               the decimals that tables print; else 3
    NOTE: str                                 what it is and which direction is better, for a footnote; {tolerance} is
                                              replaced by the dataset's
    VOLUME = True                             it is about volumes, which pictures have not
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
