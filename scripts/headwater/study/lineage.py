"""Origins: which archives and published weights stem from the same scans, where no file can show it.

OrganSMNIST was cut out of LiTS, and networks trained on LiTS have seen its patients under other numbers. Cards say what
an archive was made from and what weights were trained on; what they do not know the config says.
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
    "imagenet": (),
    "imagenet_21k": ("imagenet",),
}
"""Collections of images for which there is no file in datasets/, and what they were made from."""


def known(archives: Iterable[Archive]) -> set[str]:
    """Every name that may stand for an origin: archives, collections, and what the config's archives name."""
    names = {*registry.names("datasets"), *COLLECTIONS}
    return names.union(
        *(COLLECTIONS[name] for name in COLLECTIONS), *({*archive.made_from, archive.numbering} for archive in archives)
    )


def of_archive(archive: Archive) -> set[str]:
    """What the images of an archive stem from, itself included; of a twin what the config says alone."""
    # two folders of one's own stem from the same only where the same hand numbered them
    return _all({*archive.made_from} | (set() if archive.twin else {archive.numbering}))


def of_weights(source: Source) -> set[str]:
    """What adopted weights were trained on, by their card and by the config, and what that stems from."""
    if source.weights is None:
        return set()
    card = registry.constant("weights", source.weights.layout.name, "CARD.trained_on", default=())
    return _all({*card, *source.weights.trained_on})


def declared(grid: Grid) -> tuple[Declared, ...]:
    """Each test split, and what stems from the same scans: weights by their source, corpora as parts of the grid."""
    of_sources = itertools.chain.from_iterable(
        _of_source(source, grid) for source in grid.sources if not source.control
    )
    return tuple(sorted({*of_sources, *_of_datasets(grid)}, key=lambda overlap: (overlap.test, overlap.learned)))


def overlaps(grid: Grid) -> Overlaps:
    """What the ledger looks at, and what it names beside that."""
    return grid.overlaps.model_copy(update={"declared": declared(grid)})


def _of_source(source: Source, grid: Grid) -> Iterator[Declared]:
    """The pairs that a source makes with the test splits of the grid."""
    for tested in _tested(grid):
        if shared := of_weights(source) & of_archive(tested):
            yield Declared(learned=source.name, test=f"{tested.name} test", origins=tuple(sorted(shared)))
        if source.corpus:
            yield from _of_training(grid.archive(grid.images_of(source.corpus)), tested)


def _of_datasets(grid: Grid) -> Iterator[Declared]:
    """The pairs of training splits with test splits of other datasets, where networks are tested on these, too."""
    if grid.comparing.external:
        for fitted, tested in itertools.permutations(_tested(grid), 2):
            yield from _of_training(fitted, tested)


def _tested(grid: Grid) -> list[Archive]:
    """The archives whose images the datasets of a grid are, each once."""
    names = dict.fromkeys(grid.images_of(dataset.archive) for dataset in grid.datasets)
    return [grid.archive(name) for name in names]


def _of_training(learned: Archive, tested: Archive) -> Iterator[Declared]:
    """The pair of a training split and a test split, if both stem from the same scans."""
    shared = of_archive(learned) & of_archive(tested)
    # within one numbering patients bear the same numbers, and the ledger finds them
    if shared and learned.numbering != tested.numbering:
        test = f"{tested.name} test"
        yield Declared(learned=f"{learned.name} train", test=test, origins=tuple(sorted(shared)))


def _all(names: set[str]) -> set[str]:
    """The names, what they were made from, what that was made from, and so on."""
    below = {origin for name in names for origin in _made_from(name)} - names
    return _all(names | below) if below else names


def _made_from(name: str) -> tuple[str, ...]:
    """What an archive or a collection was made from, by its card."""
    if name in registry.names("datasets"):
        return registry.constant("datasets", name, "CARD.made_from", default=())
    return COLLECTIONS.get(name, ())
