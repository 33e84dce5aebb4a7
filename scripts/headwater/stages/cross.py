"""Cross: the performance of all networks on one dataset's test cases, by the dataset that they were fine-tuned on.

For networks fine-tuned on the dataset itself, values are bit-identical to those of `compare`.
"""

from pathlib import Path

from headwater.data.index import LABELS
from headwater.evaluation import bootstrap, eligibility, external, run_files
from headwater.evaluation import predictions as predictions_of
from headwater.study.comparison import Comparison
from headwater.study.shared_labels import Exchanges


def cross(
    *,
    comparison: Comparison,
    fitted_to: Exchanges,
    predictions: list[Path],
    elsewhere: list[Path],
    labels: Path,
    labels_elsewhere: list[Path],
    crossed: Path,
    records: list[str] | None = None,
    records_elsewhere: list[str] | None = None,
    threads: int = 1,
) -> None:
    """Write each source's metrics on a dataset by the dataset it was fine-tuned on, per label and as macro.

    `labels` counts the cases of each label of the tested dataset, `labels_elsewhere` of those in `fitted_to`, in order.
    `records` are the digests of the config's runs, in the order of `predictions` and of `elsewhere`.
    """
    run_files.refuse_other_records(predictions, records)
    run_files.refuse_other_records(elsewhere, records_elsewhere)
    # each pair of datasets shares other labels, so a declared subset of labels would differ from cell to cell
    comparison = comparison.model_copy(update={"subsets": {}})
    home = predictions_of.read_all(comparison, predictions)
    first = next(iter(home.values()))
    untaught = eligibility.untaught(LABELS.read(labels), first.labels, comparison=comparison, file=labels)
    parts = eligibility.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(home, parts, comparison=comparison, threads=threads))
    rows = list(external.at_home(statistics, comparison=comparison))
    by_dataset = external.by_dataset(elsewhere, fitted_to)
    # one dataset at a time, so that memory holds the predictions of only one
    for other, counts in zip(fitted_to.others, labels_elsewhere, strict=True):
        rows += external.read_guests(
            other,
            by_dataset[other.dataset],
            home=home,
            statistics=statistics,
            untaught=untaught | external.untaught_there(other, counts, comparison=comparison),
            comparison=comparison,
            threads=threads,
        )
    external.CROSSED.write(external.CROSSED.sort(rows, by=external.ORDER), crossed)
