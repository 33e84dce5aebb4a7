"""Rule door, called by Snakemake: choose the images of a corpus for pre-training."""

from headwater.cluster.rule_door import door
from headwater.stages.reduce import reduce

if __name__ == "__main__":
    door(reduce)
