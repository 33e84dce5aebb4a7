"""Write the tables, figures and the page over all datasets."""

from headwater.cli import door
from headwater.report import report

if __name__ == "__main__":
    door(report)
