"""Rule door, called by Snakemake: compare all sources on one dataset."""

from headwater.core.command_line import door
from headwater.stages.compare import compare

if __name__ == "__main__":
    door(compare)
