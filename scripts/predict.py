"""Rule door, called by Snakemake: score the test and validation images of a dataset with a fitted network."""

from headwater.cluster.rule_door import door
from headwater.stages.predict import predict

if __name__ == "__main__":
    door(predict)
