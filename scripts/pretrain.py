"""Pre-train a network on the images of a corpus."""

from headwater.cli import door
from headwater.pretrain import pretrain

if __name__ == "__main__":
    door(pretrain)
