"""Exchanges: the findings on which a network fitted to one dataset can be tested on another (external validation).

Between two archives these are the findings that the label map calls the same; between two readings or two copies of
one archive, the labels with the same name. Labels that the config itself names, such as the structures of masks, are
the same where they are spelt alike. Only labels that both datasets list count.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from headwater.core import registry
from headwater.core.records import Record
from headwater.study import label_map
from headwater.study.archive import Archive, Dataset, is_flat, ndim_of
from headwater.study.ct_windows import Window
from headwater.study.grid import Grid, Run
from headwater.study.intensity import Intensity
from headwater.study.target import Target


class Exchange(Record):
    """Another dataset, and the labels of the findings that both share."""

    dataset: str
    labels: tuple[tuple[str, str], ...]
    """For each finding its label in the tested dataset, and its label in the dataset that was fitted to."""
    seen: Window | Intensity | None = None
    """How the other one's images are shown, where they are volumes or in Hounsfield units."""
    task: str = "classification"
    """What networks are asked that are fitted to the other one, where that is one thing only."""
    targets: dict[str, Target] = {}
    """What they are asked side by side, by name."""
    tolerance: float = 1.0
    """How far borders of the other one's structures may be apart, for surface Dice."""


class Exchanges(Record):
    """All datasets that share a finding with a given one, in the order of the grid."""

    others: tuple[Exchange, ...] = ()


def abroad(grid: Grid, fitted: str) -> Exchanges:
    """The other datasets on whose test cases the networks fitted to a dataset predict, with the shared labels."""
    return _with_others(grid, fitted, lambda other: shared(grid, fitted=fitted, tested=other))


def guests(grid: Grid, tested: str) -> Exchanges:
    """The other datasets whose networks predict on a dataset's test cases, with the shared labels."""
    return _with_others(grid, tested, lambda other: shared(grid, fitted=other, tested=tested))


def _with_others(grid: Grid, dataset: str, pairs: Callable[[str], tuple]) -> Exchanges:
    """The other datasets that share a label; none in a study without external validation."""
    others = [other.name for other in grid.datasets if other.name != dataset] if grid.comparing.external else []
    exchanges = (_exchange(grid.dataset(other), labels=pairs(other)) for other in others)
    return Exchanges(others=tuple(exchange for exchange in exchanges if exchange.labels))


def _exchange(other: Dataset, *, labels: tuple[tuple[str, str], ...]) -> Exchange:
    """What is shared with another dataset."""
    measured = {"task": other.task, "targets": other.targets, "tolerance": other.tolerance}
    return Exchange(dataset=other.name, labels=labels, seen=other.seen, **measured)


def shared(grid: Grid, *, fitted: str, tested: str) -> tuple[tuple[str, str], ...]:
    """(label of the tested dataset, label of the fitted one) of each finding that both list, in the tested's order.

    Both must tell it by the same task: an outline says nothing of a score.
    """
    asked, home = grid.dataset(fitted), grid.dataset(tested)
    archives = [grid.archive(dataset.archive) for dataset in (home, asked)]
    if len({(ndim_of(archive), is_flat(archive)) for archive in archives}) > 1:
        return ()
    own, listed = (_labels(dataset, archive) for dataset, archive in zip((home, asked), archives, strict=True))
    same = _same(*(archive.kind.name for archive in archives))
    same = same | {label: label for label in _named(own, archives[0]) if label in _named(listed, archives[1])}
    named = ((label, same.get(label, "")) for label in own)
    return tuple(
        (label, other) for label, other in named if other in listed and home.task_of(label) == asked.task_of(other)
    )


def _labels(dataset: Dataset, archive: Archive) -> tuple[str, ...]:
    """A dataset's labels: those that it lists, or else all of its archive that are known without its files."""
    if dataset.listed:
        return dataset.listed
    plugin = registry.load("datasets", archive.kind.name)
    card = plugin.card(registry.chosen("datasets", archive.kind)) if hasattr(plugin, "card") else plugin.CARD
    return card.labels


def _named(labels: Iterable[str], archive: Archive) -> set[str]:
    """Those of an archive's labels that the config names, and not the archive's publisher."""
    return set(labels) - set(registry.load("datasets", archive.kind.name).CARD.labels)


@cache
def _same(archive: str, other: str) -> dict[str, str]:
    """A publisher's labels, and the other's of the same findings; outside of the label map only with itself."""
    if archive == other:
        return {label: label for label in registry.load("datasets", archive).CARD.labels}
    described = set(label_map.table().described)
    return label_map.shared(archive, other) if {archive, other} <= described else {}


def runs(grid: Grid, dataset: str) -> Iterator[Run]:
    """The runs of a dataset whose networks also predict on other datasets; controls do not."""
    has_others = bool(abroad(grid, dataset).others)
    return (run for run in grid.runs(dataset) if has_others and not run.source.control)


def as_lines(grid: Grid) -> list[str]:
    """One line per dataset: how many findings it shares with which others; none without external validation."""
    lines = []
    for dataset in grid.datasets if grid.comparing.external else ():
        counts = [f"{guest.dataset} {len(guest.labels)}" for guest in guests(grid, dataset.name).others]
        lines.append(f"{dataset.name}: {', '.join(counts) or 'shares no finding with another dataset; left out'}")
    return lines
