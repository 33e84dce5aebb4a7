"""Volume sizes: how many volumes an archive has and how large they are, before any voxel is read.

Prepared volumes are counted in their table; of others the headers of a sample are read, and of a twin that is still to
be made its size is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median

from headwater.core.errors import DiskError, UserError
from headwater.data import sliding
from headwater.study.archive import Archive, ndim_of
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
        sides = (archive.twin.size,) * 3
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
        files = index.read(archive)["file"].tolist()
    except DiskError:
        raise
    except UserError:
        # the check before the first job says why it cannot be listed
        return None
    seen = list(_headers(Path(archive.folder), files))
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
    return VolumeSizes(cases=len(files), **measures)


def _headers(folder: Path, files: list[str]) -> Iterator[tuple[Sides, Lengths]]:
    """(sides, spacing) by the headers of a sample of files; those that cannot be read are passed over."""
    from headwater.data.io.extent import extent
    from headwater.data.volume_preparation import ORIENTATION

    many = min(SAMPLE, len(files))
    for number in range(many):
        try:
            volume = extent(folder / files[number * len(files) // many]).turned(ORIENTATION)
        except DiskError:
            raise
        except UserError:
            continue
        yield volume.voxels.shape, volume.spacing
