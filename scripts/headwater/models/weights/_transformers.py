"""Vision transformers: what the spellings of several publishers need beyond new names."""

import math
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import UserError

FOLDED = "layer scale; multiplied into the layer before it, as the network has none: the outputs are the same"
JOINED = "joined into attn.qkv"

SCALED = {"ls1": "attn.proj", "ls2": "mlp.fc2"}
"""The layer that a layer scale multiplies the output of."""


def join(tensors: dict[str, Tensor], *, parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """The tensors with `blocks.0.attn.PART.weight` of all parts as one `blocks.0.attn.WHOLE.weight`, in that order.

    Parts of which one is missing, or of another width, stay as they are.
    """
    joined = dict(tensors)
    for key in [key for key in tensors if f".{parts[0]}." in key]:
        names = [key.replace(f".{parts[0]}.", f".{part}.") for part in parts]
        if all(name in joined and joined[name].shape == joined[key].shape for name in names):
            rows = torch.cat([joined.pop(name) for name in names])
            joined[key.replace(f".{parts[0]}.", f".{whole}.")] = rows
    return joined


def fold_layer_scale(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with layer scales multiplied into the layers before them, where the network has no layer scale."""
    folded = dict(tensors)
    for key in [key for key in tensors if key.endswith((".ls1.gamma", ".ls2.gamma")) and key not in expected]:
        block, scale, _ = key.rsplit(".", 2)
        weight, bias = f"{block}.{SCALED[scale]}.weight", f"{block}.{SCALED[scale]}.bias"
        if {weight, bias} <= folded.keys() and weight in expected:
            gamma = folded.pop(key)
            folded |= {weight: gamma[:, None] * folded[weight], bias: gamma * folded[bias]}
    return folded


def take_position_along(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with the class token's position added to the token itself, where registers keep it off the grid.

    timm's networks with registers embed no position for the class token; the sum is the same.
    Refuses registers that the network has no place for.
    """
    if "reg_token" not in tensors or not {"cls_token", "pos_embed"} <= tensors.keys() & expected:
        return tensors
    if "reg_token" not in expected:
        raise UserError(
            "the checkpoint has register tokens, and the backbone has no place for them",
            remedy="use a backbone with registers, such as timm/vit_base_patch14_reg4_dinov2",
        )
    position = tensors["pos_embed"]
    return {**tensors, "cls_token": tensors["cls_token"] + position[:, :1], "pos_embed": position[:, 1:]}


def interpolate_positions(tensor: Tensor, shape: Sequence[int], *, offset: float = 0.0) -> Tensor | None:
    """Positions (1, 1 + patches, channels) with a class token on another square grid: bicubic, without antialiasing.

    `offset` is added to the new side before the scale is taken. None where these are no such positions.
    """
    old, new = (math.isqrt(max(0, tokens - 1)) for tokens in (tensor.shape[1], shape[1]))
    if not old or not new or (old**2 + 1, new**2 + 1) != (tensor.shape[1], shape[1]) or tensor.shape[2] != shape[2]:
        return None
    grid = tensor[:, 1:].float().transpose(1, 2).unflatten(2, (old, old))
    side = {"scale_factor": (new + offset) / old} if offset else {"size": (new, new)}
    grid = F.interpolate(grid, mode="bicubic", **side)
    return torch.cat([tensor[:, :1], grid.flatten(2).transpose(1, 2).to(tensor.dtype)], dim=1)


def leave_zero_biases(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors without the query and value biases that the network has no place for; refuses any but zeros."""
    left = dict(tensors)
    for key in [key for key in tensors if key.endswith((".attn.q_bias", ".attn.v_bias")) and key not in expected]:
        block = key.rsplit(".", 1)[0]
        if f"{block}.qkv.weight" not in expected or f"{block}.qkv.bias" in expected:
            continue
        if left.pop(key).any():
            raise UserError(
                f"the checkpoint's {key} is not zero, and the backbone has no place for it",
                remedy="use the backbone whose name ends in _qkvb",
            )
    return left
