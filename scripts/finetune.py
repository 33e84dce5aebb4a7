"""Rule door, called by Snakemake: fit a source's network to a dataset."""

from headwater.cluster.rule_door import door
from headwater.stages.finetune import finetune

if __name__ == "__main__":
    door(finetune)
