"""Times one kind of training, for `plan.py calibrate`: `python scripts/rehearse.py --help`."""

from headwater.core.command_line import door
from headwater.planning.rehearse import rehearse

if __name__ == "__main__":
    door(rehearse)
