"""Picks the images of a corpus that a pre-training shall see."""

from headwater.cli import door
from headwater.reduce import reduce

if __name__ == "__main__":
    door(reduce)
