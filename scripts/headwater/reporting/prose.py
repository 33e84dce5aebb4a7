"""Sentences: what a report says in words about its grid, its sources and archives, and its verdict."""

import math

import pandas as pd

from headwater.core import registry, text
from headwater.core.records import Choice
from headwater.core.text import many
from headwater.data.cards import card
from headwater.data.tables import CHANCE, OF_SUBSET, is_mean
from headwater.evaluation import multiplicity
from headwater.evaluation.multiplicity import CONFIRMATORY, CONTROL, EXPLORATORY
from headwater.evaluation.statistics.readers import FEWEST_PAIRED
from headwater.reporting import formatting, pivot
from headwater.study.archive import Archive, Dataset
from headwater.study.comparison import FEW_POSITIVE
from headwater.study.grid import Grid
from headwater.study.leaks import Excuse
from headwater.study.source import Source

# the grid


def extent(grid: Grid) -> str:
    """How large the grid is."""
    sizes = {"source": grid.sources, "dataset": grid.datasets, "recipe": grid.recipes, "seed": grid.seeds}
    runs = math.prod(len(part) for part in sizes.values())
    return " × ".join(many(len(part), noun) for noun, part in sizes.items()) + f" = {many(runs, 'run')}"


FEW_SEEDS = 5
"""With fewer, the tables warn of how little they tell of training noise."""


def warnings(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What a reader of these judged comparisons must know before the first number: failed controls first."""
    return [
        *_failed_controls(rows, grid),
        *_of_leaks(rows, grid),
        *_of_data(rows, grid),
        *_at_home(rows, grid),
        *_of_seeds(grid),
    ]


def _failed_controls(rows: pd.DataFrame, grid: Grid) -> list[str]:
    titles = formatting.titles(grid)
    said = []
    for row in multiplicity.failed(rows).itertuples():
        where = ", ".join([row.dataset, *([row.recipe] if len(grid.recipes) > 1 else []), titles[row.metric]])
        difference = formatting.estimate(row.difference, row.difference_low, row.difference_high, sign="+")
        against = "guessing" if row.reference == CHANCE else row.reference
        said.append(
            f"Do not build on the numbers of {where}: the control {row.source} differs from {against}, from which it "
            f"must not differ ({difference}, adjusted p {formatting.adjusted(row)}). Find out why first."
        )
    return said


def _of_leaks(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Overlaps with the test splits of these comparisons that the config excuses."""
    datasets = [dataset for dataset in grid.datasets if dataset.name in set(rows["dataset"])]
    tested = {f"{grid.images_of(dataset.archive)} test" for dataset in datasets}
    return [_excused(excuse) for excuse in grid.leaks.excused if tested & set(excuse.between)]


def _excused(excuse: Excuse) -> str:
    """An excused overlap in a sentence."""
    both = " and ".join(excuse.between)
    if excuse.kind == "declared":
        return (
            f"{both} stem from the same scans, under other numbers: no file can show how many of the test patients "
            f"were learned from. The study excuses it ({excuse.reason})."
        )
    shared = f"{SHARED[excuse.kind]} that {both} share ({excuse.reason})"
    return f"The study excuses {shared}; how many they are is in ledger.csv."


SHARED = {
    "patients": "patients",
    "studies": "studies",
    "identical": "identical images",
    "near-identical": "near-identical images",
    "declared": "the scans that they stem from",
}
"""How what two parts of a grid share is called in a sentence."""


def apart(ledger: pd.DataFrame, *, grid: Grid) -> str:
    """What the ledger found, in a sentence."""
    leaks = ledger[ledger["must_be_apart"] & (ledger["cases"] > 0)]
    parts = many(ledger["part"].nunique(), "split")
    looked = (
        f"The ledger holds {parts} of all datasets and corpora against each other: patients, examinations, identical "
        f"images, and images whose perceptual hashes differ in at most {grid.leaks.distance} of 256 bits, as far as "
        "the archives tell patients and examinations. "
    )
    if leaks.empty:
        return looked + "No test split shares any of them with what is learned from."
    return looked + f"Test splits share {many(len(leaks), 'such thing')} with what is learned from, all excused below."


def _of_data(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Synthetic archives, and archives that do not tell patients apart."""
    datasets = [dataset for dataset in grid.datasets if dataset.name in set(rows["dataset"])]
    used = {dataset.archive for dataset in datasets}
    used |= {archive for source in grid.sources for archive in source.archives}
    twins = [archive.name for archive in grid.archives if archive.twin and archive.name in used]
    return synthetic(twins) + [
        f"{dataset.name}: cases stand in for patients, because the archive does not tell which images belong to one "
        "patient. If some do, its intervals are too narrow."
        for dataset in datasets
        if not card(grid.archive(dataset.archive)).patients
    ]


def _at_home(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Sources that learned from the training images of a dataset before they were fitted to it."""
    return [
        f"{source.name} learned from training images of {dataset.name} before it was fitted to them: there it is at "
        "home, and its numbers say nothing of what its weights are worth elsewhere."
        for dataset in grid.datasets
        for source in grid.sources
        if dataset.name in set(rows["dataset"]) and not source.control
        if grid.images_of(dataset.archive) in grid.learned_by(source)
    ]


def synthetic(twins: list[str]) -> list[str]:
    """What has to be said of synthetic archives, if there are any."""
    return [f"Synthetic data: no clinical meaning ({', '.join(twins)})."] * bool(twins)


def _of_seeds(grid: Grid) -> list[str]:
    seeds = len(grid.seeds)
    if seeds >= FEW_SEEDS:
        return []
    if seeds == 1:
        return ["One seed: training noise is not in it. The tables speak of these trained networks, not of sources."]
    return [
        f"{seeds} seeds tell their spread poorly: small differences are missed, and where trainings differ far more "
        "than patients p can be too small. Use five."
    ]


def about(archive: Archive) -> str:
    """What an archive is."""
    made = "synthetic twin of " if archive.twin else ""
    return f"{made}{card(archive).title}, {card(archive).modality}, {archive.size} × {archive.size} pixels"


def way(source: Source) -> str:
    """How a source got its weights."""
    if source.weights:
        path = f": {source.weights.path}" if source.weights.path else ""
        return f"published, {_with_options(source.weights.layout)}{path}"
    if source.method:
        start = f", continued from {source.start}" if source.start else ""
        probe = source.probe
        chosen = f", the step chosen by {probe.kind} on {probe.archive}" if probe else ""
        return f"pre-trained here, {_with_options(source.method)}{start}{chosen}"
    return "random start"


def corpus(source: Source, grid: Grid) -> str:
    """What a source was pre-trained on."""
    if not source.corpus:
        return text.NONE
    reduction = _with_options(grid.reductions[source.reduction])
    named = "" if source.reduction == grid.reductions[source.reduction].name else f"{source.reduction}: "
    return f"{source.corpus}, {named}{reduction}"


def _with_options(choice: Choice) -> str:
    options = ", ".join(f"{key} {value}" for key, value in sorted(choice.options.items()))
    return choice.name + (f" ({options})" if options else "")


def length(source: Source) -> str:
    """How long a source was pre-trained."""
    if not source.training:
        return text.NONE
    training = source.training
    long = many(training.steps, "step") if training.steps else f"{training.epochs:g} epochs"
    return f"{long} of {many(training.batch, 'image')}, seed {source.seed}"


def unreadable(rejects: pd.DataFrame) -> str:
    """How many images could not be read, and the most frequent reasons."""
    if rejects.empty:
        return "none"
    reasons = rejects.groupby("reason").size().reset_index(name="count")
    reasons = reasons.sort_values(["count", "reason"], ascending=[False, True])
    told = [f"{reason} ({count})" for reason, count in reasons.head(3).itertuples(index=False, name=None)]
    return f"{len(rejects)}: " + "; ".join(told) + ("; ..." if len(reasons) > 3 else "")


# the verdict


def correction(grid: Grid) -> str:
    """Whose correction the family of macro tests gets."""
    return {"holm": "Holm", "max_t": "Westfall and Young"}[grid.comparing.correction]


def verdict(rows: pd.DataFrame, *, grid: Grid) -> str:
    """How many of the declared macro tests are significant."""
    family = rows[rows["family"] == CONFIRMATORY]
    if family.empty:
        return "No macro difference could be tested: no dataset has a label with enough patients in its test split."
    found = int(family["significant"].sum())
    level = f"{100 * grid.comparing.level:g}%"
    told = f"{found} of {many(len(family), 'declared macro difference')} {'is' if found == 1 else 'are'} significant"
    doubt = "" if found else " That is no evidence that the sources are equal."
    return f"{told} at {level} after {correction(grid)}'s correction.{doubt}"


def found(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """One sentence for each macro difference that is significant, and for each proven to stay within the margin."""
    lines = []
    for row in rows[rows["family"] == CONFIRMATORY].itertuples():
        metric = registry.load("metrics", row.metric)
        better = "better" if (row.difference > 0) == (metric.BETTER == "higher") else "worse"
        recipe = f", {row.recipe}" if len(grid.recipes) > 1 else ""
        numbers = (row.difference, row.difference_se, row.difference_low, row.difference_high)
        for claimed, claim, p in (
            (row.significant, f"{better} than {row.reference}", formatting.adjusted(row)),
            (row.equivalent, _equivalent(row.reference, grid), text.p_value(row.p_equivalent_adjusted)),
            (
                row.noninferior and not row.significant and not row.equivalent,
                f"not worse than {row.reference} by more than {grid.comparing.margin or 0:g}",
                text.p_value(row.p_noninferior_adjusted),
            ),
        ):
            if claimed:
                lines.append(
                    f"{formatting.dataset_of(row)}{recipe}: {row.source} is {claim}, {metric.TITLE} "
                    f"{formatting.with_error(*numbers, sign='+')}, adjusted p {p}"
                )
    return lines


def _equivalent(reference: str, grid: Grid) -> str:
    return f"equivalent to {reference} within {grid.comparing.margin:g}" if grid.comparing.margin else ""


def controls(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """One sentence on each control test, or that there is none."""
    tested = rows[rows["family"] == CONTROL]
    if tested.empty:
        return ["No control was run: nothing here shows that the comparison itself can be believed."]
    titles = formatting.titles(grid)
    said = []
    for row in tested.itertuples():
        where = ", ".join([row.dataset, *([row.recipe] if len(grid.recipes) > 1 else []), titles[row.metric]])
        against = "guessing" if row.reference == CHANCE else row.reference
        verdict = "FAILED" if row.significant else "passed"
        difference = formatting.estimate(row.difference, row.difference_low, row.difference_high, sign="+")
        numbers = f"{difference}, adjusted p {formatting.adjusted(row)}"
        said.append(f"Control {row.source} against {against}, {where}: {verdict} ({numbers})")
    return said


def ranks(rows: pd.DataFrame, *, grid: Grid) -> str:
    """Why there is no picture of ranks; nothing where there is one."""
    if not pivot.ranked(rows, grid=grid).empty:
        return ""
    sources, datasets = pivot.FEWEST_RANKED
    return f"No ranks over test sets are drawn: they need {sources} sources and {datasets} test sets with a macro."


def left_out(rows: pd.DataFrame, *, dataset: Dataset, counts: pd.DataFrame) -> list[str]:
    """One sentence for each label that is not tested, and why; then those that could not help to pick a step."""
    here = rows[(rows["dataset"] == dataset.name) & ~rows["label"].map(is_mean)].drop_duplicates("label")
    return [
        f"{row.label}: {row.note.split('; ')[0]}; not in the macro"
        for row in here.itertuples()
        if row.note.startswith(("left out", "described only"))
    ] + [
        f"{row.label}: no {'positive' if row.positives == 0 else 'negative'} case in validation; not in the macro that "
        "picks the kept step"
        for row in counts[counts["split"] == "validation"].itertuples()
        if row.label in set(here["label"]) and 0 in (row.positives, row.negatives)
    ]


def legend(rows: pd.DataFrame, *, grid: Grid) -> str:
    """How to read a table of differences."""
    macro = {"holm": "Holm", "max_t": "max-T"}[grid.comparing.correction]
    said = [
        "±: standard error.",
        f"* and bold: adjusted p at most {grid.comparing.level:g} (macro: {macro}; labels: Benjamini-Hochberg; "
        "controls: Holm). No star: this study does not tell the two apart; it does not say that they are equal.",
        "≤: the smallest p that the resamples can give.",
    ]
    if rows["few"].any():
        said.append(f"{formatting.FEW.strip()}: few patients bear the label, or do not; read with caution.")
    if not multiplicity.failed(rows).empty:
        said.append(
            f"{formatting.CONTROL_FAILED.strip()}: a control failed on this test set; its stars are as computed, "
            "but do not build on them."
        )
    return " ".join(said)


def details(grid: Grid) -> str:
    """What the further columns of the whole table are."""
    said = [
        "df: degrees of freedom of t. Percentile p: the same question asked of the replicates alone, for comparison. "
        "Effect: the difference in standard deviations of one training. Superiority: share of pairs of trainings in "
        "which the source is the better one."
    ]
    if grid.comparing.margin:
        said.append(
            f"Non-inferiority and equivalence p: against a margin of {grid.comparing.margin:g} fixed in advance, "
            "adjusted over the family (macro: Holm; labels: Benjamini-Hochberg); only what the column says in words is "
            "proven."
        )
    return " ".join(said)


def published_faults(grid: Grid) -> list[str]:
    """What the published way gets wrong; nothing where it is not shown."""
    if grid.comparing.method != "published":
        return []
    return [
        "Published way: the mean ± SD and the p of the published study's own algorithm, shown beside ours; no "
        "star and no claim rests on it. It resamples images although one patient has several, so that p is too "
        f"small; it takes one training for a source (here seed {min(grid.seeds)}); it chooses the direction of a test "
        "after looking, so that 5% are 10%; it corrects for no number of tests; its SD of a macro is mostly the spread "
        "between labels, and is lost where a label lacks a class in one resample; and its p can be 0, although 1,000 "
        "resamples can tell no two-sided p below 0.002."
    ]


def subsets(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What the macro of each subset is the mean over, and on which test sets it has no row of its own."""
    said = []
    for name, by_dataset in grid.comparing.subsets.items():
        parts = [_subset(rows[rows["dataset"] == dataset], OF_SUBSET + name, of) for dataset, of in by_dataset.items()]
        if told := [part for part in parts if part]:
            said.append(f"{OF_SUBSET}{name}, exploratory, is the mean over fewer labels. {' '.join(told)}")
    return said


def _subset(rows: pd.DataFrame, label: str, of: tuple[str, ...]) -> str:
    """The labels of a subset on one test set, or why it has no row there; nothing without the test set's rows."""
    if rows.empty:
        return ""
    where = rows["dataset"].iloc[0]
    if label in set(rows["label"]):
        return f"{where}: {', '.join(of)}."
    tested = set(rows.loc[rows["tested"], "label"])
    why = (
        "it holds every tested label, so the macro is its mean" if tested & set(of) else "none of its labels is tested"
    )
    return f"{where}: no row of its own, as {why}."


def footnotes(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What stands below the table of all comparisons."""
    return [legend(rows, grid=grid), details(grid), *subsets(rows, grid=grid), *published_faults(grid)]


def wide_footnotes(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """What stands below a wide table."""
    titles = formatting.titles(grid)
    value = next(iter(titles.values())) if len(titles) == 1 else "the metric"
    cells = f"Below each source: {value} ± standard error {formatting.covers(grid)}. Below each pair: adjusted p."
    if grid.comparing.method == "published":
        cells += " The published way: mean ± standard deviation, and p as it stands."
    return [
        cells,
        legend(rows, grid=grid),
        *subsets(rows, grid=grid),
        *controls(rows, grid=grid),
        *published_faults(grid),
    ]


# how the numbers were made


def notes(rows: pd.DataFrame, *, grid: Grid) -> list[str]:
    """How the numbers were made, and what is not in them."""
    fewest, few = grid.comparing.fewest_positive, FEW_POSITIVE
    return [
        f"{grid.comparing.resamples} bootstrap replicates draw patients with replacement, all images of a patient "
        "together. One draw serves all sources, seeds, labels and metrics of a dataset: every difference is paired.",
        *_method(grid),
        _seeds(grid),
        "One pre-training per source: its noise is not in the intervals.",
        _percentile(rows),
        *_families(rows, grid),
        f"Labels with fewer than {fewest} positive or negative patients in the test split are described but not "
        "tested; labels without a positive or negative case have no number. Neither is in the macro. This is decided "
        f"from the test split before any score is looked at. With fewer than {few}, a label is flagged, and its t has "
        "one degree of freedom less than the smaller class has patients.",
        "The macro is the mean over the same labels in every replicate. A replicate in which a label has no positive "
        "or no negative case is dropped for that label and for the macro, and counted "
        f"(at most {int(rows['dropped'].max())} here).",
        *subsets(rows, grid=grid),
        *controls(rows, grid=grid),
        *published_faults(grid),
        "A difference without a star is no proof of equality.",
    ]


def _method(grid: Grid) -> list[str]:
    """Where p and the intervals come from."""
    one_seed = len(grid.seeds) == 1
    if grid.comparing.method == "percentile":
        return [
            "Intervals are percentiles of the replicates, in which the seeds are resampled, too. p is two-sided, twice "
            "the rarer side of zero with the data counted once. The ± is the standard error by seeds as readers."
        ]
    if grid.comparing.method == "delong":
        return ["One training per source is compared by DeLong's method, with the images of a patient as a cluster."]
    if one_seed:
        return ["p and intervals come from the difference over its standard error, that of the resampled patients."]
    return [
        "p and intervals come from t, the difference over its standard error, with seeds as the readers of a "
        "multi-reader multi-case study: the method of Obuchowski and Rockette (1995) with the degrees of freedom of "
        "Hillis (2007), in which the patients of the smaller class count, too, and covariances from the resampled "
        "patients. They speak of new patients and of new trainings. These very trainings, with the patients alone by "
        "chance, are judged as well; standard error, interval and p are those of the more doubtful of the two. "
        "Intervals of a single value are made on the logit scale, so that they stay in its range."
    ]


def _seeds(grid: Grid) -> str:
    seeds = len(grid.seeds)
    if seeds == 1:
        return (
            "Each source was fitted once: training noise is not in it, neither in the intervals nor in p; the tables "
            "speak of these trained networks, not of their sources."
        )
    fitted = f"Each source was fitted {seeds} times (seeds {', '.join(map(str, grid.seeds))}). "
    if grid.comparing.method == "percentile":
        return fitted + (
            "In each replicate a source's seeds are resampled, with their spread stretched by √(S/(S−1)), because a "
            "resample of S seeds shows only (S−1)/S of their variance."
        )
    if grid.comparing.pairing == "nested" or seeds < FEWEST_PAIRED:
        few = " (with two seeds, pairs would leave one degree of freedom)" if grid.comparing.pairing == "paired" else ""
        return fitted + f"Seeds are nested in their source{few}: its seeds are nobody's pair."
    return fitted + (
        "Seeds are paired: seed k fixes the order of the data and the first weights of the head for every source, so "
        "that differences are taken seed by seed. An A/A control draws other random numbers; its seeds are nested."
    )


def _percentile(rows: pd.DataFrame) -> str:
    """The sensitivity column, and how small it can get."""
    smallest = rows["smallest_p"].max()
    if math.isnan(smallest):
        return "There is no percentile p: nothing was tested."
    return (
        "The percentile p asks the same of the replicates alone, with patients and seeds resampled; the smallest that "
        f"they can give is {text.p_value(smallest)}."
    )


def _families(rows: pd.DataFrame, grid: Grid) -> list[str]:
    """What was declared, and how it is corrected."""
    tests = {name: many(int((rows["family"] == name).sum()), "test") for name in (CONFIRMATORY, EXPLORATORY, CONTROL)}
    by_max_t = grid.comparing.correction == "max_t"
    of_subsets = " and the macro of every subset" if grid.comparing.subsets else ""
    said = [
        "Families declared in advance: confirmatory, the macro of every dataset, pair, recipe and metric "
        f"({tests[CONFIRMATORY]}, {'max-T' if by_max_t else 'Holm'}); exploratory, every single label{of_subsets} "
        f"({tests[EXPLORATORY]}, Benjamini-Hochberg); controls, their macros ({tests[CONTROL]}, Holm)."
    ]
    if by_max_t and tests[CONFIRMATORY] != many(0, "test"):
        used = int(rows.loc[rows["family"] == CONFIRMATORY, "correction_resamples"].max())
        said.append(
            f"Step-down max-T (Westfall and Young, Romano and Wolf) uses the {used} replicates in which every test of "
            f"the family is defined; {grid.comparing.resamples - used} were dropped."
        )
    return said
