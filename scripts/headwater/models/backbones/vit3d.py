"""Plain vision transformers of volumes, built of timm's blocks: cubes of voxels are their tokens.

Their parameters have the names of timm's 2D ones, of which they differ in patch and position embeddings alone.
"""

import math
import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.models.backbones import _volumes
from headwater.models.recomputed import blocks_of
from headwater.models.timm_library import timm

DIMENSIONS = 3
COLOURS = 1
GROUPED = True
ATTENTIVE = ("",)
INITIALISATIONS = {"": "truncated normal (SD 0.02)"}
CHECKPOINTED = ("vit3d",)
MODELS = (
    "test_patch8",
    "test_patch8_dinov2",
    "tiny_patch8",
    "tiny_patch16",
    "small_patch8",
    "small_patch16",
    "base_patch8",
    "base_patch16",
    "large_patch16",
    "large_patch16_dinov2",
)
"""Width and depth, side of a cube in voxels, and for DINOv2's its layer scale."""

FORMS = {
    "test": (48, 2, 2),
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}
"""(width, blocks, heads) of ViTs (Dosovitskiy 2020, arXiv 2010.11929, table 1; tiny and small: DeiT)."""


class _Cubes(nn.Module):
    """Tokens (batch, cubes, width) of the cubes of a volume (batch, 1, x, y, z), z the fastest."""

    def __init__(self, *, img_size: Sequence[int], patch_size: int, in_chans: int, embed_dim: int, **_: object) -> None:
        super().__init__()
        self.patch_size = (patch_size,) * 3
        self.grid_size = tuple(side // patch_size for side in img_size)
        self.num_patches = math.prod(self.grid_size)
        self.proj = nn.Conv3d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size)

    def forward(self, volumes: Tensor) -> Tensor:
        return self.proj(volumes).flatten(2).transpose(1, 2)


class _VolumeTransformer(timm.models.VisionTransformer):
    """A vision transformer of volumes with a class token, whose last state is the features."""

    def __init__(self, name: str, *, sides: Sequence[int]) -> None:
        form, patch, scaled = re.fullmatch(r"(\w+)_patch(\d+)(_dinov2)?", name).groups()
        width, depth, heads = FORMS[form]
        super().__init__(
            img_size=tuple(sides),
            patch_size=int(patch),
            in_chans=1,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            init_values=1e-5 if scaled else None,
            embed_layer=_Cubes,
        )
        self.multiple = int(patch)
        self.pyramid = ((width, int(patch)),)

    def forward(self, volumes: Tensor) -> Tensor:
        """Features (batch, width): the class token."""
        return self.forward_features(volumes)[:, 0]

    def forward_features(self, volumes: Tensor) -> Tensor:
        """Normalised tokens (batch, 1 + cubes, width), the class token first."""
        cubes = self.patch_embed(volumes)
        tokens = torch.cat([self.cls_token.expand(len(cubes), -1, -1), cubes], dim=1)
        return self.norm(blocks_of(self, tokens + self._positions(self._grid(volumes))))

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """The cubes' normalised tokens where the cubes are: (batch, width, x / patch, y / patch, z / patch)."""
        return [self.forward_features(volumes)[:, 1:].transpose(1, 2).unflatten(2, self._grid(volumes))]

    def _grid(self, volumes: Tensor) -> tuple[int, ...]:
        return tuple(side // self.multiple for side in volumes.shape[2:])

    def _positions(self, grid: tuple[int, ...]) -> Tensor:
        """Position embeddings for a volume of this many cubes along each axis."""
        if grid == self.patch_embed.grid_size:
            return self.pos_embed
        return stretched(self.pos_embed, self.patch_embed.grid_size, grid)


def stretched(positions: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Position embeddings (1, 1 + cubes, width) brought linearly from one grid to another; the first stays.

    Torch's own interpolation of volumes has a gradient that differs from run to run on an accelerator.
    """
    grid = positions[0, 1:].unflatten(0, tuple(old))
    for axis, (before, after) in enumerate(zip(old, new, strict=True)):
        identity = torch.eye(before, dtype=grid.dtype, device=grid.device)
        weights = F.interpolate(identity[None], size=after, mode="linear")[0]
        grid = torch.tensordot(grid, weights, dims=([axis], [0])).movedim(-1, axis)
    return torch.cat([positions[:, :1], grid.flatten(0, 2)[None]], dim=1)


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """A transformer with random weights and positions for volumes of `size`, and its patch."""
    patch = int(re.search(r"_patch(\d+)", model).group(1))
    _volumes.check(f"vit3d/{model}", size=size, multiple=patch)
    network = _VolumeTransformer(model, sides=size if isinstance(size, tuple) else (size,) * 3)
    return network, patch


def resample(key: str, tensor: Tensor, network: nn.Module) -> Tensor | None:
    """A position embedding (1, 1 + cubes, width) of a cubic volume brought to the network's grid, linearly."""
    own = network.state_dict().get(key)
    if key != "pos_embed" or own is None or tensor.ndim != 3 or tensor.shape[::2] != own.shape[::2]:
        return None
    side = round((tensor.shape[1] - 1) ** (1 / 3))
    if side**3 + 1 != tensor.shape[1]:
        return None
    return stretched(tensor, (side,) * 3, network.patch_embed.grid_size)
