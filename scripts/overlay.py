"""Rule door, called by Snakemake: show where sources outline a dataset differently."""

from headwater.cluster.rule_door import door
from headwater.stages.overlay import overlay

if __name__ == "__main__":
    door(overlay)
