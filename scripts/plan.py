"""Tells, before a GPU is asked for, what a study asks for, costs and could find: `python scripts/plan.py --help`."""

from headwater.calibrate import calibrate
from headwater.cli import doors
from headwater.cost import cost
from headwater.hindsight import hindsight
from headwater.plan import power
from headwater.study import study

if __name__ == "__main__":
    commands = {"study": study, "cost": cost, "calibrate": calibrate, "compare": hindsight, "power": power}
    doors(commands, otherwise="study")
