"""Write what an encoder sees in each training image of a corpus."""

from headwater.cli import door
from headwater.embed import embed

if __name__ == "__main__":
    door(embed)
