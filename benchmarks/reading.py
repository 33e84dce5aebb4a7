"""Images a second that a training reads from a cold disk, in each order of reading.

    python benchmarks/reading.py [--folder /tmp] [--gigabytes 3] [--steps 300] [--batch 64] [--rounds 3]

A file of grey pictures of 224 pixels is written to `--folder`, which must lie on the disk that is measured. Before each
round its pages are dropped from memory (posix_fadvise), then so many steps of an epoch are read as a training reads
them, with nothing computed between. `one by one` is the shuffled order with nothing asked of the disk before it is
needed. The ways take turns, each round in another epoch. The disk counts its requests, those of others included, and
the file is deleted at the end.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
import torch

from headwater.data.store import Pixels, digest
from headwater.training.batches import training_batches
from headwater.training.ddp import World
from headwater.training.reading.order import SHARD, WINDOW

SIDE = 224
WAYS = {"one by one": "shuffled", "shuffled": "shuffled", "sharded": "sharded"}


def written(path: Path, *, count: int) -> pd.DataFrame:
    """The cases of a file of so many pictures of noise, which is on the disk when this returns."""
    noise = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 1, SIDE, SIDE))
    digests = []
    for place in range(count):
        images[place] = noise.integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)
        digests.append(digest(images[place]))
    images.flush()
    return pd.DataFrame({"case": np.arange(count).astype(str), "pixels": digests})


def dropped(path: Path) -> None:
    """Drop a file, which nobody may have mapped, from memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def requests(path: Path) -> np.ndarray:
    """(requests, bytes) that the disk of a file has read since it started; not numbers where it does not count them."""
    device = path.stat().st_dev
    counted = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    if not counted.exists():
        return np.full(2, np.nan)
    done, _merged, sectors, *_ = counted.read_text().split()
    return np.array([int(done), 512 * int(sectors)], dtype=float)


def measured(path: Path, cases: pd.DataFrame, *, way: str, seed: int, steps: int, batch: int) -> dict[str, float]:
    """One way's seconds until the first step's images are there, and its rate over all further steps."""
    dropped(path)
    rows, world = np.arange(len(cases)), World(rank=0, size=1, device=torch.device("cpu"))
    silent = mock.patch.object(Pixels, "announce", lambda *_: None) if way == "one by one" else nullcontext()
    with silent:
        before, start = requests(path), time.perf_counter()
        pixels = Pixels(np.load(path, mmap_mode="r"), cases=cases, file=path)
        given = {"images": pixels, "rows": rows, "targets": np.zeros((len(rows), 1), np.float32), "batch": batch}
        batches = training_batches(range(steps), **given, seed=seed, world=world, reading_order=WAYS[way])
        next(batches)
        first = time.perf_counter()
        for _ in batches:
            pass
        last = time.perf_counter()
    asked, read = (requests(path) - before) / (steps * batch)
    rate = (steps - 1) * batch / (last - first)
    return {"first step (s)": first - start, "images/s": rate, "requests/image": asked, "kB/image": read / 1e3}


def main() -> None:
    """Print a table of the rounds and of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    count = int(asked.gigabytes * 1e9 / SIDE**2)
    if asked.steps * asked.batch > count - SHARD * WINDOW:
        parser.error(f"{asked.steps} steps of {asked.batch} read more than the file holds; raise --gigabytes")
    rows = []
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        path = Path(folder) / "images.npy"
        cases = written(path, count=count)
        for turn in range(asked.rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                row = measured(path, cases, way=way, seed=turn, steps=asked.steps, batch=asked.batch)
                rows.append({"order": way, **row})
    table = pd.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    print("\nmedians\n" + table.groupby("order", sort=False).median().round(2).to_string())


if __name__ == "__main__":
    main()
