"""Report: tables, figures and a page on which differences between sources are significant after correction.

The same results give the same bytes: nothing depends on the time or the machine.
"""

from pathlib import Path

from headwater.reporting import writing
from headwater.reporting.dashboards import study_run
from headwater.reporting.results import StudyResults
from headwater.study.grid import Grid
from headwater.study.tracking import Tracking


def report(*, grid: Grid, results: Path, folder: Path, tracking: Tracking = Tracking()) -> None:  # noqa: B008
    """Write tables, figures, numbers by name, their provenance, index.html and summary into `folder`; print the latter.

    RESULTS is the folder of all other jobs' products. A dashboard of TRACKING gets what the report shows.
    """
    study = StudyResults(grid, results=results)
    print(writing.write(study, folder), end="", flush=True)
    study_run.log(study, report=folder, tracking=tracking)
