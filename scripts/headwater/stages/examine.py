"""Examine: calibration of the scores, performance at operating points, and performance in subgroups of patients.

Temperatures and thresholds are chosen on the validation split; the resamples of patients are those of `compare`.
"""

from pathlib import Path

from headwater.data.index import LABELS
from headwater.data.store import CASES
from headwater.evaluation import calibration as calibration_of
from headwater.evaluation import eligibility, operating_points, run_files, seed_groups, validation_choices
from headwater.evaluation import predictions as predictions_of
from headwater.evaluation import subgroups as subgroups_of
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchanges


def examine(
    *,
    comparison: Comparison,
    predictions: list[Path],
    validation: list[Path],
    labels: Path,
    cases: Path,
    calibration: Path,
    reliability: Path,
    thresholds: Path,
    subgroups: Path,
    settled: Path,
    provenance: Path,
    fitted_to: Exchanges = Exchanges(),  # noqa: B008
    elsewhere: list[Path] | None = None,
    validation_elsewhere: list[Path] | None = None,
    labels_elsewhere: list[Path] | None = None,
    records: list[str] | None = None,
    records_elsewhere: list[str] | None = None,
    threads: int = 1,
) -> None:
    """Write calibration, the points of reliability plots, operating points, subgroups, and choices made on validation.

    `cases` give sex, age, projection and site of the test cases, and `labels` the labels that no network could learn.
    Parameters that end in `elsewhere` are for networks fine-tuned on the other datasets in `fitted_to`;
    `labels_elsewhere` are in its order. `records` are the digests of the config's runs, in the order of `predictions`.
    """
    for files, digests in ((predictions, records), (validation, records)):
        run_files.refuse_other_records(files, digests)
    for files in (elsewhere, validation_elsewhere):
        run_files.refuse_other_records(files or [], records_elsewhere)
    tested = predictions_of.read_all(comparison, predictions)
    validated = predictions_of.read_all(comparison, validation, split="validation")
    first = next(iter(tested.values()))
    untaught = eligibility.untaught(LABELS.read(labels), first.labels, comparison=comparison, file=labels)
    at_home = validation_choices.at_home(tested, validated, comparison=comparison, untaught=untaught)
    files = {"tested": elsewhere or [], "validated": validation_elsewhere or [], "counts": labels_elsewhere or []}
    guests = validation_choices.read_guests(first, **files, fitted_to=fitted_to, comparison=comparison)
    networks = [*at_home, *guests]
    sources = list(seed_groups.groups(networks, comparison=comparison, threads=threads))
    how = {"comparison": comparison, "untaught": untaught, "threads": threads, "file": cases}
    for table, rows, path in (
        (validation_choices.SETTLED, validation_choices.rows(at_home, comparison=comparison), settled),
        (run_files.RUN_FILES, run_files.of_networks(networks), provenance),
        (calibration_of.CALIBRATION, (row for group in sources for row in calibration_of.rows(group)), calibration),
        (operating_points.THRESHOLDS, (row for group in sources for row in operating_points.rows(group)), thresholds),
        (calibration_of.RELIABILITY, calibration_of.reliability_frame(sources), reliability),
        (subgroups_of.SUBGROUPS, subgroups_of.of_study(tested, CASES.read(cases), **how), subgroups),
    ):
        table.write(table.sort(rows), path)
