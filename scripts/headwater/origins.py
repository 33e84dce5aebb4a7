"""Origins: which archives and published weights stem from the same scans, where no file can show it.

OrganSMNIST was cut out of LiTS, and networks trained on LiTS have seen its patients under other numbers. Cards say what
an archive was made from and what weights were trained on; what they do not know the config says.
"""

import itertools
from collections.abc import Iterable, Iterator

from headwater import plugins
from headwater.grid import Archive, Declared, Grid, Overlaps, Source

COLLECTIONS: dict[str, tuple[str, ...]] = {
    "lits": (),
    "msd_liver": ("lits",),
    "ct_org": ("lits",),
    "abdomenct_1k": ("lits", "kits"),
    "kits": (),
    "abdomenatlas": ("lits", "kits", "abdomenct_1k"),
    "suprem": ("abdomenatlas",),
    "imagenet": (),
    "imagenet_21k": ("imagenet",),
}
"""Collections of images for which there is no file in datasets/, and what they were made from."""


def known(archives: Iterable[Archive]) -> set[str]:
    """Every name that may stand for an origin: archives, collections, and what the config's archives were made from."""
    names = {*plugins.names("datasets"), *COLLECTIONS}
    return names.union(*(COLLECTIONS[name] for name in COLLECTIONS), *(archive.made_from for archive in archives))


def of_archive(archive: Archive) -> set[str]:
    """What the images of an archive stem from, itself included; of a twin what the config says alone."""
    return _all({*archive.made_from} | (set() if archive.twin else {archive.kind.name}))


def of_weights(source: Source) -> set[str]:
    """What adopted weights were trained on, by their card and by the config, and what that stems from."""
    if source.weights is None:
        return set()
    card = plugins.constant("weights", source.weights.layout.name, "CARD.trained_on", default=())
    return _all({*card, *source.weights.trained_on})


def declared(grid: Grid) -> tuple[Declared, ...]:
    """Each test split, and what stems from the same scans: weights by their source, corpora as parts of the grid."""
    found = itertools.chain.from_iterable(_of_source(source, grid) for source in grid.sources if not source.control)
    return tuple(sorted(set(found), key=lambda one: (one.test, one.learned)))


def overlaps(grid: Grid) -> Overlaps:
    """What the ledger looks at, and what it names beside that."""
    return grid.overlaps.model_copy(update={"declared": declared(grid)})


def _of_source(source: Source, grid: Grid) -> Iterator[Declared]:
    """The pairs that a source makes with the test splits of the grid."""
    for dataset in grid.datasets:
        tested = grid.archive(grid.images_of(dataset.archive))
        test, stems = f"{tested.name} test", of_archive(tested)
        if shared := of_weights(source) & stems:
            yield Declared(learned=source.name, test=test, origins=tuple(sorted(shared)))
        if source.corpus:
            corpus = grid.archive(grid.images_of(source.corpus))
            # within one kind patients bear the same numbers, and the ledger finds them
            shared = of_archive(corpus) & stems if corpus.kind.name != tested.kind.name else set()
            if shared:
                yield Declared(learned=f"{corpus.name} train", test=test, origins=tuple(sorted(shared)))


def _all(names: set[str]) -> set[str]:
    """The names, what they were made from, what that was made from, and so on."""
    below = {origin for name in names for origin in _made_from(name)} - names
    return _all(names | below) if below else names


def _made_from(name: str) -> tuple[str, ...]:
    """What an archive or a collection was made from, by its card."""
    if name in plugins.names("datasets"):
        return plugins.constant("datasets", name, "CARD.made_from", default=())
    return COLLECTIONS.get(name, ())
