"""Rule door, called by Snakemake: compare networks on a dataset that they were not fitted to (external validation)."""

from headwater.cluster.rule_door import door
from headwater.stages.cross import cross

if __name__ == "__main__":
    door(cross)
