"""For people: the same as `headwater trace`, with the same arguments."""

import sys

from headwater.cli import main

if __name__ == "__main__":
    main(["trace", *sys.argv[1:]])
