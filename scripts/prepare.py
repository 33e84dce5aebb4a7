"""Rule door, called by Snakemake: read an archive's images and labels once."""

from headwater.cluster.rule_door import door
from headwater.stages.prepare import prepare

if __name__ == "__main__":
    door(prepare)
