"""Volume sizes: how many volumes an archive has and how large they are, before any voxel is read.

Prepared volumes are counted in their table; of others the headers of a sample are read, and of a twin that is still to
be made its size is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median

from headwater.core import registry
from headwater.core.errors import DiskError, UserError
from headwater.data import sliding
from headwater.study.archive import Archive, is_flat, ndim_of
from headwater.study.config import Config
from headwater.study.paths import Paths

SAMPLE = 32
"""Most headers that are read of an archive, evenly spread over its cases."""

Sides = tuple[int, int, int]
Lengths = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class VolumeSizes:
    """The number of an archive's volumes, and the sides of all or some of them in voxels, along x, y and z."""

    cases: int
    prepared: tuple[Sides, ...]
    """On the prepared grid; as large as the source's where the body that is cut out is not known yet."""
    sources: tuple[Sides, ...]
    """On the grids of their sources, in the same order."""
    spacings: tuple[Lengths, ...]
    """Millimetres between the voxels of the sources."""
    wanted: Lengths | None
    """Millimetres between prepared voxels; None where each case keeps its own."""
    how: str
    """Where the numbers come from."""

    @property
    def voxels(self) -> float:
        """The mean number of voxels of a prepared volume."""
        return fmean(_product(sides) for sides in self.prepared)

    @property
    def source_voxels(self) -> float:
        """The same on the grids of the sources."""
        return fmean(_product(sides) for sides in self.sources)


def scored_in(sides: Sequence[int], patch: Sequence[int], *, outlined: bool, pooled: bool) -> int:
    """The windows of a volume that a network is shown: those that outline structures, and those that labels take."""
    return outlined * sliding.windows(sides, patch, overlap=sliding.OVERLAP) + pooled * sliding.windows(sides, patch)


def of(archive: Archive, *, plan: Config, folder: Path) -> VolumeSizes | None:
    """The sizes of an archive's volumes; none if it has pictures, or nothing can be said before it is prepared."""
    if ndim_of(archive) != 3:
        return None
    table = folder / Paths(plan.results).cases(archive.images_of or archive.name)
    if table.is_file():
        return _counted(table)
    if archive.twin and not Path(archive.folder).is_dir():
        size = archive.twin.size
        sides = (size, size, 1 if is_flat(archive) else size)
        # of a twin neither sides nor spacing are known before it is made
        return VolumeSizes(
            **{"cases": archive.twin.cases, "prepared": (sides,), "sources": (sides,), "spacings": ((1.0, 1.0, 1.0),)},
            wanted=None,
            how="expected of a twin, at most",
        )
    return _by_headers(archive.as_json())


def _product(sides: Sides) -> int:
    return sides[0] * sides[1] * sides[2]


def _counted(table: Path) -> VolumeSizes | None:
    """The sizes in a table of prepared cases."""
    # pandas takes half a second, which a study of pictures need not wait for
    from headwater.data import tables

    if not len(tables.read_column(table, "row")):
        return None

    def along(what: str) -> tuple:
        return tuple(zip(*(tables.read_column(table, f"{what}_{axis}").tolist() for axis in "xyz"), strict=True))

    prepared = along("shape")
    measures = {"sources": along("source_shape"), "spacings": along("source_spacing"), "how": "counted"}
    return VolumeSizes(cases=len(prepared), prepared=prepared, wanted=None, **measures)


@cache
def _by_headers(described: str) -> VolumeSizes | None:
    """The sizes of an archive, described in JSON, by the headers of a sample."""
    from headwater.data import geometry, index

    archive = Archive.from_json(described)
    try:
        cases = index.read(archive)
    except DiskError:
        raise
    except UserError:
        # the check before the first job says why it cannot be listed
        return None
    seen = list(_headers(archive, cases.to_dict("records")))
    if not seen:
        return None
    sources, spacings = zip(*seen, strict=True)
    wanted = None if archive.spacing == "native" else archive.spacing
    if wanted == "median":
        wanted = tuple(median(lengths) for lengths in zip(*spacings, strict=True))
    prepared = tuple(
        geometry.resampled(sides, spacing=spacing, wanted=wanted)[0]
        for sides, spacing in zip(sources, spacings, strict=True)
    )
    how = f"estimated from {len(seen)} header{'s' * (len(seen) != 1)}, before the body is cut out"
    measures = {"prepared": prepared, "sources": sources, "spacings": spacings, "wanted": wanted, "how": how}
    return VolumeSizes(cases=len(cases), **measures)


def _headers(archive: Archive, cases: list[dict]) -> Iterator[tuple[Sides, Lengths]]:
    """(sides, spacing) by the headers of a sample of cases; those that cannot be read are passed over."""
    from headwater.data.io.extent import extent
    from headwater.data.volume_preparation import ORIENTATION

    folder, plugin = Path(archive.folder), registry.load("datasets", archive.kind.name)
    options, own = registry.chosen("datasets", archive.kind), getattr(plugin, "extent", None)
    many = min(SAMPLE, len(cases))
    for number in range(many):
        case = cases[number * len(cases) // many]
        try:
            volume = own(folder, case, options) if own else extent(folder / case["file"])
            volume = volume.turned(ORIENTATION)
        except DiskError:
            raise
        except UserError:
            continue
        yield volume.voxels.shape, volume.spacing
