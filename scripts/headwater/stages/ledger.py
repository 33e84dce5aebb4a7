"""Ledger: the patients, examinations and images that any two splits of the grid's archives share.

No training starts before the ledger is written. It refuses a grid in which a test split shares anything with data that
networks learn from, unless the config excuses that overlap or has the cases dropped from training.
"""

from pathlib import Path

import pandas as pd

from headwater.core.destinations import as_csv
from headwater.core.errors import UserError
from headwater.core.files import write_text
from headwater.core.text import many
from headwater.data import dropping, leakage, opposite_labels
from headwater.study import paths
from headwater.study.leaks import Overlaps

SHOWN = 3
"""Leaks that an error names; the files that it names list all."""


def ledger(
    *,
    overlaps: Overlaps,
    cases: list[Path],
    hashes: list[Path],
    ledger: Path,
    readable: Path,
    dropped: list[Path] | None = None,
) -> None:
    """Write what each pair of splits shares, as a table and as a CSV for people; refuse leaks that are not excused.

    Files of cases and of hashes lie in a folder named after their archive; so do those of the cases that are dropped
    from training, one for each archive, in a study that resolves leaks.
    """
    refused, pairs = paths.refused(readable), paths.leaking_pairs(ledger)
    refused.unlink(missing_ok=True)
    found = leakage.measured(overlaps, cases=_by_folder(cases), hashes=_by_folder(hashes))
    # Snakemake deletes the outputs of a failed job; these files are none, and stay
    _write_or_remove(found.pairs, pairs)
    _write_or_remove(found.opposite, paths.opposite_labels(ledger))
    leaks = leakage.leaks(found.ledger)
    unexcused = leaks[leaks["excuse"] == ""]
    if len(unexcused):
        write_text(as_csv(unexcused), refused)
        shown = [leakage.in_words(row) for _, row in unexcused.head(SHOWN).iterrows()]
        shown += ["..."] if len(unexcused) > SHOWN else []
        listed = f"; {pairs} names the cases" if len(found.pairs) else ""
        raise UserError(
            f"{many(len(unexcused), 'leak')} into test splits: {'; '.join(shown)}{listed}",
            file=refused,
            remedy=leakage.remedy(unexcused.iloc[0], overlaps=overlaps),
        )
    for archive, file in _by_folder(dropped or []).items():
        dropping.DROPPED.write(found.dropped[archive], file)
    leakage.LEDGER.write(found.ledger, ledger)
    # names of cases may contain patient numbers, and this file is meant to be shared
    write_text(as_csv(found.ledger.drop(columns=["example", "other_example"])), readable)
    taken = sum(map(len, found.dropped.values()))
    out = f", {many(taken, 'case')} dropped from training" if overlaps.leaks.resolve else ""
    print(
        f"ledger: {found.cases} cases in {len(overlaps.parts)} parts{out}, {len(leaks)} excused leaks, no other into a"
        " test split"
    )
    for sentence in opposite_labels.sentences(found.ledger):
        print(f"ledger: {sentence}; {paths.opposite_labels(ledger)} names them")


def _write_or_remove(rows: pd.DataFrame, file: Path) -> None:
    """Write rows for people; without any, a file of an earlier run must not stay."""
    if len(rows):
        write_text(as_csv(rows), file)
    else:
        file.unlink(missing_ok=True)


def _by_folder(files: list[Path]) -> dict[str, Path]:
    return {file.parent.name: file for file in files}
