"""Footnotes of the tables of differences between sources."""

import pandas as pd

from headwater.core import registry
from headwater.data.tables import OF_SUBSET
from headwater.evaluation import multiplicity
from headwater.reporting import ceilings, formatting, verdict
from headwater.study import input_contract
from headwater.study.grid import Grid


def of_significance(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The footnotes of the table of all comparisons."""
    return [
        legend(rows, grid=grid),
        details(grid),
        *over_folds(grid),
        *definitions(rows, grid=grid),
        *subsets(rows, grid=grid),
        *of_weights(grid),
        *published_faults(grid),
    ]


def of_pivot(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The footnotes of a pivot table."""
    titles = formatting.titles(grid)
    value = next(iter(titles.values())) if len(titles) == 1 else "the metric"
    cells = f"In the column of a source: {value} ± standard error {formatting.covers(grid)}; of a pair: adjusted p."
    if grid.comparing.method == "published":
        cells += " The published way: mean ± standard deviation, and unadjusted p."
    return [
        cells,
        legend(rows, grid=grid),
        *over_folds(grid),
        *definitions(rows, grid=grid),
        *subsets(rows, grid=grid),
        *verdict.controls(rows, grid=grid),
        *of_weights(grid),
        *published_faults(grid),
    ]


def legend(rows: pd.DataFrame, *, grid: Grid) -> str:
    """The legend of a table of differences."""
    macro = {"holm": "Holm", "max_t": "max-T"}[grid.comparing.correction]
    sentences = [
        "±: standard error.",
        f"* and bold: adjusted p at most {grid.comparing.level:g} (macro: {macro}; labels: Benjamini-Hochberg; "
        "controls: Holm). No star: this study cannot tell the two apart, which does not mean that they are equal.",
        *(["≤: the smallest p that this number of resamples allows."] if grid.with_test_split else []),
    ]
    if (rows["value"].notna() & ~rows["tested"] & (rows["reference"] != "")).any():
        sentences.append(
            "Described only: a value without standard error and interval, because so few patients do not tell how far "
            "off it may be."
        )
    if rows["few"].any():
        sentences.append(f"{formatting.FEW.strip()}: few patients with the label, or without it; read with caution.")
    if not multiplicity.failed(rows).empty:
        tested = "dataset" if grid.in_folds else "test set"
        sentences.append(
            f"{formatting.CONTROL_FAILED.strip()}: a control failed on this {tested}; its stars are as computed, "
            "but do not rely on them."
        )
    return " ".join(sentences)


def definitions(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What the metrics are that need a word, and what a ceiling is where there is one."""
    metrics = [registry.load("metrics", metric) for metric in grid.comparing.metrics]
    tolerances = {of.name: f"{of.tolerance:g} {formatting.unit_of(of, grid)}" for of in grid.datasets}
    tolerance = ", ".join(sorted(set(tolerances.values())))
    if len(set(tolerances.values())) > 1:
        tolerance = ", ".join(f"{length} ({name})" for name, length in tolerances.items())
    notes = [metric.NOTE.format(tolerance=tolerance) for metric in metrics if hasattr(metric, "NOTE")]
    return ([" ".join(notes)] if notes else []) + [ceilings.NOTE] * ("ceiling" in rows)


def details(grid: Grid) -> str:
    """The legend of the further columns of the table of all comparisons."""
    sentences = [
        "df: degrees of freedom of t. Percentile p: p from the bootstrap replicates alone, for comparison. Effect: the "
        "difference divided by the standard deviation between trainings. Superiority: share of pairs of trainings in "
        "which the source is better."
    ]
    if grid.in_folds:
        sentences.append(
            f"Percentile p, effect and superiority are empty for {', '.join(grid.in_folds)}: folds have no replicates, "
            "and a seed's mean over folds varies less than any training."
        )
    if grid.comparing.margin:
        sentences.append(
            f"Non-inferiority and equivalence p: against a margin of {grid.comparing.margin:g} fixed in advance, "
            "adjusted over the family (macro: Holm; labels: Benjamini-Hochberg); only what the column states in words "
            "is shown."
        )
    return " ".join(sentences)


def over_folds(grid: Grid) -> list[str]:
    """How datasets in folds are compared; nothing without any."""
    return [
        f"{grid.wording.title('datasets', dataset.name)}: {dataset.splits.folds}-fold cross-validation, no test split. "
        "p and intervals come from the t-test over folds whose variance Nadeau and Bengio (2003) enlarge, because "
        "trainings share most patients; it "
        f"has {dataset.splits.folds - 1} degrees of freedom."
        for dataset in grid.datasets
        if dataset.splits
    ]


def of_weights(grid: Grid) -> list[str]:
    """What readers must know of published weights: inflated, without a decoder, or fed otherwise than in training."""
    called = grid.wording.title
    weighed = [source for source in grid.sources if source.weights and not source.control]
    sentences = [
        f"{called('sources', source.name)}: weights of {source.weights.inflate} slices, inflated to volumes."
        for source in weighed
        if source.weights.inflate
    ]
    sentences += [
        f"{called('sources', source.name)}: published weights of the encoder; what the file does not hold of the "
        "decoder starts at random."
        for source in weighed
        if source.weights.coverage == 1 and not source.whole
    ]
    sentences += [
        f"{called('sources', source.name)}: the file of its weights was gone when this was written, so how it was fed "
        "is not told."
        for source in weighed
        if input_contract.unseen(source)
    ]
    fed = input_contract.differences(grid)
    return sentences + [f"{called('sources', difference.source)}: fed {difference}." for difference in fed]


def published_faults(grid: Grid) -> list[str]:
    """The faults of the published method; none if it is not shown."""
    if grid.comparing.method != "published":
        return []
    return [
        "Published way: the mean ± SD and the p by the published study's own algorithm, shown beside ours; no star and "
        "no claim rests on it. It resamples images although a patient has several, so p is too small; it takes one "
        f"training for a source (here seed {min(grid.seeds)}); it chooses the direction of a test after looking, so 5% "
        "are really 10%; it does not correct for multiple tests; its SD of a macro is mostly the spread between "
        "labels, and is undefined where a label lacks a class in one resample; and its p can be 0, although 1,000 "
        "resamples cannot support a two-sided p below 0.002."
    ]


def subsets(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """The labels of each subset's macro, and the test sets on which it has no row of its own."""
    sentences = []
    for name, by_dataset in grid.further_macros.items():
        parts = [
            _subset(rows[rows["dataset"] == dataset], OF_SUBSET + name, labels, grid)
            for dataset, labels in by_dataset.items()
        ]
        if present := [part for part in parts if part]:
            sentences.append(f"{OF_SUBSET}{name}, exploratory, is the mean over fewer labels. {' '.join(present)}")
    return sentences


def _subset(rows: pd.DataFrame, label: str, labels: tuple[str, ...], grid: Grid) -> str:
    """The labels of a subset on one test set, or why it has no row there; "" without rows of the test set."""
    if rows.empty:
        return ""
    where = grid.wording.title("datasets", rows["dataset"].iloc[0])
    if label in set(rows["label"]):
        return f"{where}: {', '.join(grid.wording.title('labels', name) for name in labels)}."
    tested = set(rows.loc[rows["tested"], "label"])
    why = (
        "it holds every tested label, so the macro is its mean"
        if tested & set(labels)
        else "none of its labels is tested"
    )
    return f"{where}: no row of its own, as {why}."
