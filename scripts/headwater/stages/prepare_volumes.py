"""Prepare volumes: reads every volume and mask of an archive, resamples them, and assigns patients to splits.

The same archive gives the same files for any number of workers.
"""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from headwater.core.characters import visible
from headwater.core.files import whole, write_json
from headwater.core.fingerprints import sha256
from headwater.data import index, preparation, volume_preparation
from headwater.data.index import LABELS, every_count, label_counts, one_class_notes, refuse_unusable_labels
from headwater.data.splits import account, origin, refuse_empty_split
from headwater.data.store import CASES
from headwater.data.volume_preparation import CEILINGS, Files
from headwater.study import preparation as preparations
from headwater.study.archive import Archive


def prepare_volumes(
    *,
    archive: Archive,
    cases: Path,
    images: Path,
    masks: Path,
    references: Path,
    hashes: Path,
    rejects: Path,
    labels: Path,
    split: Path,
    ceilings: Path,
    workers: int = 2,
) -> None:
    """Write an archive's cases, volumes, masks, references, hashes, rejects, counts of labels, splits and ceilings."""
    files, listed = index.split_files(archive), index.read(archive)
    work = volume_preparation.work_of(archive)
    counted = volume_preparation.census(listed, work=work, archive=archive, workers=workers)
    listed = volume_preparation.with_targets(listed, counted, structures=work.structures)
    catalogue = preparation.with_archive_splits(listed, archive=archive, files=files)
    work = work._replace(spacing=volume_preparation.spacing_of(archive, catalogue, counted))
    with ExitStack() as stack:
        flat = Files(*(stack.enter_context(whole(path)) for path in (images, masks, references)))
        prepared, words, refused, reached = volume_preparation.read_all(
            catalogue, counted, work=work, archive=archive, workers=workers, files=flat
        )
        preparation.write_rejects(refused, rejects, archive=archive, total=len(catalogue))
        refuse_empty_split(prepared)
        counts = label_counts(prepared)
        others = volume_preparation.of_labels(counts, structures=work.structures)
        refuse_unusable_labels(others, archive=archive.name, files=files)
        volume_preparation.refuse_no_structure(counts, structures=work.structures, archive=archive.name)
    with whole(hashes) as temporary:
        np.save(temporary, words)
    how = preparations.of(archive, spacing=work.spacing).as_json()
    written = {"hashes": sha256(hashes), "structures": json.dumps(work.structures), "preparation": how}
    CASES.write(prepared, cases, origin=written)
    LABELS.write(every_count(prepared), labels)
    CEILINGS.write(table := volume_preparation.ceilings(reached), ceilings)
    made = origin(listed, validation=archive.validation, test=archive.test, seed=archive.split_seed)
    write_json(account(prepared, made=made), split)
    notes = [*one_class_notes(others, files=files), *volume_preparation.absent(counts, structures=work.structures)]
    notes += [*volume_preparation.told(table), preparation.summary(prepared, rejected=len(refused))]
    for note in [*notes, volume_preparation.summary(prepared, structures=work.structures)]:
        print(f"{archive.name}: {visible(note)}", flush=True)
