"""Rule door, called by Snakemake: read the labels of relabelled images by another policy."""

from headwater.cluster.rule_door import door
from headwater.stages.relabel import relabel

if __name__ == "__main__":
    door(relabel)
