"""For people: the same as `headwater plan`, with the same arguments."""

import sys

from headwater.cli import main

if __name__ == "__main__":
    main(["plan", *sys.argv[1:]])
