"""CPU seconds of a step of SimCLR from PNG files, beside lightly-train and stable-pretraining as their users run them.

    pip install lightly-train stable-pretraining
    python benchmarks/peers.py [--peers lightly-train ...] [--rounds 3] [--steps 45] [--batch 64] [--stored 32]

All three train `timm/resnet18` on the same PNG files in colour, windows of the two photographs that scikit-learn ships:
two views of 32 pixels with SimCLR's crops, flips, colours and blur, a head of 2048 and 128 neurons, a temperature of
0.5, AdamW, no worker processes. Ours is `prepare`, `reduce` and `pretrain`; theirs are `lightly_train.pretrain`, and a
`Manager` with the forward function `simclr`. A training is one epoch in a process of its own; they take turns.

Seconds are those of the process and all its threads. A step is the mean over all but the first ten and the last five,
so that the start, `prepare`, checkpoints and the last check of the features are left out. The loss is the mean of steps
21 to 30, from the first weights that each package draws; if views resembled their partners no more than all others it
would be ln(2 batch - 1), with 64 images 4.844.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from headwater.core.records import Choice
from headwater.stages.prepare import prepare
from headwater.stages.pretrain import pretrain
from headwater.stages.reduce import reduce
from headwater.study.archive import Archive
from headwater.study.source import Source

BACKBONE, SIDE, HIDDEN, OUT, TEMPERATURE, RATE, DECAY = "resnet18", 32, 2048, 128, 0.5, 1e-3, 0.05
SKIPPED, LEFT = 10, 5
"""Steps at the start that are not counted, and at the end, where none is read ahead."""
SEED = 0


def pictures(folder: Path, *, count: int, stored: int) -> None:
    """Write windows of the photographs as PNG files below `folder`/train, and a few for the other two splits."""
    chance, photographs, rows = np.random.default_rng(SEED), load_sample_images().images, []
    for split, number in (("train", count), ("validation", 4), ("test", 4)):
        (folder / split / "windows").mkdir(parents=True)
        for each in range(number):
            photograph = photographs[each % len(photographs)]
            side = int(chance.integers(44, 128))
            top, left = (int(chance.integers(room - side + 1)) for room in photograph.shape[:2])
            window = Image.fromarray(photograph[top : top + side, left : left + side])
            file = f"{split}/windows/{each:05d}.png"
            window.resize((stored, stored), Image.Resampling.BOX).save(folder / file)
            rows.append({"file": file, "patient": f"{split}{each}", "split": split, "odd": each % 2})
    pd.DataFrame(rows).to_csv(folder / "windows.csv", index=False)


def headwater(folder: Path, place: Path, asked: argparse.Namespace) -> None:
    """Our verbs."""
    kind = {"name": "own_folder", "table": "windows.csv", "labels": ["odd"]}
    archive = Archive(name="windows", kind=kind, folder=str(folder), size=asked.stored)
    tables = {name: place / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    arrays = {name: place / f"{name}.npy" for name in ("images", "hashes")}
    prepare(archive=archive, **tables, **arrays, split=place / "split.json", workers=0)
    rows = place / "rows.parquet"
    everything = {"reduction": Choice(name="everything"), "manifest": place / "manifest.parquet"}
    reduce(**everything, cases=tables["cases"], **arrays, rows=rows)
    source = Source(
        name="windows",
        backbone=f"timm/{BACKBONE}",
        method={"name": "simclr", "dimension": OUT, "hidden_dimension": HIDDEN, "temperature": TEMPERATURE},
        corpus="windows",
        view=SIDE if asked.stored != SIDE else None,
        views={"like": "photographs"},
        training={"steps": asked.steps, "batch": asked.batch, "lr": RATE, "weight_decay": DECAY, "validations": 1},
    )
    pretrain(
        source=source, size=[SIDE], cases=tables["cases"], images=arrays["images"], rows=rows,
        encoder=place / "encoder.safetensors", history=place / "history", progress=place / "progress.pt",
        threads=asked.threads, device="cpu",
    )  # fmt: skip


def lightly_train(folder: Path, place: Path, asked: argparse.Namespace) -> None:
    """Its function."""
    import lightly_train

    # whose learning rate is scaled by the batch and this reference
    options = {"temperature": TEMPERATURE, "reference_batch_size": asked.batch}
    lightly_train.pretrain(
        out=place / "out", data=folder / "train", model=f"timm/{BACKBONE}", method="simclr", epochs=1,
        batch_size=asked.batch, num_workers=0, accelerator="cpu", devices=1, seed=SEED,
        method_args={"hidden_dim": HIDDEN, "output_dim": OUT, **options},
        optim="adamw", optim_args={"lr": RATE, "weight_decay": DECAY}, transform_args={"image_size": (SIDE, SIDE)},
    )  # fmt: skip


def stable_pretraining(folder: Path, place: Path, asked: argparse.Namespace) -> None:
    """Its parts, put together as in its own scripts."""
    import lightning
    import stable_pretraining as spt
    from stable_pretraining.data import transforms as T
    from stable_pretraining.forward import simclr
    from torch import nn
    from torchvision.datasets import ImageFolder

    spt.set(cache_dir=str(place / "cache"))
    view = T.Compose(
        T.RGB(),
        T.RandomResizedCrop((SIDE, SIDE)),
        T.RandomHorizontalFlip(p=0.5),
        T.ColorJitter(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, p=0.8),
        T.RandomGrayscale(p=0.2),
        T.PILGaussianBlur(p=0.5),
        T.ToImage(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    )
    seen = spt.data.FromTorchDataset(
        ImageFolder(folder / "train"), names=["image", "label"], transform=T.MultiViewTransform([view, view])
    )
    loader = torch.utils.data.DataLoader(seen, batch_size=asked.batch, shuffle=True, drop_last=True)
    network = timm.create_model(BACKBONE, num_classes=0)
    head = nn.Sequential(
        nn.Linear(network.num_features, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, OUT, bias=False), nn.BatchNorm1d(OUT),
    )  # fmt: skip
    module = spt.Module(
        backbone=network, projector=head, forward=simclr, simclr_loss=spt.losses.NTXEntLoss(temperature=TEMPERATURE),
        optim={"optimizer": {"type": "AdamW", "lr": RATE, "weight_decay": DECAY}},
    )  # fmt: skip
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, num_sanity_val_steps=0, default_root_dir=place
    )
    spt.Manager(trainer=trainer, module=module, data=spt.data.DataModule(train=loader), seed=SEED)()


OURS = "headwater"
WAYS: dict[str, Callable[[Path, Path, argparse.Namespace], None]] = {
    OURS: headwater,
    "lightly-train": lightly_train,
    "stable-pretraining": stable_pretraining,
}

PEERS = [way for way in WAYS if way != OURS]


def measured(way: str, folder: Path, asked: argparse.Namespace) -> tuple[float, float]:
    """CPU seconds of a step of one training, and its loss; in a process of its own."""
    # nothing is sent from here
    os.environ |= {"LIGHTLY_TRAIN_EVENTS_DISABLED": "1", "WANDB_MODE": "disabled"}
    marks, losses, backward = [], [], Tensor.backward
    torch.set_num_threads(asked.threads)

    def noted(loss: Tensor, *given: object, **named: object) -> None:
        losses.append(loss.detach())
        backward(loss, *given, **named)

    Tensor.backward = noted
    register_optimizer_step_post_hook(lambda *_: marks.append(time.process_time()))
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log.txt"
        whole = os.open(log, os.O_CREAT | os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(whole, stream)
        try:
            WAYS[way](folder, Path(place), asked)
        except BaseException as error:
            raise RuntimeError(f"{way}: {error}\n{log.read_text(errors='replace')[-3000:]}") from None
    if len(marks) != asked.steps or len(losses) != asked.steps:
        raise RuntimeError(f"{way} took {len(marks)} steps of {len(losses)} losses, not {asked.steps}")
    counted = asked.steps - SKIPPED - LEFT
    return (marks[-1 - LEFT] - marks[SKIPPED - 1]) / counted, float(torch.stack(losses[20:30]).mean())


def main() -> None:
    """Print a table, of medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=45)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stored", type=int, default=SIDE, help="pixels across of the files")
    asked = parser.parse_args()
    if asked.steps < 30:
        parser.error("--steps must be at least 30, of which the losses are told")
    absent = [peer for peer in asked.peers if importlib.util.find_spec(peer.replace("-", "_")) is None]
    if absent:
        parser.error(f"{' and '.join(absent)} not installed: pip install {' '.join(absent)}, or name others by --peers")
    ways, taken = [OURS, *asked.peers], []
    with tempfile.TemporaryDirectory() as folder:
        pictures(Path(folder), count=asked.steps * asked.batch, stored=asked.stored)
        for number in range(asked.rounds):
            # all take turns at being the first
            for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                    seconds, loss = process.submit(measured, way, Path(folder), asked).result()
                taken.append({"way": way, "round": number, "seconds": seconds, "loss": loss})
                print(f"round {number + 1}: {way} {seconds:.3f} CPU-s a step, loss {loss:.3f}", file=sys.stderr)
    print(table(pd.DataFrame(taken), ways))


def table(taken: pd.DataFrame, ways: list[str]) -> str:
    """Medians over the rounds, and ratios that are taken round by round."""
    seconds, rows = taken.pivot_table(index="round", columns="way", values="seconds"), []
    for way in ways:
        ratio = seconds[way] / seconds[OURS]
        rows.append(
            {
                "way": f"{way} {importlib.metadata.version(way)}",
                "CPU-s a step": f"{seconds[way].median():.3f}",
                "of headwater's": f"{ratio.median():.3f} [{ratio.min():.3f}, {ratio.max():.3f}]",
                "loss, steps 21 to 30": f"{taken.loc[taken['way'] == way, 'loss'].median():.3f}",
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    main()
