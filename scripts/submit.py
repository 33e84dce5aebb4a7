"""For people: the same as `headwater submit`, with the same arguments."""

import sys

from headwater.cli import main

if __name__ == "__main__":
    main(["submit", *sys.argv[1:]])
