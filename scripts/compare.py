"""Compare all sources on one dataset."""

from headwater.cli import door
from headwater.compare import compare

if __name__ == "__main__":
    door(compare)
