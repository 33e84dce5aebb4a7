"""Fit a source's network to a dataset."""

from headwater.cli import door
from headwater.finetune import finetune

if __name__ == "__main__":
    door(finetune)
