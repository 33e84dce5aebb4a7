"""Mini-batches: which images each training step uses, read from disk while the previous step is computed."""

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
from headwater.training.ddp import World
from headwater.training.views.pictures import shown

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's part of a mini-batch, in pinned memory if it goes to a GPU."""

    images: Tensor  # uint8 (batch, channels, h, w); CT scans are int16, and float32 in [0, 1] after `to`
    targets: Tensor | dict[str, Tensor]  # float32 (batch, labels), or of several targets by name
    epochs: Tensor  # int64 (batch,): epoch of each image, from 0
    cases: Tensor  # int64 (batch,): row of each image in the archive
    window: Window | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, with CT scans windowed."""
        tensors = {name: value for name, value in vars(self).items() if name != "window"}
        # from pinned memory, so the copy runs while the CPU goes on
        moved = {
            name: mapped(lambda tensor: tensor.to(device, non_blocking=True), value) for name, value in tensors.items()
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
    """This rank's part of the mini-batch of each step in `ahead`.

    The shuffled epochs form one endless stream, which is cut into batches that are always full. So a step's images
    follow from its number alone, and all ranks together see the images that a single rank would see.
    """

    def read(step: int) -> Batch:
        # ranks take turns, so that the union of their parts does not depend on how many there are
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
    """The images of `rows` in order on the device, at most `batch` at a time: uint8, or float32 for CT scans."""
    pieces = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    for piece in read_ahead(partial(load, images, device=world.device), pieces):
        yield shown(piece.to(world.device, non_blocking=True), window=window_of(images))


def window_of(images: np.ndarray | Scans) -> Window | None:
    """The CT window of scans; None for images that need none."""
    return images.window if isinstance(images, Scans) else None


def stream(positions: np.ndarray, *, cases: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(epoch, index of the case) at each position of the endless stream."""
    epochs, within = np.divmod(positions, cases)
    places = np.empty_like(within)
    for epoch in np.unique(epochs):
        in_epoch = epochs == epoch
        places[in_epoch] = _order(seed, int(epoch), cases)[within[in_epoch]]
    return epochs, places


# two, because a batch may span two epochs; a permutation of a large corpus is too slow to repeat at each step
@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, cases: int) -> np.ndarray:
    """The shuffled order of the cases in an epoch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, epoch)))).permutation(cases)


def load(images: np.ndarray | Scans, rows: np.ndarray, *, device: torch.device) -> Tensor:
    """The images of `rows`, in that order."""
    # rows are read in the order in which they lie on disk, because scattered reads are slow
    order = np.argsort(rows, kind="stable")
    loaded = np.empty((len(rows), *images.shape[1:]), dtype=images.dtype)
    loaded[order] = images[rows[order]]
    return _tensor(loaded, device=device)


def _tensor(array: np.ndarray, *, device: torch.device) -> Tensor:
    """An array as a tensor on the CPU, in pinned memory if it goes to a GPU."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def read_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """`make(item)` for each item in order; a thread makes the next while the caller uses the current one."""
    # a thread suffices, because numpy copies rows without holding Python's lock
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
        pending = None
        for item in items:
            ready, pending = pending, reader.submit(make, item)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()
