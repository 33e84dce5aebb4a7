"""A fine-tuning and a pre-training on volumes, alone or as one rank of several; run as a script it is such a rank."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import tiny_networks_made
import volumes_made
from headwater.data.reduction import ROWS
from headwater.data.store import CASES
from headwater.stages.finetune import finetune
from headwater.stages.pretrain import pretrain
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source

PATCH = [8, 8, 6]
SEEN = Intensity(zscore=True)
NETWORK = {"backbone": "tiny/net", "mean": (0.0,), "std": (1.0,)}
VOLUMES = Source(name="random", **NETWORK)
VIEWS = {"flip": 0.5, "flip_axes": ("x", "y"), "rotation": 20, "scaling": 0.2, "noise": 0.05}
TRAINING = {"steps": 6, "batch": 4, "lr": 0.02, "validations": 2, "save_minutes": 0, "optimiser": "sgd"}


def archive(folder: Path, *, sides: tuple[int, int, int] = (10, 12, 8)) -> volumes_made.Made:
    """Volumes, and the rows of the training split as a corpus."""
    made = volumes_made.archive(folder, cases=20, sides=sides)
    cases = CASES.read(made.cases)
    ROWS.write(cases.loc[cases["split"] == "train", ["row", "case"]], folder / "rows.parquet")
    return made


def outlining(folder: Path, made: volumes_made.Made, *, source: Source = VOLUMES, patch: Sequence[int] = PATCH) -> None:
    """Fit a network to outline structures, with all products in the folder."""
    run = Run(
        dataset={"name": "made", "archive": "made", "seen": SEEN, "task": "segmentation", "labels": ("back", "front")},
        source=source,
        recipe={"name": "full", "training": TRAINING, "select": "dice", "views": VIEWS},
        seed=0,
    )
    products = {"model": folder / "model.safetensors", "fit": folder / "fit.json", "progress": folder / "progress.pt"}
    finetune(run=run, cases=made.cases, images=made.images, patch=list(patch), **products)


def slices(folder: Path, made: volumes_made.Made) -> None:
    """The same by a network for pictures, slice by slice."""
    flat = Source(name="random", backbone="timm/test_resnet", slices="sagittal", mean=(0.0,), std=(1.0,))
    outlining(folder, made, source=flat, patch=[1, 10, 6])


def pretraining(folder: Path, made: volumes_made.Made, *, method: str = "simclr", **options: object) -> None:
    """Pre-train a network by a method, with all products in the folder."""
    chosen = {"name": method, "options": {"hidden_dimension": 16, "dimension": 8, **options}}
    source = Source(
        name="made", method=chosen, corpus="made", training=TRAINING, seen=SEEN, views=VIEWS, collapse={"spread": 0},
        **NETWORK,
    )  # fmt: skip
    products = {"encoder": folder / "e.safetensors", "history": folder, "progress": folder / "progress.pt"}
    pretrain(
        source=source, size=PATCH, cases=made.cases, images=made.images, rows=made.cases.with_name("rows.parquet"),
        **products,
    )  # fmt: skip


TRAININGS = {"outlining": outlining, "slices": slices, "pretraining": pretraining}


def losses(folder: Path) -> list[float]:
    """The training loss of each step."""
    lines = (line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:])
    return [float(value) for _, name, value in lines if name == "training/loss"]


if __name__ == "__main__":
    home, prepared, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    files = [prepared / name for name in ("cases.parquet", "images.npy", "masks.npy", "references.npy")]
    # each rank has its own copy of the library of networks
    with tempfile.TemporaryDirectory() as place, tiny_networks_made.there(Path(place)):
        (home / name).mkdir(parents=True, exist_ok=True)
        TRAININGS[name](home / name, volumes_made.Made(*files))
