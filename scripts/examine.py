"""Examine whether the scores on one dataset can be read as probabilities, and for whom they work less well."""

from headwater.core.command_line import door
from headwater.stages.examine import examine

if __name__ == "__main__":
    door(examine)
