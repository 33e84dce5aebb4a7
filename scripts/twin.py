"""Rule door, called by Snakemake: make a synthetic archive; for people, headwater twin."""

from headwater.cluster.rule_door import door
from headwater.stages.twin import twin

if __name__ == "__main__":
    door(twin)
