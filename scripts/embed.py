"""Write what an encoder sees in each training image of a corpus."""

from headwater.core.command_line import door
from headwater.stages.embed import embed

if __name__ == "__main__":
    door(embed)
