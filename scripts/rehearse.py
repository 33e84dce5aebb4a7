"""Times one kind of training, for `plan.py calibrate`: `python scripts/rehearse.py --help`."""

from headwater.cli import door
from headwater.rehearse import rehearse

if __name__ == "__main__":
    door(rehearse)
