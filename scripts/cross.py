"""Cross the datasets that networks were fitted to with one that they were tested on."""

from headwater.cli import door
from headwater.cross import cross

if __name__ == "__main__":
    door(cross)
