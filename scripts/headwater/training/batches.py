"""Mini-batches: which images each training step uses, read from disk while the previous step is computed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from headwater.models.task_set import mapped
from headwater.training import reading
from headwater.training.ddp import World
from headwater.training.reading.ahead import depth_of, read_ahead, tensor
from headwater.training.reading.order import Reading, ShardsAhead, on_disk, stream
from headwater.training.views import draws

if TYPE_CHECKING:
    from headwater.training.loop import Learner


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One rank's part of a mini-batch, in pinned memory if it goes to a GPU."""

    images: Any  # as their kind is read: see `training.reading`; after `to` as its views take them
    targets: Any  # float32 (batch, labels), label maps of volumes, or of several targets by name
    epochs: Tensor  # int64 (batch,): epoch of each image, from 0
    cases: Tensor  # int64 (batch,): row of each image in the archive

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, with CT scans windowed."""
        # from pinned memory, so the copy runs while the CPU goes on
        return Batch(
            **{name: mapped(lambda held: held.to(device, non_blocking=True), part) for name, part in vars(self).items()}
        )

    def parts(self, count: int) -> Iterator[tuple["Batch", bool]]:
        """So many equal parts of it, one after the other, each with whether it is the last."""
        size = len(self.cases) // count
        for number in range(count):
            yield self.cut(slice(number * size, (number + 1) * size)), number == count - 1

    def cut(self, some: slice) -> "Batch":
        """Some of its cases."""
        return Batch(**{name: mapped(lambda held: held[some], part) for name, part in vars(self).items()})


@torch.no_grad()
def seen(learner: "Learner", part: Batch, *, seed: int) -> tuple[list[Tensor], Any]:
    """The views of the images of a batch or a part of it, and the targets that belong to them."""
    keys = draws.keys(seed=seed, epochs=part.epochs, cases=part.cases)
    return learner.views(part.images, keys), learner.aims(part.targets, keys)


def training_batches(
    ahead: Iterable[int],
    *,
    images: Any,
    rows: np.ndarray,
    targets: Any,
    batch: int,
    seed: int,
    world: World,
    together: int = 1,
    reading_order: Reading = "shuffled",
) -> Iterator[Batch]:
    """This rank's part of the mini-batch of each step in `ahead`; so many images that follow each other stay together.

    The epochs form one endless stream, which is cut into batches that are always full. So a step's images
    follow from its number alone, and all ranks together see the images that a single rank would see.
    """
    kind = reading.of(images)
    # ranks take turns, so that the union of their parts does not depend on how many there are
    own = np.arange(batch).reshape(-1, together)[world.rank :: world.size].ravel()

    numbered, shards = on_disk(rows, reading_order), None

    def drawn(step: int) -> tuple[np.ndarray, np.ndarray]:
        epochs, numbers = stream(step * batch + own, cases=len(rows), seed=seed, reading=reading_order)
        return epochs, numbered[numbers]

    def announce(step: int) -> None:
        nonlocal shards
        if reading_order == "shuffled":
            kind.announce(images, np.unique(rows[drawn(step)[1]]))
            return
        shards = shards or ShardsAhead(step * batch, cases=len(rows), seed=seed)
        for shard in shards.before((step + 1) * batch):
            kind.announce(images, rows[numbered[shard.start : shard.stop]])

    def read(step: int) -> Batch:
        epochs, places = drawn(step)
        chance = draws.keys(seed=seed, epochs=torch.from_numpy(epochs), cases=torch.from_numpy(rows[places]))
        shown, aims = kind.step(images, targets, rows=rows, places=places, keys=chance, device=world.device)
        numbers = {"epochs": epochs, "cases": rows[places]}
        return Batch(
            images=shown,
            targets=aims,
            **{name: tensor(array, device=world.device) for name, array in numbers.items()},
        )

    return read_ahead(read, ahead, announce=announce, depth=depth_of(len(own)))


def of_step(
    step: int, *, rows: np.ndarray, batch: int, seed: int, reading_order: Reading
) -> tuple[np.ndarray, np.ndarray]:
    """(epoch, row) of each image of the mini-batch of a step, counted from 0, over all ranks."""
    epochs, numbers = stream(step * batch + np.arange(batch), cases=len(rows), seed=seed, reading=reading_order)
    return epochs, rows[on_disk(rows, reading_order)[numbers]]
