"""Prepares an archive: reads every image once, brings it to one size, and writes down who is in which split.

Whatever the number of workers, the same archive gives the same files.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from headwater import catalogues, grid, plugins
from headwater.catalogues import label_counts, one_class_notes, refuse_unusable_labels
from headwater.formats import SPLITS, check, labels_of, whole, write_json, write_table, write_text
from headwater.hashes import WORDS, every
from headwater.progress import bar
from headwater.refusals import Refusal
from headwater.splits import account, origin, refuse_empty_split, with_splits
from headwater.workers import in_order


class Prepared(NamedTuple):
    """What became of one case: its pixels and what its header says of the patient, or why it cannot be read."""

    pixels: np.ndarray | None
    """uint8 (channels, size, size)"""
    person: dict[str, Any]
    hash: np.ndarray | None = None
    """uint64 (words,): see hashes.every"""
    reason: str = ""


def prepare(
    *,
    archive: grid.Archive,
    cases: Path,
    images: Path,
    hashes: Path,
    rejects: Path,
    labels: Path,
    split: Path,
    workers: int = 2,
) -> None:
    """Write an archive's cases, pixels, hashes, unreadable images, labels' counts, and who is in which split."""
    files = catalogues.split_files(archive)
    listed = catalogues.read(archive)
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


def _catalogue(listed: pd.DataFrame, *, archive: grid.Archive, files: Mapping[str, Path]) -> pd.DataFrame:
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
    except Refusal as refusal:
        raise Refusal(f"archives.{archive.name}: {refusal}") from None


def _read_all(
    catalogue: pd.DataFrame, *, archive: grid.Archive, workers: int, path: Path
) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """Write the pixels of all cases to `path`; the "cases" table of them, their hashes, and the "rejects"."""
    work = partial(_read, kind=archive.kind.name, folder=archive.folder, size=archive.size, resize=archive.resize)
    rows = catalogue.to_dict("records")
    results = in_order(work, rows, lost=lost, workers=workers)
    kept, persons, hashes, refused = [], [], [], []
    with Shelf(path, size=archive.size) as shelf:
        for position, result in enumerate(bar(results, total=len(rows), what=f"prepare {archive.name}")):
            if result.pixels is None:
                refused.append({**{key: rows[position][key] for key in ("case", "file")}, "reason": result.reason})
                continue
            shelf.add(result.pixels)
            kept.append(position)
            persons.append(result.person)
            hashes.append(result.hash)
    digests = [hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest() for pixels in np.load(path, mmap_mode="r")]
    known = _with_persons(catalogue.iloc[kept].reset_index(drop=True), persons)
    prepared = known.assign(row=np.arange(len(kept)), pixels=pd.Series(digests, dtype=str))
    rejects = pd.DataFrame(refused, columns=["case", "file", "reason"], dtype=str)
    return check(prepared, "cases"), np.array(hashes, np.uint64).reshape(len(kept), WORDS), rejects


def _with_persons(cases: pd.DataFrame, persons: list[dict[str, Any]]) -> pd.DataFrame:
    """The cases with what headers tell of patients where the catalogue says nothing."""
    told = pd.DataFrame(persons, index=cases.index)
    known = {"sex": cases["sex"] != "", "age": cases["age"].notna(), "view": cases["view"] != ""}
    return cases.assign(**{name: cases[name].where(known[name], told[name]) for name in told.columns})


def _write_rejects(refused: pd.DataFrame, path: Path, *, archive: grid.Archive, total: int) -> None:
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
    raise Refusal(
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
    plugin = plugins.load("datasets", kind)
    results = []
    for case in chunk:
        try:
            decoded = plugin.read_pixels(Path(folder), case)
            pixels = fitted(decoded, size=size, resize=resize)
            person = plugin.read_person(Path(folder), case) if hasattr(plugin, "read_person") else {}
            # of what was decoded: the same picture has one hash at every size, padded or stretched
            results.append(Prepared(pixels, person, every(decoded)))
        except Refusal as refusal:
            results.append(Prepared(None, {}, reason=str(refusal)))
    return results


def lost(case: Mapping[str, Any]) -> Prepared:
    """What becomes of a case whose decoder ended the process."""
    return Prepared(None, {}, reason=f"{case['file']}: its decoder crashed; fetch it again")


def fitted(pixels: np.ndarray, *, size: int, resize: str) -> np.ndarray:
    """An image (height, width) or (height, width, 3) as uint8 (channels, size, size), smoothed where it shrinks.

    "pad" keeps the aspect ratio and adds black at the shorter side, evenly on both; "squash" stretches.
    """
    height, width = pixels.shape[:2]
    longer = max(height, width)
    shape = (
        (size, size) if resize == "squash" else tuple(max(1, round(side * size / longer)) for side in (height, width))
    )
    small = np.asarray(Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.LANCZOS))
    planes = small[None] if small.ndim == 2 else small.transpose(2, 0, 1)  # (channels, height, width)
    margins = [((size - side) // 2, (size - side + 1) // 2) for side in shape]
    return np.pad(planes, [(0, 0), *margins])


class Shelf:
    """A .npy file that images of one size are put on, one after another: uint8 (cases, channels, size, size).

    It has one channel until the first image in colour comes.
    """

    def __init__(self, path: Path, *, size: int):
        self.path, self.size, self.channels, self.count = path, size, 1, 0

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
        self.file.write(np.broadcast_to(pixels, (self.channels, self.size, self.size)).tobytes())
        self.count += 1

    def _widen(self, channels: int) -> None:
        """Repeat the one channel of all images so far, in place, from the last to the first."""
        self.file.flush()
        narrow, wide = self.size**2, channels * self.size**2
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
        np.lib.format.write_array_header_1_0(self.file, {"descr": "|u1", "fortran_order": False, "shape": shape})
