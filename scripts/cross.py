"""Cross the datasets that networks were fitted to with one that they were tested on."""

from headwater.core.command_line import door
from headwater.stages.cross import cross

if __name__ == "__main__":
    door(cross)
