"""Exchanges: which findings a network fitted to one dataset can be asked for on the test cases of another.

Between two archives those are the findings that the table of findings calls the same; between two readings or two
copies of one archive those that are spelt alike. Only labels that both datasets list count.
"""

from collections.abc import Callable, Iterator
from functools import cache

from headwater.core import registry
from headwater.core.records import Record
from headwater.study import label_map
from headwater.study.archive import Dataset
from headwater.study.ct_windows import Window
from headwater.study.grid import Grid, Run
from headwater.study.target import Target


class Exchange(Record):
    """The other one of two datasets, and the labels of the findings that both have."""

    dataset: str
    labels: tuple[tuple[str, str], ...]
    """Of each finding: what it is called where it is tested, and what where the network was fitted."""
    seen: Window | None = None
    """What is seen of the other one's images, where they are in Hounsfield units."""
    task: str = "classification"
    """What networks are asked that are fitted to the other one, where that is one thing only."""
    targets: dict[str, Target] = {}
    """What they are asked side by side, by name."""


class Exchanges(Record):
    """All other datasets that share a finding with one, in the order of the grid."""

    others: tuple[Exchange, ...] = ()


def abroad(grid: Grid, fitted: str) -> Exchanges:
    """On which other datasets' test cases the networks fitted to a dataset predict, and what they are asked."""
    return _with_others(grid, fitted, lambda other: shared(grid, fitted=fitted, tested=other))


def guests(grid: Grid, tested: str) -> Exchanges:
    """To which other datasets the networks were fitted that predict on a dataset's test cases."""
    return _with_others(grid, tested, lambda other: shared(grid, fitted=other, tested=tested))


def _with_others(grid: Grid, dataset: str, pairs: Callable[[str], tuple]) -> Exchanges:
    """The others that share something; none where the study does not ask for it."""
    others = [other.name for other in grid.datasets if other.name != dataset] if grid.comparing.external else []
    exchanges = (_exchange(grid.dataset(other), labels=pairs(other)) for other in others)
    return Exchanges(others=tuple(exchange for exchange in exchanges if exchange.labels))


def _exchange(other: Dataset, *, labels: tuple[tuple[str, str], ...]) -> Exchange:
    """What is shared with another dataset."""
    return Exchange(dataset=other.name, labels=labels, seen=other.seen, task=other.task, targets=other.targets)


def shared(grid: Grid, *, fitted: str, tested: str) -> tuple[tuple[str, str], ...]:
    """(label of the tested dataset, label of the fitted one) of each finding that both list, in the tested's order.

    Both must tell it by the same task: an outline says nothing of a score.
    """
    asked, home = grid.dataset(fitted), grid.dataset(tested)
    kinds = [grid.archive(dataset.archive).kind.name for dataset in (home, asked)]
    listed = set(_labels(asked, kinds[1]))
    same = _same(*kinds)
    named = ((label, same.get(label, "")) for label in _labels(home, kinds[0]))
    return tuple(
        (label, other) for label, other in named if other in listed and home.task_of(label) == asked.task_of(other)
    )


def _labels(dataset: Dataset, kind: str) -> tuple[str, ...]:
    """A dataset's labels: all of its archive where it lists none."""
    return dataset.listed or registry.load("datasets", kind).CARD.labels


@cache
def _same(one: str, other: str) -> dict[str, str]:
    """Labels of one archive, and what another calls the same; one that is not in the table shares with itself."""
    if one == other:
        return {label: label for label in registry.load("datasets", one).CARD.labels}
    described = set(label_map.table().described)
    return label_map.shared(one, other) if {one, other} <= described else {}


def runs(grid: Grid, dataset: str) -> Iterator[Run]:
    """The runs of a dataset whose networks predict elsewhere, too; controls stay at home."""
    some = bool(abroad(grid, dataset).others)
    return (run for run in grid.runs(dataset) if some and not run.source.control)


def told(grid: Grid) -> list[str]:
    """What each dataset shares with which others, a line each; a dataset that shares nothing is named."""
    lines = []
    for dataset in grid.datasets if grid.comparing.external else ():
        counts = [f"{guest.dataset} {len(guest.labels)}" for guest in guests(grid, dataset.name).others]
        lines.append(f"{dataset.name}: {', '.join(counts) or 'shares no finding with another dataset: takes no part'}")
    return lines
