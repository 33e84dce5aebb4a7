"""Rule door, called by Snakemake: check calibration and subgroups of the scores on one dataset."""

from headwater.cluster.rule_door import door
from headwater.stages.examine import examine

if __name__ == "__main__":
    door(examine)
