"""Examine whether the scores on one dataset can be read as probabilities, and for whom they work less well."""

from headwater.cli import door
from headwater.examine import examine

if __name__ == "__main__":
    door(examine)
