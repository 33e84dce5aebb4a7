"""Rule door, called by Snakemake: read an archive's volumes, masks and labels once."""

from headwater.cluster.rule_door import door
from headwater.stages.prepare_volumes import prepare_volumes

if __name__ == "__main__":
    door(prepare_volumes)
