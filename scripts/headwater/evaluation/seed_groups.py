"""Seed groups: all seeds of one source on one test set, and the variation of their values over patients and seeds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headwater.data.tables import FLAG, NUMBER, TEXT, WHOLE
from headwater.evaluation import eligibility
from headwater.evaluation.eligibility import Label
from headwater.evaluation.statistics import means, readers, recalibration, replication
from headwater.evaluation.statistics.means import Summed
from headwater.evaluation.statistics.readers import Estimate
from headwater.evaluation.statistics.replication import Column
from headwater.evaluation.validation_choices import Choices, TestedNetwork, choose
from headwater.study.comparison import Comparison

RAW, SCALED = "raw", "scaled"
"""Scores as predicted, and divided by the network's temperature."""

SHARE = (0.0, 1.0)
"""The range of rates and of the Brier score."""

COUNTED = {
    "patients": WHOLE,
    "cases": WHOLE,
    "positives": WHOLE,
    "positive_patients": WHOLE,
    "negative_patients": WHOLE,
    "seeds": WHOLE,
    "resamples": WHOLE,
    "tested": FLAG,
    "note": TEXT,
}
"""Columns with the counts behind a label's numbers."""


def estimated(*names: str) -> dict[str, str]:
    """Columns of quantities, each with its standard error and its interval."""
    return {f"{name}{suffix}": NUMBER for name in names for suffix in ("", "_se", "_low", "_high")}


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One quantity of all seeds of a source, and its variation over patients."""

    observed: np.ndarray
    """(seeds,)"""
    varies: np.ndarray
    """(seeds, resamples) or (seeds, patients): replicates, or the influence of each patient."""
    replicated: bool
    """Whether `varies` are bootstrap replicates."""

    def estimate(self, label: Label) -> Estimate:
        """The mean over seeds, with seeds as readers; of a label that is described only, the mean alone."""
        covariance = readers.covariance if self.replicated else recalibration.covariance
        spread = covariance(self.varies, patients=label.smaller_class)
        estimate = readers.of_source(self.observed, spread, patients=label.smaller_class)
        return estimate.cautious(label.most_degrees_of_freedom) if label.tested else estimate.described()


def mean(quantities: list[Quantity]) -> Quantity:
    """The mean over labels, for each patient or replicate separately, which keeps the correlation between labels."""
    observed, varies = (
        np.mean([getattr(quantity, name) for quantity in quantities], axis=0) for name in ("observed", "varies")
    )
    return Quantity(observed=observed, varies=varies, replicated=quantities[0].replicated)


@dataclass(frozen=True, kw_only=True)
class SeedGroup:
    """The networks of one source and recipe fitted to one dataset, one a seed, on one test set."""

    networks: tuple[TestedNetwork, ...]
    labels: tuple[Label, ...]
    patient: np.ndarray
    """(cases,): the patient of each case."""
    patients: int
    comparison: Comparison
    threads: int

    @cached_property
    def choices(self) -> list[Choices]:
        """The temperature and thresholds by each network's validation split."""
        return [choose(network, specificity=self.comparison.specificity) for network in self.networks]

    def kinds(self, at: int) -> tuple[str, ...]:
        """The kinds of scores of the label at a position; if a network has no temperature for it, only raw ones."""
        temperatures = [chosen.temperatures[self.asked[at]] for chosen in self.choices]
        return (RAW,) if np.isnan(temperatures).any() else (RAW, SCALED)

    @property
    def asked(self) -> tuple[str, ...]:
        """The networks' own name of each label."""
        return self.networks[0].asked

    @property
    def place(self) -> dict[str, object]:
        """The first columns of all rows."""
        source, recipe, _ = self.networks[0].test.run
        datasets = {"dataset": self.comparison.dataset, "fitted_to": self.networks[0].fitted_to}
        return {**datasets, "recipe": recipe, "source": source}

    def scores(self, at: int, kind: str) -> list[np.ndarray]:
        """Each network's log-odds of the label at a position, where its target is known."""
        known = self.labels[at].known
        divisors = [chosen.temperatures[self.asked[at]] if kind == SCALED else 1.0 for chosen in self.choices]
        return [network.test.score[at, known] / by for network, by in zip(self.networks, divisors, strict=True)]

    def target(self, at: int) -> np.ndarray:
        """The known targets of the label at a position."""
        return self.networks[0].test.target[at, self.labels[at].known]

    def ratios(self, summed: Iterable[Sequence[Summed]]) -> list[Quantity]:
        """Ratios of sums over patients, observed and resampled; each entry of `summed` has one sum per seed."""
        parts = [list(of_seeds) for of_seeds in summed]
        columns = [_column(sums) for of_seeds in parts for sums in of_seeds]
        replicates = replication.replicates(
            columns,
            patients=self.patients,
            resamples=self.comparison.resamples,
            seed=self.comparison.seed,
            threads=self.threads,
        )
        shape = len(parts), len(self.networks), self.comparison.resamples
        return [
            Quantity(observed=np.array([_ratio(sums) for sums in of_seeds]), varies=varies, replicated=True)
            for of_seeds, varies in zip(parts, replicates.reshape(shape), strict=True)
        ]

    def counts(self, label: Label, *notes: str) -> dict[str, object]:
        """The counts behind a label's numbers: the last columns of all rows."""
        return {
            "patients": label.patients,
            "cases": len(label.known),
            "positives": label.positives,
            "positive_patients": label.positive_patients,
            "negative_patients": label.negative_patients,
            "seeds": len(self.networks),
            "resamples": self.comparison.resamples,
            "tested": label.tested,
            "note": "; ".join(note for note in (label.note, *notes) if note),
        }


def groups(networks: Iterable[TestedNetwork], *, comparison: Comparison, threads: int) -> Iterator[SeedGroup]:
    """Networks put together by what they were fitted to, recipe and source; seeds rise. None without a label."""
    by_source: dict[tuple[str, ...], list[TestedNetwork]] = {}
    for network in (network for network in networks if network.asked):
        source, recipe, _ = network.test.run
        by_source.setdefault((network.fitted_to, recipe, source, *network.asked), []).append(network)
    for key in sorted(by_source):
        chosen = sorted(by_source[key], key=lambda network: network.test.run[2])
        test = chosen[0].test
        names, patient = np.unique(test.patients, return_inverse=True)
        asked = zip(map(str, test.labels), chosen[0].asked, strict=True)
        untaught = {label: chosen[0].untaught[name] for label, name in asked if name in chosen[0].untaught}
        yield SeedGroup(
            networks=tuple(chosen),
            labels=tuple(eligibility.parts(test, comparison=comparison, untaught=untaught)),
            patient=patient,
            patients=len(names),
            comparison=comparison,
            threads=threads,
        )


def columns_of(name: str, estimate: Estimate, interval: tuple[float, float]) -> dict[str, float]:
    """An estimate with its standard error and its interval as columns."""
    return {
        name: estimate.value,
        f"{name}_se": estimate.standard_error,
        f"{name}_low": interval[0],
        f"{name}_high": interval[1],
    }


def _ratio(sums: Summed) -> float:
    """The observed ratio; NaN if its denominator is 0."""
    denominator = sums.cases.sum()
    return float(sums.total.sum() / denominator) if denominator else np.nan


def _column(sums: Summed) -> Column:
    """The ratio as a column that is measured in all replicates."""

    def measure(counts: np.ndarray, room: int) -> np.ndarray:
        out = np.empty(counts.shape[1])
        means.mean(counts, sums.total, sums.cases, out)
        return out

    return Column(measure)
