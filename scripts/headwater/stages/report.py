"""Report: the tables, figures and the page that say which differences between sources stand up to correction.

The same results give the same bytes: nothing here looks at a clock or at the machine.
"""

from pathlib import Path

from headwater.reporting import writing
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid


def report(*, grid: Grid, results: Path, folder: Path) -> None:
    """Write tables, figures, numbers by name, their provenance, index.html and summary into `folder`; print the latter.

    RESULTS is the folder below which all other jobs of the study have written.
    """
    print(writing.write(StudyResults(grid, results=results), folder), end="")
