"""Rule door, called by Snakemake: compare all sources on one dataset."""

from headwater.cluster.rule_door import door
from headwater.stages.compare import compare

if __name__ == "__main__":
    door(compare)
