"""Tells, before a GPU is asked for, what a study could find: `python scripts/plan.py power --config config/my.yaml`."""

from headwater.cli import doors
from headwater.plan import power

if __name__ == "__main__":
    doors({"power": power})
