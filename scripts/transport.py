"""Rule door, called by Snakemake: score the test images of other datasets with a fitted network."""

from headwater.cluster.rule_door import door
from headwater.stages.transport import transport

if __name__ == "__main__":
    door(transport)
