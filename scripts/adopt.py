"""Bring published weights into our spelling, with an account of every tensor."""

from headwater.core.command_line import door
from headwater.stages.adopt import adopt

if __name__ == "__main__":
    door(adopt)
