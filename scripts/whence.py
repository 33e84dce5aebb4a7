"""Follows a number of the report back to the files that it was made from: `python scripts/whence.py --help`."""

from headwater.cli import door
from headwater.whence import whence

if __name__ == "__main__":
    door(whence)
