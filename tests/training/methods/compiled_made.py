"""Compiled trainings on several ranks; run as a script it is one rank of them."""

import sys
from pathlib import Path

from headwater.models import compiled
from headwater.training import ddp
from test_every_option import learner
from test_recomputed import trained

RESNET = "timm/test_resnet"
TRAININGS = {
    "masked": ("mae", {}, {"accumulate": 2}),
    "residual": ("supervised", {"backbone": RESNET}, {}),
    "twice": ("supervised", {"backbone": RESNET}, {"accumulate": 2, "checkpointing": True}),
    "twice without BatchNorm": ("supervised", {"backbone": "timm/test_convnext"}, {"checkpointing": True}),
}
"""(method, network, changes of the training) by name."""


def all_trained(folder: Path, world: ddp.World, *, names: tuple[str, ...] = tuple(TRAININGS)) -> None:
    """Train each in a folder of its name."""
    for name in names:
        method, network, changes = TRAININGS[name]
        trained(folder / name, learner(method, **network), method, world=world, **changes)


if __name__ == "__main__":
    compiled.BACKEND = "aot_eager"
    with ddp.world(threads=1, compile=True) as here:
        own = Path(sys.argv[1]) / str(here.rank)
        own.mkdir()
        all_trained(own, here)
