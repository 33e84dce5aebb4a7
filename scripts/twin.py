"""Makes a small synthetic archive in the byte layout of a real one."""

from headwater.cli import door
from headwater.twin import twin

if __name__ == "__main__":
    door(twin)
