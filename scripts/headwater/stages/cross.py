"""Cross: one dataset's test cases, and how all networks do on them, whichever dataset they were fitted to.

What is said of networks fitted to the dataset itself is what `compare` says, bit for bit.
"""

from pathlib import Path

from headwater.data.index import LABELS
from headwater.evaluation import bootstrap, eligibility, external
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
    threads: int = 1,
) -> None:
    """Write what each source reaches on a dataset by the dataset it was fitted to, label by label and in the mean.

    `labels` counts the cases of each label of the tested dataset, `labels_elsewhere` of those in `fitted_to`, in order.
    """
    # the datasets share different labels pair by pair, so a declared subset would be another one in every cell
    comparison = comparison.model_copy(update={"subsets": {}})
    home = predictions_of.read_all(comparison, predictions)
    first = next(iter(home.values()))
    untaught = eligibility.untaught(LABELS.read(labels), first.labels, comparison=comparison, file=labels)
    parts = eligibility.parts(first, comparison=comparison, untaught=untaught)
    statistics = list(bootstrap.statistics(home, parts, comparison=comparison, threads=threads))
    rows = list(external.at_home(statistics, comparison=comparison))
    by_dataset = external.by_dataset(elsewhere, fitted_to)
    # one dataset at a time, so that the predictions of one only are held in memory
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
