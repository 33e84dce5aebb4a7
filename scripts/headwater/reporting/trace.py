"""Trace: a number of the report followed back to predictions, models, weights and splits, each checked again."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from headwater.core.fingerprints import NOT_RECORDED
from headwater.core.text import many
from headwater.reporting.trace_number import find, find_file, words_of
from headwater.reporting.trace_report import AS_RECORDED, CHANGED, GONE, Report
from headwater.reporting.trace_tree import Node, tree


def whence(table: str, row: list[str], *, config: Path | None = None) -> None:
    """Follow a number of the report back to the files that it was made from, and see whether they are still the same.

    TABLE is significance.csv or another table of sources in a folder of a report; with --config its name is enough.
    ROW is a number (1 is the first row below the headings, which a spreadsheet calls 2), or words of one row, such as
    `vindr macro radiographs_supervised`. With TABLE `numbers.json`, or `numbers`, ROW is a name of a number in it.
    Run it where you run snakemake. It ends with 0, with 1 if a file has changed, with 2 if there is nothing to follow.
    """
    file = find_file(table, config=config)
    report = Report(file.parent)
    whole = tree(find(report, file, words_of(row)), report, file=file, config=config)
    print("\n".join([whole.text, *_below(whole), "", *_verdict(report.checked)]))
    if CHANGED in report.checked.values():
        sys.exit(1)


def _below(node: Node, *, before: str = "") -> Iterator[str]:
    """The lines of all that a node was made from."""
    for position, child in enumerate(node.made_from):
        last = position == len(node.made_from) - 1
        yield f"{before}{'└─ ' if last else '├─ '}{child.text}"
        yield from _below(child, before=f"{before}{'   ' if last else '│  '}")


def _verdict(checked: dict[Path, str]) -> Iterator[str]:
    """Which files are still the same, have changed or are gone, in a line each."""
    by_state = {
        state: [str(file) for file in checked if checked[file] == state]
        for state in (AS_RECORDED, NOT_RECORDED, GONE, CHANGED)
    }
    yield f"{many(len(by_state.pop(AS_RECORDED)), 'file')} as recorded."
    for state, files in by_state.items():
        if files:
            yield f"{state}: {', '.join(map(shlex.quote, files))}"
