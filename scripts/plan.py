"""Tells, before a GPU is asked for, what a study could find and what it costs: `python scripts/plan.py --help`."""

from headwater.calibrate import calibrate
from headwater.cli import doors
from headwater.cost import cost
from headwater.plan import power

if __name__ == "__main__":
    doors({"power": power, "cost": cost, "calibrate": calibrate})
