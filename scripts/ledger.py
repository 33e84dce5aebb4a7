"""Rule door, called by Snakemake: list the patients, examinations and images that parts of a study share."""

from headwater.cluster.rule_door import door
from headwater.stages.ledger import ledger

if __name__ == "__main__":
    door(ledger)
