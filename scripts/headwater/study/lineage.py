"""Origins: which archives and published weights come from the same scans, where no file can show it.

OrganSMNIST was cut out of LiTS, so networks trained on LiTS have seen its patients, under other numbers. Cards state
what an archive was made from and what weights were trained on; the config can add to them.
"""

import itertools
from collections.abc import Iterable, Iterator

from headwater.core import registry
from headwater.study.archive import Archive
from headwater.study.grid import Grid
from headwater.study.leaks import Declared, Overlaps
from headwater.study.source import Source

COLLECTIONS: dict[str, tuple[str, ...]] = {
    "lits": (),
    "msd_liver": ("lits",),
    "ct_org": ("lits",),
    "abdomenct_1k": ("lits", "kits"),
    "kits": (),
    "abdomenatlas": ("lits", "kits", "abdomenct_1k"),
    "suprem": ("abdomenatlas",),
    "totalsegmentator": (),
    "imagenet": (),
    "imagenet_21k": ("imagenet",),
}
"""Collections of images that have no file in datasets/, and what they were made from."""


def origins(archives: Iterable[Archive]) -> set[str]:
    """Every valid name of an origin: archives, collections, and those that the config's archives add."""
    names = {*registry.names("datasets"), *COLLECTIONS}
    return names.union(
        *(COLLECTIONS[name] for name in COLLECTIONS), *({*archive.made_from, archive.numbering} for archive in archives)
    )


def of_archive(archive: Archive) -> set[str]:
    """The origins of an archive's images, itself included; of a twin only those that the config states."""
    # own folders are all of one kind, so its name is no origin: their numbering tells which belong together
    return _all({*archive.made_from} | (set() if archive.twin else {archive.numbering, *_by_options(archive)}))


def _by_options(archive: Archive) -> set[str]:
    """What the archive was made from by a choice of its options, as its plug-in says in MADE_FROM."""
    kind = archive.kind
    known = kind.name in registry.names("datasets")
    by_option = registry.constant("datasets", kind.name, "MADE_FROM", default={}) if known else {}
    chosen = registry.chosen("datasets", kind) if by_option else None
    return {origin for name, origins in by_option.items() for origin in origins.get(getattr(chosen, name), ())}


def of_weights(source: Source) -> set[str]:
    """The origins of the data that adopted weights were trained on, by their card and by the config."""
    if source.weights is None:
        return set()
    card = registry.constant("weights", source.weights.layout.name, "CARD.trained_on", default=())
    return _all({*card, *source.weights.trained_on})


def declared(grid: Grid) -> tuple[Declared, ...]:
    """Each pair of a test split and training data of the same origin: adopted weights by source, corpora as parts."""
    # controls start from their source's weights, and would repeat its lines
    of_sources = itertools.chain.from_iterable(
        _of_source(source, grid) for source in grid.sources if not source.control
    )
    return tuple(sorted({*of_sources, *_of_datasets(grid)}, key=lambda overlap: (overlap.test, overlap.learned)))


def overlaps(grid: Grid) -> Overlaps:
    """What the ledger compares, and the overlaps that it cannot detect."""
    return grid.overlaps.model_copy(update={"declared": declared(grid)})


def _of_source(source: Source, grid: Grid) -> Iterator[Declared]:
    """The pairs of a source's training data with the test splits of the grid."""
    for tested in _tested(grid, source):
        if shared := of_weights(source) & of_archive(tested):
            yield Declared(learned=source.name, test=f"{tested.name} test", origins=tuple(sorted(shared)))
        if source.corpus:
            yield from _of_training(grid.archive(grid.images_of(source.corpus)), tested)


def _of_datasets(grid: Grid) -> Iterator[Declared]:
    """The pairs of training splits with test splits of other datasets, in studies with external validation."""
    if grid.comparing.external:
        for fitted, tested in itertools.permutations(_tested(grid), 2):
            yield from _of_training(fitted, tested)


def _tested(grid: Grid, source: Source | None = None) -> list[Archive]:
    """The archives whose images are tested on, each once; with a source those on which what it has seen may count."""
    reached = [dataset for dataset in grid.datasets if source is None or _reaches(source.name, dataset.name, grid)]
    names = dict.fromkeys(grid.images_of(dataset.archive) for dataset in reached)
    return [grid.archive(name) for name in names]


def _reaches(source: str, dataset: str, grid: Grid) -> bool:
    """Whether a source, or one whose encoder depends on it, is fitted to a dataset."""
    fitted = {one.name for one in grid.fitted_to(dataset)}
    depending, found = {source}, {source}
    while found and not fitted & depending:
        found = {one.name for one in grid.sources if found.intersection(grid.before(one.name))} - depending
        depending = depending | found
    return bool(fitted & depending)


def _of_training(learned: Archive, tested: Archive) -> Iterator[Declared]:
    """The pair of a training split and a test split, if both have a common origin."""
    shared = of_archive(learned) & of_archive(tested)
    # within one numbering the ledger detects shared patients by their numbers
    if shared and learned.numbering != tested.numbering:
        test = f"{tested.name} test"
        yield Declared(learned=f"{learned.name} train", test=test, origins=tuple(sorted(shared)))


def _all(names: set[str]) -> set[str]:
    """The names and their ancestors (the transitive closure of `_made_from`)."""
    parents = {origin for name in names for origin in _made_from(name)} - names
    return _all(names | parents) if parents else names


def _made_from(name: str) -> tuple[str, ...]:
    """What an archive or a collection was made from, by its card or by COLLECTIONS."""
    if name in registry.names("datasets"):
        return registry.constant("datasets", name, "CARD.made_from", default=())
    return COLLECTIONS.get(name, ())
