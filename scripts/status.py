"""Tells how every job of a study stands: `python scripts/status.py --help`."""

from headwater.cli import door
from headwater.status import status

if __name__ == "__main__":
    door(status)
