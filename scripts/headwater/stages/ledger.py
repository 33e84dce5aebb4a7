"""Ledger: the patients, examinations and images that any two splits of the grid's archives share.

No training starts before the ledger is written. It refuses a grid in which a test split shares anything with data that
networks learn from, unless the config excuses that overlap.
"""

from pathlib import Path

from headwater.core.destinations import as_csv
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.text import many
from headwater.data import leakage
from headwater.study import paths
from headwater.study.leaks import Overlaps

SHOWN = 3
"""Leaks that an error names; the file that it names lists all."""


def ledger(*, overlaps: Overlaps, cases: list[Path], hashes: list[Path], ledger: Path, readable: Path) -> None:
    """Write what each pair of splits shares, as a table and as a CSV for people; refuse leaks that are not excused.

    Files of cases and of hashes lie in a folder named after their archive.
    """
    refused = paths.refused(readable)
    refused.unlink(missing_ok=True)
    shared, count = leakage.measured(overlaps, cases=_by_folder(cases), hashes=_by_folder(hashes))
    leaks = leakage.leaks(shared)
    unexcused = leaks[leaks["excuse"] == ""]
    if len(unexcused):
        # Snakemake deletes the outputs of a failed job; this copy stays
        write_text(as_csv(unexcused), refused)
        first = unexcused.iloc[0]
        shown = [leakage.in_words(row) for _, row in unexcused.head(SHOWN).iterrows()]
        shown += ["..."] if len(unexcused) > SHOWN else []
        raise UserError(
            f"{many(len(unexcused), 'leak')} into test splits: {'; '.join(shown)}",
            file=refused,
            remedy=leakage.remedy(first),
        )
    leakage.LEDGER.write(shared, ledger)
    # names of cases may contain patient numbers, and this file is meant to be shared
    write_text(as_csv(shared.drop(columns=["example", "other_example"])), readable)
    parts = len(overlaps.parts)
    print(f"ledger: {count} cases in {parts} parts, {len(leaks)} excused leaks, no other into a test split")


def _by_folder(files: list[Path]) -> dict[str, Path]:
    return {file.parent.name: file for file in files}
