"""Tells how every job of a study stands: `python scripts/status.py --help`."""

from headwater.core.command_line import door
from headwater.planning.status import status

if __name__ == "__main__":
    door(status)
