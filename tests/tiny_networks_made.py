"""Tiny networks for volumes, as a library of backbones that is there for a test only."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import headwater.models.backbones
from headwater.core import registry

PLUGIN = '''"""Tiny networks for volumes: two levels of convolutions, with or without a decoder."""

import torch
from torch import Tensor, nn

DIMENSIONS = 3
COLOURS = 1
MODELS = ("net", "unet")
WIDTH = 6


class Net(nn.Module):
    pyramid = ((WIDTH, 1), (2 * WIDTH, 2))
    least = 4

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(1, WIDTH, 3, padding=1, bias=False), nn.BatchNorm3d(WIDTH), nn.GELU())
        self.second = nn.Sequential(nn.Conv3d(WIDTH, 2 * WIDTH, 2, stride=2), nn.GELU())

    def levels(self, volumes: Tensor) -> list[Tensor]:
        fine = self.first(volumes)
        return [fine, self.second(fine)]

    def forward(self, volumes: Tensor) -> Tensor:
        return self.levels(volumes)[-1].mean(dim=(2, 3, 4))


class UNet(Net):
    outlines = ((4, 1),)

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose3d(2 * WIDTH, 4, 2, stride=2)

    def decoded(self, levels: list[Tensor]) -> list[Tensor]:
        return [torch.tanh(self.up(levels[1]))]


def create(model: str, *, size: tuple[int, ...]) -> tuple[nn.Module, int]:
    return {"net": Net, "unet": UNet}[model](), 2
'''


@contextmanager
def there(folder: Path) -> Iterator[None]:
    """While the block runs, the libraries are the real ones and `tiny`."""
    libraries = folder / "backbones"
    real = registry.folder
    shutil.copytree(real("backbones"), libraries, dirs_exist_ok=True)
    (libraries / "tiny.py").write_text(PLUGIN)
    with (
        patch.object(registry, "folder", lambda family: libraries if family == "backbones" else real(family)),
        patch.object(headwater.models.backbones, "__path__", [*headwater.models.backbones.__path__, str(libraries)]),
    ):
        yield
