"""Rule door, called by Snakemake: compute an encoder's features of each training image of a corpus."""

from headwater.cluster.rule_door import door
from headwater.stages.embed import embed

if __name__ == "__main__":
    door(embed)
