"""The vision transformer of 3DINO as its authors publish it: DINOv2's spelling, blocks in four chunks.

Take `vit3d/large_patch16_dinov2`, which has its layer scale.
"""

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.models.weights import Card, dinov2

CARD = Card(
    title="3DINO (arXiv 2501.11755): a 3D ViT-L/16 pre-trained on 100,000 volumes of MR, CT and PET",
    licence="CC BY-NC-ND 4.0: not for commercial use, and what is made of the weights must not be passed on",
    where="https://huggingface.co/AICONSlab/3DINO-ViT",
)
DIMENSIONS = (3,)
ORIENTATION = "RAS"
INTENSITY = ("percentiles", 0.05, 99.95)
PATCH = (96, 96, 96)
CHANNELS = 1
RULES = (
    (r"^(teacher\.)?backbone\.", ""),
    *dinov2.RULES,
)
DROPPED = {
    **dinov2.DROPPED,
    r"^(teacher\.)?(dino_head|ibot_head)\.": "head of the pre-training; every dataset gets a fresh one",
}
ARRANGED = dinov2.ARRANGED
SIGNS = (r"backbone\.blocks\.\d+\.\d+\.", r"backbone\.mask_token")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that map [0, 1] to [-1, 1]."""
    return (0.5,), (0.5,)


def resample(key: str, tensor: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Position embeddings of a cube of tokens interpolated to another cube as in 3DINO's code; None for any other."""
    old, new = (round(max(0, tokens - 1) ** (1 / 3)) for tokens in (tensor.shape[1], shape[1]))
    if key != "pos_embed" or (old**3 + 1, new**3 + 1) != (tensor.shape[1], shape[1]) or tensor.shape[2] != shape[2]:
        return None
    cube = tensor[:, 1:].float().transpose(1, 2).unflatten(2, (old, old, old))
    # torch samples at slightly different positions when given a scale factor; 0.1 is the publisher's guard of rounding
    cube = F.interpolate(cube, scale_factor=((new + 0.1) / old,) * 3, mode="trilinear")
    return torch.cat([tensor[:, :1], cube.flatten(2).transpose(1, 2).to(tensor.dtype)], dim=1)


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with layer scales multiplied into the layers before them, if the network has none."""
    return dinov2.arrange(tensors, expected)
