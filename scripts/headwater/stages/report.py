"""Report: tables, figures and a page on which differences between sources are significant after correction.

The same results give the same bytes: nothing depends on the time or the machine.
"""

from pathlib import Path

from headwater.reporting import writing
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid


def report(*, grid: Grid, results: Path, folder: Path) -> None:
    """Write tables, figures, numbers by name, their provenance, index.html and summary into `folder`; print the latter.

    RESULTS is the folder of all other jobs' products.
    """
    print(writing.write(StudyResults(grid, results=results), folder), end="")
