"""Trace: follows a number of the report back to predictions, models, weights and splits, and checks each file."""

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
    """Follow a number of the report back to the files that it was made from, and check whether they are unchanged.

    Run it in the folder where you run snakemake. Exit code: 0 if all files are as recorded, 1 if a file has changed,
    2 if the number cannot be followed.

    Args:
        table: A table of the report, such as results/my_study/report/significance.csv; with --config its name is
            enough. `numbers` stands for the numbers of numbers.json.
        row: Number of the row (1 is the first below the headings), or words that occur in this row only, such as vindr
            macro imagenet; for `numbers`, the name of the number.
        config: Config file of the study.
    """
    file = find_file(table, config=config)
    report = Report(file.parent)
    whole = tree(find(report, file, words_of(row)), report, file=file, config=config)
    print("\n".join([whole.text, *_below(whole), "", *_verdict(report.checked)]))
    if CHANGED in report.checked.values():
        sys.exit(1)


def _below(node: Node, *, before: str = "") -> Iterator[str]:
    """The lines of all nodes below a node."""
    for position, child in enumerate(node.made_from):
        last = position == len(node.made_from) - 1
        yield f"{before}{'└─ ' if last else '├─ '}{child.text}"
        yield from _below(child, before=f"{before}{'   ' if last else '│  '}")


def _verdict(checked: dict[Path, str]) -> Iterator[str]:
    """The number of unchanged files, then a line each for files that were not recorded, are gone or have changed."""
    by_state = {
        state: [str(file) for file in checked if checked[file] == state]
        for state in (AS_RECORDED, NOT_RECORDED, GONE, CHANGED)
    }
    yield f"{many(len(by_state.pop(AS_RECORDED)), 'file')} as recorded."
    for state, files in by_state.items():
        if files:
            yield f"{state}: {', '.join(map(shlex.quote, files))}"
