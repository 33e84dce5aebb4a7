"""Picks the images of a corpus that a pre-training shall see."""

from headwater.core.command_line import door
from headwater.stages.reduce import reduce

if __name__ == "__main__":
    door(reduce)
