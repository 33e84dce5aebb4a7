"""Rule door, called by Snakemake: write the tables, figures and the page of the report."""

from headwater.core.command_line import door
from headwater.stages.report import report

if __name__ == "__main__":
    door(report)
