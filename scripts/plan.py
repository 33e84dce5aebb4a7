"""Tells, before a GPU is asked for, what a study asks for, costs and could find: `python scripts/plan.py --help`."""

from headwater.core.command_line import doors
from headwater.planning.cost import cost
from headwater.planning.estimate_vs_actual import hindsight
from headwater.planning.overview import study
from headwater.planning.power import power
from headwater.planning.timing_benchmark import calibrate

if __name__ == "__main__":
    commands = {"study": study, "cost": cost, "calibrate": calibrate, "compare": hindsight, "power": power}
    doors(commands, otherwise="study")
