"""Score the test images of other datasets with a fitted network."""

from headwater.cli import door
from headwater.transport import transport

if __name__ == "__main__":
    door(transport)
