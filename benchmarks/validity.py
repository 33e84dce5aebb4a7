"""How often each way of comparing two equally good sources claims a difference that is not there.

    python benchmarks/validity.py [--sets 2000] [--grids 1000] [--folder docs]

Test sets, patients and training seeds are simulated together: patients have one or several images whose labels and
scores hang together, and each training draws its own quality. The true difference is known, so false claims and missed
intervals can be counted. Writes validity.md, validity.csv and validity.svg into the folder.
"""

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from headwater.core.progress import bar
from headwater.evaluation.metrics import auroc
from headwater.evaluation.statistics import corrections, published, readers, replication, resampling, significance
from headwater.reporting import drawing

PATIENTS = 500
RESAMPLES = 512
PREVALENCE = 0.15
SEPARATION = stats.norm.ppf(0.8) * math.sqrt(2)  # an AUROC of 0.8 for scores of unit variance
LEVEL = 0.05

SHARED, OF_SOURCE, OF_RUN = 0.6, 0.2, 0.2
"""Shares of a score's variance that all networks, one source's networks, and one network alone have."""
WITHIN_PATIENT = 0.5
"""Share of each of them, and of the label's, that a patient's images have in common."""
PAIRED = 0.7
"""Correlation of two sources' qualities under the same seed, where seed k fixes order and head."""
BETTER = 0.15
"""What one source is really better by, in units of the score, where coverage is counted."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One design: what is simulated 2,000 times."""

    images: int
    spread: float
    seeds: int
    pairing: str
    patients: int = PATIENTS
    analysed: str = ""
    """How seeds are analysed, where not as they are."""

    @property
    def paired(self) -> bool:
        """Whether seeds are analysed as pairs."""
        return (self.analysed or self.pairing) == "paired"


ROWS = [
    Row(images=images, spread=spread, seeds=seeds, pairing=pairing)
    for images, spread, seeds, pairing in product((1, 4, 9), (0.03, 0.1), (2, 3, 5, 10), ("nested", "paired"))
]

SEEDS_DECIDE = [
    Row(images=1, spread=0.1, seeds=seeds, pairing=pairing, patients=5000, analysed=analysed)
    for seeds, (pairing, analysed) in product(
        (3, 5, 10), (("nested", "nested"), ("paired", "paired"), ("nested", "paired"))
    )
]
"""Test sets so large that trainings decide, and seeds that are taken for pairs although they are none."""


# one simulated test set


def test_set(draw: np.random.Generator, *, patients: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """(target, patient) of each image; patients have `images` on average, and their labels hang together."""
    many = draw.geometric(1 / images, patients)
    patient = np.repeat(np.arange(patients), many)
    target = (_noise(draw, patient, 1.0) > stats.norm.isf(PREVALENCE)).astype(float)
    return target, patient


def _noise(draw: np.random.Generator, patient: np.ndarray, variance: float) -> np.ndarray:
    """Normal noise per image, half of its variance shared within a patient."""
    common = draw.standard_normal(patient[-1] + 1)[patient] * math.sqrt(WITHIN_PATIENT)
    return math.sqrt(variance) * (common + math.sqrt(1 - WITHIN_PATIENT) * draw.standard_normal(len(patient)))


def qualities(draw: np.random.Generator, *, sources: int, seeds: int, spread: float, pairing: str) -> np.ndarray:
    """How far each training separates the classes: (sources, seeds), all of the same mean."""
    shared = PAIRED if pairing == "paired" else 0.0
    own, common = draw.standard_normal((sources, seeds)), draw.standard_normal(seeds)
    return SEPARATION + spread * (math.sqrt(shared) * common + math.sqrt(1 - shared) * own)


def scores(draw: np.random.Generator, target: np.ndarray, patient: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Scores (sources, seeds, images) of trainings with these qualities (sources, seeds)."""
    everyone = _noise(draw, patient, SHARED)
    of_run = np.empty((*quality.shape, len(target)))
    for source, trainings in enumerate(quality):
        of_source = everyone + _noise(draw, patient, OF_SOURCE)
        for seed, separation in enumerate(trainings):
            of_run[source, seed] = separation * target + of_source + _noise(draw, patient, OF_RUN)
    return of_run


def measured(
    target: np.ndarray, runs: np.ndarray, unit: np.ndarray, *, seed: int, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray]:
    """AUROC of each run (runs, images): observed (runs,) and resampled by `unit` (runs, resamples)."""
    units = int(unit.max()) + 1
    columns = [replication.column(auroc, {"target": target, "score": run}, unit, patients=units) for run in runs]
    once = np.ones((1, len(target)), np.int64)
    observed = np.array([auroc.measure(target, run, once)[0] for run in runs])
    return observed, replication.replicates(columns, patients=units, resamples=resamples, seed=seed)


# one design


def claims(row: Row, *, sets: int, seed: int) -> dict[str, float]:
    """How often each way rejects a true null, and how often the default's intervals hold the truth."""
    truth = true_auroc(row.spread, SEPARATION + BETTER) - true_auroc(row.spread, SEPARATION)
    counted: list[dict[str, float]] = []
    for number in range(sets):
        draw = np.random.default_rng([seed, number])
        target, patient = test_set(draw, patients=row.patients, images=row.images)
        quality = qualities(draw, sources=2, seeds=row.seeds, spread=row.spread, pairing=row.pairing)
        runs = scores(draw, target, patient, quality)
        better = runs[0] + BETTER * target
        observed, drawn = measured(target, np.concatenate([*runs, better]), patient, seed=number)
        bearing = len(np.unique(patient[target == 1]))
        found = _of_set(row, observed, drawn, truth=truth, bearing=bearing)
        counted.append(found | _published(target, runs[:, 0], seed=number))
    return {name: float(np.mean([one[name] for one in counted])) for name in counted[0]}


def _of_set(row: Row, observed: np.ndarray, drawn: np.ndarray, *, truth: float, bearing: int) -> dict[str, float]:
    """What the ways that resample patients make of one set; `drawn` holds one, other and the better source.

    `bearing`: how many patients have a positive image.
    """
    one, other, better = np.arange(3 * row.seeds).reshape(3, row.seeds)
    covariance = readers.covariance(drawn, patients=bearing)

    def estimate(first: np.ndarray, second: np.ndarray) -> readers.Estimate:
        both = np.r_[first, second]
        part = covariance[np.ix_(both, both)]
        return readers.of_difference(observed[first], observed[second], part, paired=row.paired, patients=bearing)

    null, real = estimate(one, other), estimate(better, other)
    low, high = real.interval(LEVEL)
    value = readers.of_source(observed[one], covariance[np.ix_(one, one)], patients=bearing)
    bottom, top = value.interval_inside(LEVEL, bounds=(0.0, 1.0))
    counts = [
        resampling.seed_counts(row.seeds, resamples=drawn.shape[1], seed=0, source=name) for name in ("one", "other")
    ]
    crossed = resampling.over_seeds(drawn[one].T, counts[0]) - resampling.over_seeds(drawn[other].T, counts[1])
    first = drawn[one[0]] - drawn[other[0]]
    return {
        "seeds as readers": null.p() <= LEVEL,
        "crossed percentile": significance.two_sided(crossed, observed=null.value) <= LEVEL,
        "one seed, patients": significance.two_sided(first, observed=1.0) <= LEVEL,
        "seeds only": stats.ttest_ind(observed[one], observed[other], equal_var=False).pvalue <= LEVEL,
        "coverage of the difference": low <= truth <= high,
        "coverage of the value": bottom <= true_auroc(row.spread, SEPARATION) <= top,
    }


def _published(target: np.ndarray, runs: np.ndarray, *, seed: int) -> dict[str, float]:
    """The published rule: one training each, images resampled, the direction chosen after looking."""
    _, drawn = measured(target, runs, np.arange(len(target)), seed=seed)
    return {"published rule": published.p(*drawn) <= LEVEL}


def true_auroc(spread: float, separation: float) -> float:
    """The mean AUROC over trainings: E Phi((d + spread z) / sqrt 2)."""
    return float(stats.norm.cdf(separation / math.sqrt(2 + spread**2)))


# whole families


def family_errors(
    *, grids: int, seed: int, datasets: int = 2, sources: int = 4, labels: int = 3, seeds: int = 5
) -> dict:
    """How often at least one macro difference is claimed in a grid of equally good sources, by correction."""
    counted = []
    for number in bar(range(grids), total=grids, what="families"):
        draw = np.random.default_rng([seed, number])
        tests = [
            test
            for dataset in range(datasets)
            for test in _macro_tests(
                draw, sources=sources, labels=labels, seeds=seeds, seed=datasets * number + dataset
            )
        ]
        p = np.array([estimate.p() for estimate, _ in tests])
        drawn = np.array([replicates for _, replicates in tests]).T
        counted.append(
            {
                "no correction": (p <= LEVEL).any(),
                "Holm": (corrections.holm(p) <= LEVEL).any(),
                "max-T": (corrections.max_t(p, drawn) <= LEVEL).any(),
            }
        )
    return {name: float(np.mean([one[name] for one in counted])) for name in counted[0]}


def _macro_tests(
    draw: np.random.Generator, *, sources: int, labels: int, seeds: int, seed: int, patients: int = 300
) -> list[tuple[readers.Estimate, np.ndarray]]:
    """Each source against the first on one test set: the macro's difference, and its replicates."""
    patient = np.repeat(np.arange(patients), draw.geometric(1 / 3, patients))
    of_labels, bearing = [], set()
    quality = qualities(draw, sources=sources, seeds=seeds, spread=0.05, pairing="paired")
    for _ in range(labels):
        target = (_noise(draw, patient, 1.0) > stats.norm.isf(PREVALENCE)).astype(float)
        runs = scores(draw, target, patient, quality)
        bearing |= set(patient[target == 1])
        of_labels.append(measured(target, np.concatenate(runs), patient, seed=seed))
    observed, drawn = (np.mean(part, axis=0) for part in zip(*of_labels, strict=True))
    found = []
    for source in range(1, sources):
        one, other = np.arange(source * seeds, (source + 1) * seeds), np.arange(seeds)
        both = np.r_[one, other]
        covariance = readers.covariance(drawn[both], patients=len(bearing))
        estimate = readers.of_difference(observed[one], observed[other], covariance, paired=True, patients=len(bearing))
        counts = [
            resampling.seed_counts(seeds, resamples=drawn.shape[1], seed=seed, source=str(name)) for name in (source, 0)
        ]
        resampled = [resampling.over_seeds(drawn[at].T, count) for at, count in zip((one, other), counts, strict=True)]
        found.append((estimate, resampled[0] - resampled[1]))
    return found


# the tables and the picture


def table(rows: list[Row], *, sets: int, seed: int, workers: int) -> pd.DataFrame:
    """One line per design."""
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(claims, row, sets=sets, seed=seed + position) for position, row in enumerate(rows)]
        found = [future.result() for future in bar(futures, total=len(rows), what="designs")]
    facts = [
        {
            "images": row.images,
            "seed SD": row.spread,
            "seeds": row.seeds,
            "design": row.pairing,
            "analysed as": row.analysed or row.pairing,
            "patients": row.patients,
        }
        for row in rows
    ]
    return pd.DataFrame([fact | claimed for fact, claimed in zip(facts, found, strict=True)])


def picture(frame: pd.DataFrame, path: Path) -> None:
    """False claims of each way over all designs, beside the nominal level and the band that is asked for."""
    ways = ["seeds as readers", "crossed percentile", "seeds only", "one seed, patients", "published rule"]
    with mpl.rc_context(drawing.LOOK | {"svg.hashsalt": "validity"}):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        _claims(figure.subplots(), frame, ways)
        path.write_text(drawing.Drawing(figure).svg)


def _claims(ax: mpl.axes.Axes, frame: pd.DataFrame, ways: list[str]) -> None:
    """One mark per design: where each way stands to the nominal level."""
    ax.axvspan(3.5, 6.5, color="#d9ead3", lw=0)
    ax.axvline(5, color=drawing.INK, lw=0.8)
    marks = {2: "s", 3: "o", 5: "^", 10: "D"}
    for height, way in enumerate(ways):
        for seeds, mark in marks.items():
            of_seeds = frame[frame["seeds"] == seeds]
            spread = np.linspace(-0.3, 0.3, len(of_seeds)) if len(of_seeds) > 1 else [0.0]
            ax.plot(
                100 * of_seeds[way],
                height + np.array(spread),
                mark,
                ms=4,
                mfc="none",
                color=drawing.COLOURS[list(marks).index(seeds)],
                label=f"{seeds} seeds" if height == 0 else None,
            )
    ax.set_yticks(range(len(ways)), ways)
    ax.invert_yaxis()
    ax.set_xlabel("false claims of a difference, % of simulated test sets (nominal: 5 %)")
    ax.legend(frameon=False, loc="upper right")


FACTS = ("images", "seed SD", "seeds", "design", "analysed as", "patients")
"""What a design is; all else is a share of its sets."""


def _shown(frame: pd.DataFrame, *, without: tuple[str, ...]) -> str:
    """Designs and shares in per cent, as Markdown."""
    percent = [column for column in frame if column not in FACTS]
    shown = frame.assign(**{column: (100 * frame[column]).map("{:.1f}".format) for column in percent})
    return shown.drop(columns=list(without)).to_markdown(index=False, disable_numparse=True)


def page(frame: pd.DataFrame, decided: pd.DataFrame, families: pd.DataFrame, *, sets: int, grids: int) -> str:
    """The tables in Markdown, in per cent."""
    judged = 100 * frame[frame["seeds"] >= 3]["seeds as readers"]
    errors = (100 * families.drop(columns="seeds")).map("{:.1f}".format)
    errors.insert(0, "seeds", families["seeds"])
    precision = 196 * math.sqrt(0.05 * 0.95 / sets)
    return f"""# How valid each comparison is

Written by `python benchmarks/validity.py`. Each row is {sets:,} simulated test sets of {PATIENTS} patients with
`images` images each on average, {100 * PREVALENCE:.0f} % positive. Labels and scores of a patient's images correlate by
{WITHIN_PATIENT}; the AUROC is 0.8. Each training has a quality of its own with standard deviation `seed SD`, in units
of the score. The two sources are equally good on average, so a valid method finds a difference in 5 % of the sets.
*Nested*: trainings are independent. *Paired*: qualities under the same seed correlate by {PAIRED}, and the analysis
uses that (from three seeds on). Coverage of the difference is counted for a source that is better by {BETTER}. With
{sets:,} sets, 5 % are known to within {precision:.1f} points.

With three seeds or more, *seeds as readers*, the default, finds a difference that does not exist in
{judged.min():.1f} to {judged.max():.1f} % of these sets, {judged.mean():.1f} % on average.

![False positive rate of each method](validity.svg)

{_shown(frame, without=("patients", "analysed as"))}

## Where the variation between trainings dominates

The same with 5,000 patients, so that patients add little variance and trainings almost all of it. Here few seeds are
not enough, above all if independent seeds are analysed as pairs.

{_shown(decided, without=("images", "seed SD", "patients"))}

## Whole families of tests

{grids:,} grids of four equally good sources on two test sets of 300 patients, three labels, paired seeds (`seed SD`
0.05): the percentage in which at least one of the six macro differences is found significant.

{errors.to_markdown(index=False, disable_numparse=True)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--grids", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    frame = table(ROWS, sets=asked.sets, seed=asked.seed, workers=asked.workers)
    decided = table(SEEDS_DECIDE, sets=asked.sets, seed=asked.seed + 1000, workers=asked.workers)
    families = pd.DataFrame(
        [{"seeds": seeds} | family_errors(grids=asked.grids, seed=asked.seed, seeds=seeds) for seeds in (2, 3, 5, 10)]
    )
    asked.folder.mkdir(parents=True, exist_ok=True)
    everything = pd.concat([frame, decided])
    everything.to_csv(asked.folder / "validity.csv", index=False, float_format="%.4f")
    picture(frame, asked.folder / "validity.svg")
    whole = page(frame, decided, families, sets=asked.sets, grids=asked.grids)
    (asked.folder / "validity.md").write_text(whole)
    print(whole)


if __name__ == "__main__":
    main()
