"""The ledger of leaks: which patients, examinations and images any two parts of the grid share.

A part is one split of one archive. Nothing is trained before the ledger is written, and it refuses a grid in which a
test split shares anything with what is learned from, unless the config names the overlap and excuses it.
"""

from pathlib import Path

from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.data import leakage
from headwater.study import paths
from headwater.study.leaks import Overlaps


def ledger(*, overlaps: Overlaps, cases: list[Path], hashes: list[Path], ledger: Path, readable: Path) -> None:
    """Write what each two parts share, as a table and as a CSV to be read; refuse leaks that nothing excuses.

    Files of cases and of hashes lie in a folder that bears their archive's name.
    """
    refused = paths.refused(readable)
    refused.unlink(missing_ok=True)
    shared, count = leakage.measured(overlaps, cases=_by_folder(cases), hashes=_by_folder(hashes))
    leaks = leakage.leaks(shared)
    unexcused = leaks[leaks["excuse"] == ""]
    if len(unexcused):
        # Snakemake deletes what a failed job declared; this copy stays
        write_text(unexcused.to_csv(index=False), refused)
        first = unexcused.iloc[0]
        raise UserError(
            f"{len(unexcused)} leaks into test splits: {leakage.in_words(first)}",
            file=refused,
            remedy=leakage.remedy(first),
        )
    leakage.LEDGER.write(shared, ledger)
    # names of cases may hold patients' numbers, and this file is made to be shown
    write_text(shared.drop(columns=["example", "other_example"]).to_csv(index=False), readable)
    parts = len(overlaps.parts)
    print(f"ledger: {count} cases in {parts} parts, {len(leaks)} excused leaks, no other into a test split")


def _by_folder(files: list[Path]) -> dict[str, Path]:
    return {file.parent.name: file for file in files}
