"""Preparation: every image of an archive is read once and brought to one size, with its hashes, or is rejected."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.data.perceptual_hash import WORDS, every
from headwater.data.resizing import fitted
from headwater.data.shelf import Shelf
from headwater.data.splits import with_splits
from headwater.data.store import CASES, REJECTS, digest
from headwater.data.tables import SPLITS, labels_of
from headwater.study.archive import Archive
from headwater.study.ct_windows import AIR


class Outcome(NamedTuple):
    """What became of one case: its pixels and what its header says of the patient, or why it cannot be read."""

    pixels: np.ndarray | None
    """uint8 (channels, *space), or int16 (1, *space) of Hounsfield units."""
    header: dict[str, Any]
    """What only the file says: of the patient, and where a slice lies."""
    hash: np.ndarray | None = None
    """uint64 (words,): see perceptual_hash.every."""
    reason: str = ""


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
    """Write the pixels of all cases to `images`; return the table of these cases, their hashes, and the rejects."""
    rows = catalogue.to_dict("records")
    results = _results(rows, archive=archive, workers=workers)
    kept, headers, hashes, refused = [], [], [], []
    with Shelf(images, space=(archive.size, archive.size), kind=_kind(archive)) as shelf:
        for position, result in bar(results, total=len(rows), what=f"prepare {archive.name}"):
            if result.pixels is None:
                refused.append({**{key: rows[position][key] for key in ("case", "file")}, "reason": result.reason})
                continue
            shelf.add(result.pixels)
            kept.append(position)
            headers.append(result.header)
            hashes.append(result.hash)
    digests = [digest(pixels) for pixels in np.load(images, mmap_mode="r")]
    cases = _with_headers(catalogue.iloc[kept].reset_index(drop=True), headers)
    prepared = cases.assign(row=np.arange(len(kept)), pixels=pd.Series(digests, dtype=str))
    rejects = pd.DataFrame(refused, columns=list(REJECTS.columns), dtype=str)
    return CASES.check(prepared), np.array(hashes, np.uint64).reshape(len(kept), WORDS), rejects


def _results(rows: list[dict[str, Any]], *, archive: Archive, workers: int) -> Iterator[tuple[int, Outcome]]:
    """(place among the rows, what became of it): in their order, those of a scan in the order of its slices."""
    asked = {"kind": archive.kind.name, "folder": archive.folder, "size": archive.size, "resize": archive.resize}
    if not hasattr(registry.load("datasets", archive.kind.name), "read_scan"):
        yield from zip(
            range(len(rows)), in_order(partial(_read, **asked), rows, lost=lost, workers=workers), strict=True
        )
        return
    scans = _scans(rows)
    # one scan at a time, so that no worker holds more than one and results do not pile up
    made = in_order(partial(_read_scans, **asked), scans, lost=_lost_scan, workers=workers, chunk=1)
    for scan, slices in zip(scans, made, strict=True):
        for place, result in slices:
            yield scan["places"][place], result


def _scans(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows by the scan that they are slices of, in the order in which scans come."""
    scans: dict[str, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        scan = scans.setdefault(row["series"], {"rows": [], "places": []})
        scan["rows"].append(row)
        scan["places"].append(place)
    return list(scans.values())


def _kind(archive: Archive) -> type[np.generic]:
    """What the pixels of an archive are kept as."""
    return np.int16 if registry.load("datasets", archive.kind.name).CARD.window else np.uint8


def _with_headers(cases: pd.DataFrame, headers: list[dict[str, Any]]) -> pd.DataFrame:
    """The cases with what their files say: of patients where the catalogue says nothing, and where slices lie."""
    read = pd.DataFrame(headers, index=cases.index)
    known = {"sex": cases["sex"] != "", "age": cases["age"].notna(), "view": cases["view"] != ""}
    unknown = pd.Series(False, cases.index)
    return cases.assign(
        **{name: cases.get(name, read[name]).where(known.get(name, unknown), read[name]) for name in read.columns}
    )


def write_rejects(refused: pd.DataFrame, path: Path, *, archive: Archive, total: int) -> None:
    """Write and print what cannot be read; refuse if it is more than the archive's config allows.

    Snakemake removes the table of a job that failed, so on refusal the list is also kept as text beside it.
    """
    REJECTS.write(refused, path)
    kept = path.with_suffix(".csv")
    kept.unlink(missing_ok=True)
    for reason in refused["reason"].head(5):
        print(f"{archive.name}: rejected: {reason}", flush=True)
    if len(refused) <= archive.rejects * total:
        return
    write_text(refused.to_csv(index=False), kept)
    raise UserError(
        f"archives.{archive.name}: {len(refused)} of {total} images cannot be read (all of them: {kept}),"
        f" more than the share of {archive.rejects:g} that is allowed; the first: {refused['reason'].iloc[0]}",
        remedy=f"mend them, or raise archives.{archive.name}.rejects",
    )


def summary(prepared: pd.DataFrame, *, rejected: int) -> str:
    """How many cases and patients there are, in words."""
    parts = [
        f"{split} {len(part)} of {part['patient'].nunique()}"
        for split, part in ((split, prepared[prepared["split"] == split]) for split in SPLITS)
    ]
    many = f"{len(prepared)} cases of {prepared['patient'].nunique()} patients prepared"
    return f"{many} ({', '.join(parts)}), {rejected} rejected, {len(labels_of(prepared))} labels"


def _read(chunk: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str) -> list[Outcome]:
    """What becomes of each case of a chunk; runs in a worker."""
    plugin = registry.load("datasets", kind)
    results = []
    for case in chunk:
        try:
            decoded = plugin.read_pixels(Path(folder), case)
            header = plugin.read_person(Path(folder), case) if hasattr(plugin, "read_person") else {}
            results.append(prepared_case(decoded, header, case=case, size=size, resize=resize))
        except UserError as refusal:
            results.append(Outcome(None, {}, reason=str(refusal)))
    return results


def _read_scans(
    chunk: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str
) -> list[list[tuple[int, Outcome]]]:
    """What becomes of the slices of each scan of a chunk, with their places among its rows; runs in a worker."""
    return [_read_scan(scan["rows"], kind=kind, folder=folder, size=size, resize=resize) for scan in chunk]


def _read_scan(
    rows: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str
) -> list[tuple[int, Outcome]]:
    """(place among the rows, what becomes of it) of the slices of a scan, in the order in which they lie."""
    outcomes = []
    try:
        for place, slice_ in registry.load("datasets", kind).read_scan(Path(folder), rows):
            result = Outcome(None, {}, reason=slice_.reason)
            if slice_.pixels is not None:
                header = {**slice_.person, **slice_.place._asdict()}
                result = prepared_case(slice_.pixels, header, case=rows[place], size=size, resize=resize)
            outcomes.append((place, result))
    except UserError as refusal:
        return [(place, Outcome(None, {}, reason=str(refusal))) for place in range(len(rows))]
    return outcomes


def prepared_case(
    decoded: np.ndarray, header: dict[str, Any], *, case: Mapping[str, Any], size: int, resize: str
) -> Outcome:
    """An image at its size with its hashes; a slice of one value throughout, such as air, is rejected."""
    # what scanners write around the patient counts as air
    if decoded.dtype == np.int16 and np.ptp(np.maximum(decoded, AIR)) == 0:
        return Outcome(None, {}, reason=f"{case['case']}: shows nothing, one value throughout")
    # hashes of what was decoded: the same picture has one at every size, padded or stretched
    return Outcome(fitted(decoded, size=size, resize=resize), header, every(decoded))


def _lost_scan(scan: Mapping[str, Any]) -> list[tuple[int, Outcome]]:
    """What becomes of the slices of a scan whose decoder ended the process."""
    return [(place, lost(row)) for place, row in enumerate(scan["rows"])]


def lost(case: Mapping[str, Any]) -> Outcome:
    """What becomes of a case whose decoder ended the process."""
    return Outcome(None, {}, reason=f"{case['file']}: its decoder crashed; fetch it again")
