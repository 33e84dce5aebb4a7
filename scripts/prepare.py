"""Rule door, called by Snakemake: read an archive's images and labels once."""

from headwater.core.command_line import door
from headwater.stages.prepare import prepare

if __name__ == "__main__":
    door(prepare)
