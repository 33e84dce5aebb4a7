"""Reads the labels of relabeld images by another policy: `python scripts/relabel.py --help`."""

from headwater.core.command_line import door
from headwater.stages.relabel import relabel

if __name__ == "__main__":
    door(relabel)
