"""Table checks: what `prepare` would refuse of an archive's tables and paths, told before any job runs.

Small tables are read whole, as `prepare` reads them before it decodes an image; of large ones the beginning and a
sample. Nothing is refused that `prepare` would accept.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from types import ModuleType

import pandas as pd

from headwater.cluster import snakemake_state
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.records import Record
from headwater.data import index, preparation
from headwater.data.io.rows import opened
from headwater.data.io.sheets import read_sheet
from headwater.study.archive import Archive, ndim_of
from headwater.study.paths import Paths

LARGEST = 1_000_000
"""Bytes of tables, compressed or not, up to which they are read whole, in less than a second."""

LARGEST_OF_SCANS = 100_000
"""The same for archives of CT, of which the headers of the listed files are read as well."""

ROWS = 2_000
"""Rows that are read of a large table from its beginning, and as many of the others."""

TRIED, COUNTED = 100, 20_000
"""Images whose presence is looked up; of how many if one of them is absent."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is known of an archive before it is prepared, or since."""

    mistakes: tuple[str, ...] = ()
    """What `prepare` would refuse of its tables."""
    counts: pd.DataFrame | None = None
    """`index.LABELS`, the counts of each label in each split; none if they are not known yet."""


def examined(archive: Archive, *, results: str, folder: Path = Path()) -> Examined:
    """What `prepare` would refuse of an archive's tables, and the counts of labels; of a prepared one only these."""
    if is_prepared(archive, results=results, folder=folder):
        return Examined(counts=index.LABELS.read(folder / Paths(results).labels(archive.name)))
    if archive.twin:
        return Examined()
    try:
        return Examined(counts=_counted(archive))
    except UserError as refusal:
        return Examined(
            mistakes=tuple(f"archives.{archive.name}: {_without_place(line, archive)}" for line in refusal.mistakes)
        )


def _without_place(mistake: str, archive: Archive) -> str:
    """A mistake that does not name its archive twice."""
    return mistake.replace(f"archives.{archive.name}: ", "", 1)


def is_prepared(archive: Archive, *, results: str, folder: Path = Path()) -> bool:
    """Whether the archive is prepared as the config says, and since its label files last changed."""
    product = Paths(results).cases(archive.name)
    try:
        made = (folder / product).stat().st_mtime
        # a twin need not be there any more
        files = [] if archive.twin else _label_files(archive)
        changed = max((file.stat().st_mtime for file in files), default=0.0)
    except OSError:
        return False
    attempt = snakemake_state.record(product, folder=folder) or {}
    return changed <= made and repr(quote(archive.as_json())) in attempt.get("params", [])


def _label_files(archive: Archive) -> list[Path]:
    """The files from which the cases are read."""
    options = registry.chosen("datasets", archive.kind)
    return registry.load("datasets", archive.kind.name).label_files(Path(archive.folder), options)


def _counted(archive: Archive) -> pd.DataFrame | None:
    """The counts of an archive's labels if its tables are small; refuses what `prepare` would before any image."""
    plugin, options = registry.load("datasets", archive.kind.name), registry.chosen("datasets", archive.kind)
    most = LARGEST_OF_SCANS if plugin.CARD.window else LARGEST
    if sum(file.stat().st_size for file in _label_files(archive)) > most:
        _check_beginning(archive, plugin, options)
        return None
    listed = index.read(archive)
    if archive.images_of:
        # its splits are those of the first reading
        return None
    if ndim_of(archive) == 3:
        # which structures there are is known when masks have been looked into
        _refuse_absent(archive, listed["file"], total=len(listed))
        return None
    files = index.split_files(archive)
    cases = preparation.with_archive_splits(listed, archive=archive, files=files)
    counts = index.label_counts(cases)
    index.refuse_unusable_labels(counts, archive=archive.name, files=files)
    _refuse_absent(archive, listed["file"], total=len(listed))
    return index.every_count(cases)


def _check_beginning(archive: Archive, plugin: ModuleType, options: Record) -> None:
    """Refuse the tables for their columns, and for cells of the rows that are looked at."""
    folder = Path(archive.folder)
    if hasattr(plugin, "read_sample"):
        sample = plugin.read_sample(folder, options, rows=ROWS)
        if not archive.images_of and any(_absent(archive, sample["file"], most=TRIED)):
            total = _lines(_label_files(archive)[0])
            rows = max(ROWS, min(COUNTED // 2, math.ceil(archive.rejects * total)))
            _refuse_absent(archive, plugin.read_sample(folder, options, rows=rows)["file"], total=total)
        return
    optional = getattr(plugin, "OPTIONAL", ())
    sheets = plugin.sheets(folder, options) if hasattr(plugin, "sheets") else {}
    for file, columns in sheets.items():
        read_sheet(file, columns=columns, optional=optional, rows=ROWS)
    if hasattr(plugin, "check_options"):
        plugin.check_options(folder, options)


def _lines(table: Path) -> int:
    """Its line ends: at least as many as a table has rows, as one ends the header and the last may be missing."""
    with opened(table) as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**24), b""))


def _refuse_absent(archive: Archive, files: pd.Series, *, total: int) -> None:
    """Refuse listed images of which more are absent than may be rejected of `total`."""
    if not archive.folder or not any(_absent(archive, files, most=TRIED)):
        return
    absent = list(_absent(archive, files, most=COUNTED))
    if len(absent) > archive.rejects * total:
        raise UserError(
            f"at least {len(absent)} of {total} listed images are not there, more than the share of"
            f" {archive.rejects:g} that is allowed; the first: {Path(archive.folder) / absent[0]}",
            remedy=f"fetch them, correct their paths, or raise archives.{archive.name}.rejects",
        )


def _absent(archive: Archive, files: pd.Series, *, most: int) -> Iterator[str]:
    """Those that are not there, of so many at even distances; the same file is looked up once."""
    chosen = files.iloc[:: max(1, -(-len(files) // most))]
    there: dict[str, bool] = {}
    for name in chosen:
        if name not in there:
            place = Path(archive.folder) / name
            # a volume may be a folder of slices
            there[name] = place.exists() if ndim_of(archive) == 3 else place.is_file()
        if not there[name]:
            yield name
