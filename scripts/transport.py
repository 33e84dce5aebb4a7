"""Rule door, called by Snakemake: score the test images of other datasets with a fitted network."""

from headwater.core.command_line import door
from headwater.stages.transport import transport

if __name__ == "__main__":
    door(transport)
