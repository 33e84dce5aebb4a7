"""Relabel: the cases and splits of an archive that is already prepared, with labels by another label policy."""

from pathlib import Path

from headwater.core.errors import about
from headwater.core.files import write_json
from headwater.data import index, relabelling
from headwater.data.index import LABELS, every_count, label_counts, one_class_notes, refuse_unusable_labels
from headwater.data.splits import account, refuse_empty_split
from headwater.data.store import CASES, REJECTS
from headwater.data.tables import read_origin
from headwater.study.archive import Archive


def relabel(
    *, archive: Archive, first: Path, first_rejects: Path, cases: Path, rejects: Path, labels: Path, split: Path
) -> None:
    """Write an archive's cases, counts of labels and splits from those of the archive whose images it uses.

    A case that the other policy leaves out keeps its row but is in no split, so that rows still match the images. A
    reading that names other patients or official splits is refused.
    """
    prepared, files = CASES.read(first), index.split_files(archive)
    catalogue, rejected = index.read(archive), REJECTS.read(first_rejects)
    relabelling.refuse_more(catalogue, prepared=prepared, rejected=rejected, archive=archive, file=first)
    table = files.get("train", Path(archive.folder))
    relabelling.refuse_contradiction(catalogue, prepared=prepared, archive=archive, file=table)
    relabelled = relabelling.relabelled(prepared, catalogue)
    with about(table):
        refuse_empty_split(relabelled[relabelled["split"] != ""])
    counts = label_counts(relabelled)
    refuse_unusable_labels(counts, archive=archive.name, files=files)
    CASES.write(relabelled, cases, origin=read_origin(first))
    REJECTS.write(rejected[rejected["case"].isin(catalogue["case"])], rejects)
    LABELS.write(every_count(relabelled), labels)
    write_json(account(relabelled, made={"made": f"as of {archive.images_of}"}), split)
    for note in one_class_notes(counts, files=files):
        print(f"{archive.name}: {note}", flush=True)
    out = int((relabelled["split"] == "").sum())
    print(f"{archive.name}: labels of {len(relabelled) - out} cases read anew, {out} cases left out", flush=True)
