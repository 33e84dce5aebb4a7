"""Follows a number of the report back to the files that it was made from: `python scripts/whence.py --help`."""

from headwater.core.command_line import door
from headwater.reporting.trace import whence

if __name__ == "__main__":
    door(whence)
