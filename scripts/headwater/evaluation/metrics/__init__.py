"""Metrics: one file per measure of how well a network tells what it was fitted to tell.

A plug-in holds
    TITLE: str                                how tables call it
    BETTER: "higher" | "lower"                which way is better
    RANGE: tuple[float, float]                between which values it lies
    EVIDENCE: tuple[str, ...]                 which columns of a task's evidence it needs, each (cases,), such as
        target          1 with, 0 without the finding
        score           the higher, the more the network believes in the finding
        true_positive   voxels; with false_positive and false_negative, of a structure's outline
    measure(*evidence, weights) -> ndarray    float (replicates,); NaN where the measure is undefined
        weights   whole or decimal numbers (replicates, cases): how often each case counts in each replicate

and may hold
    PROBABILITIES = True                      scores must be probabilities; classification writes log-odds
    CHANCE: float                             what guessing reaches, for the control by shuffled labels
    KERNEL: tuple                             where cases are ranked by score: the name of a kernel of
                                              statistics/ranked.py, and what it takes first; a name, because a training
                                              measures too and has no use for the kernels' compiler
    per_case(*evidence) -> ndarray            float (cases,), where the measure is a mean over cases

A bootstrap replicate is a row of `weights`, so that a metric never sees how patients were resampled. `measure` alone is
enough; KERNEL or per_case give the same numbers hundreds of times faster. A metric is measured for the labels whose
task gives its evidence; a config that asks for one which fits no label of a dataset is refused.
"""
