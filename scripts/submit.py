"""A grid on SLURM that needs no shell for days, and one run by hand: `python scripts/submit.py --help`."""

from headwater.by_hand import one
from headwater.cli import doors
from headwater.submit import cancel, logs, start, status, watch

if __name__ == "__main__":
    doors({"start": start, "watch": watch, "status": status, "logs": logs, "cancel": cancel, "one": one})
