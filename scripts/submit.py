"""A grid on SLURM that needs no shell for days, and one run by hand: `python scripts/submit.py --help`."""

from headwater.cluster.debug_run import one
from headwater.cluster.submit import cancel, logs, start, status, watch
from headwater.core.command_line import doors

if __name__ == "__main__":
    doors({"start": start, "watch": watch, "status": status, "logs": logs, "cancel": cancel, "one": one})
