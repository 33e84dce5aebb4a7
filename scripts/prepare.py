"""Reads an archive's images and labels once: `python scripts/prepare.py --help`."""

from headwater.cli import door
from headwater.prepare import prepare

if __name__ == "__main__":
    door(prepare)
