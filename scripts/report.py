"""Rule door, called by Snakemake: write the tables, figures and the page of the report."""

from headwater.cluster.rule_door import door
from headwater.stages.report import report

if __name__ == "__main__":
    door(report)
