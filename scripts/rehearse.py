"""Called by headwater plan calibrate in a process of its own: time one kind of training."""

from headwater.core.command_line import door
from headwater.planning.rehearse import rehearse

if __name__ == "__main__":
    door(rehearse)
