"""Rule door, called by Snakemake: convert published weights into our format, with an account of every tensor."""

from headwater.cluster.rule_door import door
from headwater.stages.adopt import adopt

if __name__ == "__main__":
    door(adopt)
