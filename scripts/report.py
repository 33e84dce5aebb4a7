"""Write the tables, figures and the page over all datasets."""

from headwater.core.command_line import door
from headwater.stages.report import report

if __name__ == "__main__":
    door(report)
