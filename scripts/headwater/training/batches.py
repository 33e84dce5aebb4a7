"""Batches: which images a training sees at which step, read from the disk while the step before is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from headwater.data.store import Scans
from headwater.models.task_set import mapped
from headwater.study.ct_windows import Window
from headwater.training.augment import shown
from headwater.training.ddp import World

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's share of a step's images, in pinned memory where a GPU shall fetch them."""

    images: Tensor  # uint8 (batch, channels, h, w); of scans int16, and once on its device float32 in [0, 1]
    targets: Tensor | dict[str, Tensor]  # float32 (batch, labels), or of several targets by name
    epochs: Tensor  # int64 (batch,): how many times the image was shown before
    cases: Tensor  # int64 (batch,): its row in the images
    window: Window | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, scans through their window; from pinned memory without waiting for it."""
        fields = {name: held for name, held in vars(self).items() if name != "window"}
        moved = {
            name: mapped(lambda tensor: tensor.to(device, non_blocking=True), held) for name, held in fields.items()
        }
        return Batch(**moved | {"images": shown(moved["images"], window=self.window)})


def training_batches(
    ahead: Iterable[int],
    *,
    images: np.ndarray | Scans,
    rows: np.ndarray,
    targets: np.ndarray | dict[str, np.ndarray],
    batch: int,
    seed: int,
    world: World,
) -> Iterator[Batch]:
    """This rank's share of the batch of each step in `ahead`.

    One endless stream of images, each epoch in an order of its own, is cut into batches that are always full; so a
    step's images follow from its number alone, and all ranks together see the same ones as one rank would.
    """

    def read(step: int) -> Batch:
        epochs, places = stream(step * batch + np.arange(world.rank, batch, world.size), cases=len(rows), seed=seed)
        return Batch(
            images=load(images, rows[places], device=world.device),
            targets=mapped(lambda held: _tensor(held[places], device=world.device), targets),
            epochs=_tensor(epochs, device=world.device),
            cases=_tensor(rows[places], device=world.device),
            window=window_of(images),
        )

    return read_ahead(read, ahead)


def scoring_batches(rows: np.ndarray, *, images: np.ndarray | Scans, batch: int, world: World) -> Iterator[Tensor]:
    """The images of `rows` on the device, uint8 or, of scans, float32, in order and at most `batch` at a time."""
    pieces = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    for piece in read_ahead(partial(load, images, device=world.device), pieces):
        yield shown(piece.to(world.device, non_blocking=True), window=window_of(images))


def window_of(images: np.ndarray | Scans) -> Window | None:
    """The window that images are to be seen through; none for those that are shades already."""
    return images.window if isinstance(images, Scans) else None


def stream(positions: np.ndarray, *, cases: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(epoch, which of the cases) at each position of the endless stream."""
    epochs, within = np.divmod(positions, cases)
    places = np.empty_like(within)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        places[here] = _order(seed, int(epoch), cases)[within[here]]
    return epochs, places


# a batch may span two epochs
@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, cases: int) -> np.ndarray:
    """The order of the cases in an epoch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch)))).permutation(cases)


def load(images: np.ndarray | Scans, rows: np.ndarray, *, device: torch.device) -> Tensor:
    """The images of `rows`, read in the order in which they lie on the disk and given in the order asked for."""
    order = np.argsort(rows, kind="stable")
    loaded = np.empty((len(rows), *images.shape[1:]), dtype=images.dtype)
    loaded[order] = images[rows[order]]
    return _tensor(loaded, device=device)


def _tensor(array: np.ndarray, *, device: torch.device) -> Tensor:
    """An array as a tensor on the CPU, pinned if a GPU shall fetch it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def read_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`make` of each item in order; the next is made in the background while one is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        coming = None
        for item in items:
            ready, coming = coming, reader.submit(make, item)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
