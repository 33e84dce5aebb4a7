"""Prepares an archive: reads every image once, brings it to one size, and writes down who is in which split.

Whatever the number of workers, the same archive gives the same files.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.files import whole, write_json, write_text
from headwater.core.process_pool import in_order
from headwater.core.progress import bar
from headwater.data import index
from headwater.data.index import label_counts, one_class_notes, refuse_unusable_labels
from headwater.data.perceptual_hash import WORDS, every
from headwater.data.splits import account, origin, refuse_empty_split, with_splits
from headwater.data.tables import SPLITS, check, labels_of, write_table
from headwater.study.archive import Archive
from headwater.study.ct_windows import AIR


class Prepared(NamedTuple):
    """What became of one case: its pixels and what its header says of the patient, or why it cannot be read."""

    pixels: np.ndarray | None
    """uint8 (channels, size, size), or int16 (1, size, size) of Hounsfield units"""
    told: dict[str, Any]
    """what only the file tells: of the patient, and where a slice lies"""
    hash: np.ndarray | None = None
    """uint64 (words,): see hashes.every"""
    reason: str = ""


def prepare(
    *,
    archive: Archive,
    cases: Path,
    images: Path,
    hashes: Path,
    rejects: Path,
    labels: Path,
    split: Path,
    workers: int = 2,
) -> None:
    """Write an archive's cases, pixels, hashes, unreadable images, labels' counts, and who is in which split."""
    files = index.split_files(archive)
    listed = index.read(archive)
    catalogue = _catalogue(listed, archive=archive, files=files)
    refuse_unusable_labels(label_counts(catalogue), archive=archive.name, files=files)
    with whole(images) as temporary:
        prepared, seen, refused = _read_all(catalogue, archive=archive, workers=workers, path=temporary)
        _write_rejects(refused, rejects, archive=archive, total=len(catalogue))
        refuse_empty_split(prepared)
        counts = label_counts(prepared)
        refuse_unusable_labels(counts, archive=archive.name, files=files)
    with whole(hashes) as temporary:
        np.save(temporary, seen)
    write_table(prepared, cases, "cases")
    write_table(counts, labels, "labels")
    made = origin(listed, validation=archive.validation, test=archive.test, seed=archive.split_seed)
    write_json(account(prepared, made=made), split)
    for note in one_class_notes(counts, files=files):
        print(f"{archive.name}: {note}", flush=True)
    print(f"{archive.name}: {_summary(prepared, rejected=len(refused))}", flush=True)


def _catalogue(listed: pd.DataFrame, *, archive: Archive, files: Mapping[str, Path]) -> pd.DataFrame:
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


def _read_all(
    catalogue: pd.DataFrame, *, archive: Archive, workers: int, path: Path
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Write the pixels of all cases to `path`; the "cases" table of them, their hashes, and the "rejects"."""
    rows = catalogue.to_dict("records")
    results = _results(rows, archive=archive, workers=workers)
    kept, told, hashes, refused = [], [], [], []
    with Shelf(path, size=archive.size, kind=_kind(archive)) as shelf:
        for position, result in bar(results, total=len(rows), what=f"prepare {archive.name}"):
            if result.pixels is None:
                refused.append({**{key: rows[position][key] for key in ("case", "file")}, "reason": result.reason})
                continue
            shelf.add(result.pixels)
            kept.append(position)
            told.append(result.told)
            hashes.append(result.hash)
    digests = [hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest() for pixels in np.load(path, mmap_mode="r")]
    known = _with_told(catalogue.iloc[kept].reset_index(drop=True), told)
    prepared = known.assign(row=np.arange(len(kept)), pixels=pd.Series(digests, dtype=str))
    rejects = pd.DataFrame(refused, columns=["case", "file", "reason"], dtype=str)
    return check(prepared, "cases"), np.array(hashes, np.uint64).reshape(len(kept), WORDS), rejects


def _results(rows: list[dict[str, Any]], *, archive: Archive, workers: int) -> Iterator[tuple[int, Prepared]]:
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


def _with_told(cases: pd.DataFrame, told: list[dict[str, Any]]) -> pd.DataFrame:
    """The cases with what their files tell: of patients where the catalogue says nothing, and where slices lie."""
    found = pd.DataFrame(told, index=cases.index)
    known = {"sex": cases["sex"] != "", "age": cases["age"].notna(), "view": cases["view"] != ""}
    unknown = pd.Series(False, cases.index)
    return cases.assign(
        **{name: cases.get(name, found[name]).where(known.get(name, unknown), found[name]) for name in found.columns}
    )


def _write_rejects(refused: pd.DataFrame, path: Path, *, archive: Archive, total: int) -> None:
    """Write and tell what cannot be read; refuse if it is more than the archive's config allows.

    Snakemake removes the table of a job that failed, so on refusal the list is also kept as text beside it.
    """
    write_table(refused, path, "rejects")
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


def _summary(prepared: pd.DataFrame, *, rejected: int) -> str:
    """How many cases and patients there are, in words."""
    parts = [
        f"{split} {len(part)} of {part['patient'].nunique()}"
        for split, part in ((split, prepared[prepared["split"] == split]) for split in SPLITS)
    ]
    many = f"{len(prepared)} cases of {prepared['patient'].nunique()} patients prepared"
    return f"{many} ({', '.join(parts)}), {rejected} rejected, {len(labels_of(prepared))} labels"


def _read(chunk: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str) -> list[Prepared]:
    """What becomes of each case of a chunk; runs in a worker."""
    plugin = registry.load("datasets", kind)
    results = []
    for case in chunk:
        try:
            decoded = plugin.read_pixels(Path(folder), case)
            told = plugin.read_person(Path(folder), case) if hasattr(plugin, "read_person") else {}
            results.append(_prepared(decoded, told, case=case, size=size, resize=resize))
        except UserError as refusal:
            results.append(Prepared(None, {}, reason=str(refusal)))
    return results


def _read_scans(
    chunk: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str
) -> list[list[tuple[int, Prepared]]]:
    """What becomes of the slices of each scan of a chunk, with their places among its rows; runs in a worker."""
    return [_read_scan(scan["rows"], kind=kind, folder=folder, size=size, resize=resize) for scan in chunk]


def _read_scan(
    rows: list[dict[str, Any]], *, kind: str, folder: str, size: int, resize: str
) -> list[tuple[int, Prepared]]:
    """(place among the rows, what becomes of it) of the slices of a scan, in the order in which they lie."""
    made = []
    try:
        for place, slice_ in registry.load("datasets", kind).read_scan(Path(folder), rows):
            result = Prepared(None, {}, reason=slice_.reason)
            if slice_.pixels is not None:
                told = {**slice_.person, **slice_.place._asdict()}
                result = _prepared(slice_.pixels, told, case=rows[place], size=size, resize=resize)
            made.append((place, result))
    except UserError as refusal:
        return [(place, Prepared(None, {}, reason=str(refusal))) for place in range(len(rows))]
    return made


def _prepared(
    decoded: np.ndarray, told: dict[str, Any], *, case: Mapping[str, Any], size: int, resize: str
) -> Prepared:
    """An image at its size with its hashes; a slice that is the same throughout, such as air, is none."""
    # what scanners write around the patient counts as air
    if decoded.dtype == np.int16 and np.ptp(np.maximum(decoded, AIR)) == 0:
        return Prepared(None, {}, reason=f"{case['case']}: shows nothing, one value throughout")
    # hashes of what was decoded: the same picture has one at every size, padded or stretched
    return Prepared(fitted(decoded, size=size, resize=resize), told, every(decoded))


def _lost_scan(scan: Mapping[str, Any]) -> list[tuple[int, Prepared]]:
    """What becomes of the slices of a scan whose decoder ended the process."""
    return [(place, lost(row)) for place, row in enumerate(scan["rows"])]


def lost(case: Mapping[str, Any]) -> Prepared:
    """What becomes of a case whose decoder ended the process."""
    return Prepared(None, {}, reason=f"{case['file']}: its decoder crashed; fetch it again")


def fitted(pixels: np.ndarray, *, size: int, resize: str) -> np.ndarray:
    """An image (height, width) or (height, width, 3) as (channels, size, size), smoothed where it shrinks.

    "pad" keeps the aspect ratio and adds black, or air, at the shorter side, evenly on both; "squash" stretches. Shades
    stay uint8 and Hounsfield units int16.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    shape = (
        (size, size) if resize == "squash" else tuple(max(1, round(side * size / longer)) for side in (height, width))
    )
    small = _resized(pixels, shape)
    planes = small[None] if small.ndim == 2 else small.transpose(2, 0, 1)  # (channels, height, width)
    margins = [((size - side) // 2, (size - side + 1) // 2) for side in shape]
    return np.pad(planes, [(0, 0), *margins], constant_values=AIR if pixels.dtype == np.int16 else 0)


def _resized(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The image at another height and width; Hounsfield units as floats in between, because Pillow knows no signs.

    What scanners write around the patient counts as air, or its edge would ring in the air beside it.
    """
    hounsfield = pixels.dtype == np.int16
    picture = Image.fromarray(np.maximum(pixels, AIR).astype(np.float32) if hounsfield else pixels)
    small = np.asarray(picture.resize(shape[::-1], Image.Resampling.LANCZOS))
    return np.clip(np.rint(small), AIR, 2**15 - 1).astype(np.int16) if hounsfield else small


class Shelf:
    """A .npy file that images of one size and kind are put on, one after another: (cases, channels, size, size).

    It has one channel until the first image in colour comes.
    """

    def __init__(self, path: Path, *, size: int, kind: type[np.generic] = np.uint8):
        self.path, self.size, self.kind, self.channels, self.count = path, size, np.dtype(kind), 1, 0

    def __enter__(self) -> "Shelf":
        self.file = self.path.open("wb+")
        self._write_header()
        self.start = self.file.tell()
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            self._write_header()

    def add(self, pixels: np.ndarray) -> None:
        """Put one image (1 or 3, size, size) behind the others."""
        if len(pixels) > self.channels:
            self._widen(len(pixels))
        wide = np.broadcast_to(pixels, (self.channels, self.size, self.size))
        self.file.write(wide.astype(self.kind, casting="equiv").tobytes())
        self.count += 1

    def _widen(self, channels: int) -> None:
        """Repeat the one channel of all images so far, in place, from the last to the first."""
        self.file.flush()
        narrow = self.size**2 * self.kind.itemsize
        wide = channels * narrow
        for row in reversed(range(self.count)):
            self.file.seek(self.start + row * narrow)
            plane = self.file.read(narrow)
            self.file.seek(self.start + row * wide)
            self.file.write(plane * channels)
        self.file.seek(self.start + self.count * wide)
        self.channels = channels

    def _write_header(self) -> None:
        """Say what follows; NumPy leaves room for the count to grow, so the length stays."""
        shape = (self.count, self.channels, self.size, self.size)
        form = {"descr": self.kind.newbyteorder("<").str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, form)
