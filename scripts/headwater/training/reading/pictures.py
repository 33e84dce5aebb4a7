"""Reading pictures and slices: each is shown whole, and the network's output for it is what it says of the case."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from headwater.data.store import Pixels, Scans
from headwater.models.task_network import Outputs
from headwater.models.task_set import mapped
from headwater.study.ct_windows import Window
from headwater.training.reading.ahead import depth_of, read_ahead, tensor
from headwater.training.views.pictures import as_float, shown


class Loaded(NamedTuple):
    """Images as they lie on disk, uint8 or int16 (batch, channels, h, w), and the window of Hounsfield units."""

    values: Tensor
    window: Window | None

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Tensor:
        """The images on a device, CT scans windowed to float32 in [0, 1]."""
        return shown(self.values.to(device, non_blocking=non_blocking), window=self.window)


def step(
    images: np.ndarray | Scans,
    targets: Any,
    *,
    rows: np.ndarray,
    places: np.ndarray,
    keys: Tensor,
    device: torch.device,
) -> tuple[Loaded, Any]:
    """The images of some rows, and their targets."""
    read = mapped(lambda held: tensor(held[places], device=device), targets)
    return load(images, rows[places], device=device), read


def announce(images: np.ndarray | Pixels | Scans, rows: np.ndarray) -> None:
    """Have the disk begin to read the images of ascending `rows`; those of arrays are in memory."""
    if isinstance(images, Pixels | Scans):
        images.announce(rows)


def said(
    network: nn.Module,
    images: np.ndarray | Scans,
    *,
    rows: np.ndarray,
    batch: int,
    device: torch.device,
    asked: object = None,
) -> Iterator[Outputs]:
    """What the network gives for float images (at most `batch`, 3, h, w) in [0, 1]: float32 on the device."""
    pieces = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    ahead = {"announce": partial(announce, images), "depth": depth_of(batch)}
    for piece in read_ahead(partial(load, images, device=device), pieces, **ahead):
        yield mapped(torch.Tensor.float, network(as_float(piece.to(device, non_blocking=True))))


def load(images: np.ndarray | Pixels | Scans, rows: np.ndarray, *, device: torch.device) -> Loaded:
    """The images of `rows`, in that order."""
    kind = torch.from_numpy(np.empty(0, images.dtype)).dtype
    # copied once, to where a GPU takes them from; torch keeps pinned memory for the next batch
    held = torch.empty((len(rows), *images.shape[1:]), dtype=kind, pin_memory=device.type == "cuda")
    if isinstance(images, np.ndarray):
        held.numpy()[...] = images[rows]
    else:
        images.read(rows, into=held.numpy())
    return Loaded(held, images.window if isinstance(images, Scans) else None)
