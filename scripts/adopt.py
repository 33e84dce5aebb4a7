"""Bring published weights into our spelling, with an account of every tensor."""

from headwater.adopt import adopt
from headwater.cli import door

if __name__ == "__main__":
    door(adopt)
