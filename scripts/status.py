"""For people: the same as `headwater status`, with the same arguments."""

import sys

from headwater.cli import main

if __name__ == "__main__":
    main(["status", *sys.argv[1:]])
