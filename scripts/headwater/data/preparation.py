"""Preparation: every image of an archive is read once, resized and hashed, or rejected with a reason."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.destinations import as_csv
from headwater.core.errors import DiskError, UserError
from headwater.core.files import write_text
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.data.datasets import pixel_options
from headwater.data.image_sample import CRASHED
from headwater.data.io.windows import is_blank
from headwater.data.perceptual_hash import WORDS, as_grey, every
from headwater.data.resizing import fitted
from headwater.data.shelf import Shelf, Unshelved
from headwater.data.splits import with_splits
from headwater.data.store import CASES, REJECTS, kinds
from headwater.data.tables import SPLITS, labels_of
from headwater.study.archive import Archive


class Outcome(NamedTuple):
    """The result for one case: its pixels and what its header states of the patient, or why it cannot be read."""

    pixels: np.ndarray | None
    """uint8 (channels, *space), or int16 (1, *space) of Hounsfield units."""
    header: dict[str, Any]
    """What only the file states: sex, age and view of the patient, and the place of a slice in its scan."""
    hash: np.ndarray | None = None
    """uint64 (words,): see perceptual_hash.every."""
    reason: str = ""
    kind: str = ""
    """The reason without any name, as `UserError.kind`."""


def with_archive_splits(listed: pd.DataFrame, *, archive: Archive, files: Mapping[str, Path]) -> pd.DataFrame:
    """All cases that the archive lists, each in a split."""
    try:
        return with_splits(
            listed,
            validation=archive.validation,
            test=archive.test,
            seed=archive.split_seed,
            files=files,
            apart=archive.patients_apart,
        )
    except UserError as refusal:
        raise UserError(f"archives.{archive.name}: {refusal}") from None


def read_all(
    catalogue: pd.DataFrame, *, archive: Archive, workers: int, images: Path
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Write the pixels of all cases to `images`, or how they are decoded; return their table, hashes, and rejects."""
    rows = catalogue.to_dict("records")
    results = _results(rows, archive=archive, workers=workers)
    kept, headers, hashes, refused = [], [], [], []
    with _shelf(images, archive=archive) as shelf:
        for position, result in bar(results, total=len(rows), what=f"prepare {archive.name}"):
            if result.pixels is None:
                refused.append({**{key: rows[position][key] for key in ("case", "file")}, **_why(result)})
                continue
            shelf.add(result.pixels)
            kept.append(position)
            headers.append(result.header)
            hashes.append(result.hash)
    cases = _with_headers(catalogue.iloc[kept].reset_index(drop=True), headers)
    prepared = cases.assign(row=np.arange(len(kept)), pixels=pd.Series(shelf.digests(), dtype=str))
    rejects = pd.DataFrame(refused, columns=[*REJECTS.columns, *REJECTS.optional], dtype=str)
    return CASES.check(prepared), np.array(hashes, np.uint64).reshape(len(kept), WORDS), rejects


def _shelf(images: Path, *, archive: Archive) -> Shelf | Unshelved:
    """What takes the pixels of an archive."""
    if not archive.stored:
        return Unshelved(images, archive=archive)
    return Shelf(images, space=(archive.size, archive.size), kind=_kind(archive))


def _why(result: Outcome) -> dict[str, str]:
    """The columns of a reject that say why."""
    return {"reason": result.reason, "kind": result.kind}


def _results(rows: list[dict[str, Any]], *, archive: Archive, workers: int) -> Iterator[tuple[int, Outcome]]:
    """(position among the rows, outcome): in the order of the rows, and of scans in the order of their slices."""
    parameters = {"kind": archive.kind.name, "folder": archive.folder, "size": archive.size, "resize": archive.resize}
    plugin = registry.load("datasets", archive.kind.name)
    if not hasattr(plugin, "read_scan"):
        work = partial(_read, how=pixel_options(plugin, registry.chosen("datasets", archive.kind)), **parameters)
        yield from zip(range(len(rows)), in_order(work, rows, lost=lost, workers=workers), strict=True)
        return
    scans = _scans(rows)
    # chunks of one scan, so that no worker holds more than one in memory
    outcomes = in_order(partial(_read_scan, **parameters), scans, lost=_lost_scan, workers=workers, chunk=1)
    for scan, slices in zip(scans, outcomes, strict=True):
        for place, result in slices:
            yield scan["places"][place], result


def _scans(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows grouped by scan, in the order in which scans first occur."""
    scans: dict[str, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        scan = scans.setdefault(row["series"], {"rows": [], "places": []})
        scan["rows"].append(row)
        scan["places"].append(place)
    return list(scans.values())


def _kind(archive: Archive) -> type[np.generic]:
    """The type in which the pixels of an archive are stored."""
    return np.int16 if registry.load("datasets", archive.kind.name).CARD.window else np.uint8


def _with_headers(cases: pd.DataFrame, headers: list[dict[str, Any]]) -> pd.DataFrame:
    """The cases with the values of their headers: the place of slices, and of patients what the catalogue lacks."""
    read = pd.DataFrame(headers, index=cases.index)
    # the catalogue wins for patients; a slice's place is taken from its header alone
    stated = {"sex": cases["sex"] != "", "age": cases["age"].notna(), "view": cases["view"] != ""}
    never = pd.Series(False, cases.index)
    return cases.assign(
        **{name: cases.get(name, read[name]).where(stated.get(name, never), read[name]) for name in read.columns}
    )


def write_rejects(refused: pd.DataFrame, path: Path, *, archive: Archive, total: int) -> None:
    """Write the table of rejects and count their kinds; refuse if there are more than the archive's config allows.

    Snakemake deletes the table when the job fails, so on refusal the list is also written as CSV beside it.
    """
    REJECTS.write(refused, path)
    kept = path.with_suffix(".csv")
    kept.unlink(missing_ok=True)
    for kind, count in kinds(refused).value_counts().head(5).items():
        # without names, because a log may be shown to others
        print(f"{archive.name}: rejected: {kind} ({count}), named in {path.name}", flush=True)
    if len(refused) <= archive.rejects * total:
        return
    write_text(as_csv(refused), kept)
    raise UserError(
        f"archives.{archive.name}: {len(refused)} of {total} images cannot be read (all of them: {kept}),"
        f" more than the share of {archive.rejects:g} that is allowed; the first: {refused['reason'].iloc[0]}",
        remedy=f"replace them, or raise archives.{archive.name}.rejects",
    )


def summary(prepared: pd.DataFrame, *, rejected: int) -> str:
    """The numbers of cases and patients, in words."""
    parts = [
        f"{split} {len(part)} of {part['patient'].nunique()}"
        for split, part in ((split, prepared[prepared["split"] == split]) for split in SPLITS)
    ]
    many = f"{len(prepared)} cases of {prepared['patient'].nunique()} patients prepared"
    return f"{many} ({', '.join(parts)}), {rejected} rejected, {len(labels_of(prepared))} labels"


def _read(
    case: Mapping[str, Any], *, kind: str, folder: str, size: int, resize: str, how: Mapping[str, Any]
) -> Outcome:
    """The outcome for a case; runs in a worker."""
    plugin = registry.load("datasets", kind)
    try:
        decoded = plugin.read_pixels(Path(folder), case, **how)
        header = plugin.read_person(Path(folder), case) if hasattr(plugin, "read_person") else {}
        return prepared_case(decoded, header, case=case, size=size, resize=resize)
    except DiskError:
        # an archive must not shrink because a disk or a permission fails
        raise
    except UserError as refusal:
        return _refused(refusal)


def _read_scan(scan: Mapping[str, Any], *, kind: str, folder: str, size: int, resize: str) -> list[tuple[int, Outcome]]:
    """(position among its rows, outcome) of the slices of a scan, in anatomical order; runs in a worker."""
    rows, outcomes = scan["rows"], []
    try:
        for place, slice_ in registry.load("datasets", kind).read_scan(Path(folder), rows):
            result = Outcome(None, {}, reason=slice_.reason, kind=slice_.kind)
            if slice_.pixels is not None:
                header = {**slice_.person, **slice_.place._asdict()}
                result = prepared_case(slice_.pixels, header, case=rows[place], size=size, resize=resize)
            outcomes.append((place, result))
    except DiskError:
        raise
    except UserError as refusal:
        return [(place, _refused(refusal)) for place in range(len(rows))]
    return outcomes


def _refused(refusal: UserError) -> Outcome:
    """The outcome for a case that cannot be read."""
    return Outcome(None, {}, reason=str(refusal), kind=refusal.kind)


def prepared_case(
    decoded: np.ndarray, header: dict[str, Any], *, case: Mapping[str, Any], size: int, resize: str
) -> Outcome:
    """A resized image with its hashes; one of a single value throughout, such as air, is rejected."""
    if is_blank(decoded):
        kind = "shows nothing, one value throughout"
        return Outcome(None, {}, reason=f"{case['case']}: {kind}", kind=kind)
    # hashes are those of the decoded image, so that they do not depend on the archive's size and padding
    grey = as_grey(decoded)
    own = grey if grey.pixels is decoded else None
    return Outcome(fitted(decoded, size=size, resize=resize, grey=own), header, every(grey))


def _lost_scan(scan: Mapping[str, Any]) -> list[tuple[int, Outcome]]:
    """The outcome for the slices of a scan whose decoder ended the process."""
    return [(place, lost(row)) for place, row in enumerate(scan["rows"])]


def lost(case: Mapping[str, Any]) -> Outcome:
    """The outcome for a case whose decoder ended the process."""
    return Outcome(None, {}, reason=f"{case['file']}: its decoder crashed; fetch it again", kind=CRASHED)
