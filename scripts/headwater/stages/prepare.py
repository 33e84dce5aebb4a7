"""Prepare: reads every image of an archive once, resizes it, and assigns patients to splits.

The same archive gives the same files for any number of workers.
"""

from pathlib import Path

import numpy as np

from headwater.core.characters import visible
from headwater.core.files import whole, write_json
from headwater.core.fingerprints import sha256
from headwater.data import index, preparation
from headwater.data.index import LABELS, every_count, label_counts, one_class_notes, refuse_unusable_labels
from headwater.data.splits import account, origin, refuse_empty_split
from headwater.data.store import CASES
from headwater.study import preparation as preparations
from headwater.study.archive import Archive


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
    """Write an archive's cases, images, hashes, rejects, counts of labels, and splits."""
    files = index.split_files(archive)
    listed = index.read(archive)
    catalogue = preparation.with_archive_splits(listed, archive=archive, files=files)
    refuse_unusable_labels(label_counts(catalogue), archive=archive.name, files=files)
    with whole(images) as temporary:
        prepared, words, refused = preparation.read_all(catalogue, archive=archive, workers=workers, images=temporary)
        preparation.write_rejects(refused, rejects, archive=archive, total=len(catalogue))
        refuse_empty_split(prepared)
        counts = label_counts(prepared)
        refuse_unusable_labels(counts, archive=archive.name, files=files)
    with whole(hashes) as temporary:
        np.save(temporary, words)
    written = {"hashes": sha256(hashes), "preparation": preparations.of(archive).as_json()}
    CASES.write(prepared, cases, origin=written)
    LABELS.write(every_count(prepared), labels)
    made = origin(listed, validation=archive.validation, test=archive.test, seed=archive.split_seed)
    write_json(account(prepared, made=made), split)
    for note in one_class_notes(counts, files=files):
        print(f"{archive.name}: {visible(note)}", flush=True)
    print(f"{archive.name}: {preparation.summary(prepared, rejected=len(refused))}", flush=True)
