"""For people: the same as `headwater doctor`, with the same arguments."""

import sys

from headwater.cli import main

if __name__ == "__main__":
    main(["doctor", *sys.argv[1:]])
