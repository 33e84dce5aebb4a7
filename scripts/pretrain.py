"""Rule door, called by Snakemake: pre-train a network on the images of a corpus."""

from headwater.cluster.rule_door import door
from headwater.stages.pretrain import pretrain

if __name__ == "__main__":
    door(pretrain)
