"""Makes a small synthetic archive in the byte layout of a real one."""

from headwater.core.command_line import door
from headwater.stages.twin import twin

if __name__ == "__main__":
    door(twin)
