"""Vision transformers: changes beyond renaming that the layouts of several publishers need."""

import math
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.core.errors import UserError

FOLDED = "layer scale; multiplied into the layer before it, as the network has none: the outputs are the same"
JOINED = "joined into attn.qkv"

SCALED = {"ls1": "attn.proj", "ls2": "mlp.fc2"}
"""The layer whose output each layer scale multiplies."""


def join(tensors: dict[str, Tensor], *, parts: Sequence[str], whole: str) -> dict[str, Tensor]:
    """The tensors with `blocks.0.attn.PART.weight` of all parts concatenated as `blocks.0.attn.WHOLE.weight`, in order.

    If a part is missing or has another shape, all are left unchanged.
    """
    # timm computes query, key and value by one linear layer, whose rows are theirs one after another
    joined = dict(tensors)
    for key in [key for key in tensors if f".{parts[0]}." in key]:
        names = [key.replace(f".{parts[0]}.", f".{part}.") for part in parts]
        if all(name in joined and joined[name].shape == joined[key].shape for name in names):
            rows = torch.cat([joined.pop(name) for name in names])
            joined[key.replace(f".{parts[0]}.", f".{whole}.")] = rows
    return joined


def fold_layer_scale(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with layer scales multiplied into the preceding layers, if the network has no layer scale.

    gamma * (W x + b) = (gamma W) x + gamma b, so the outputs are the same.
    """
    folded = dict(tensors)
    for key in [key for key in tensors if key.endswith((".ls1.gamma", ".ls2.gamma")) and key not in expected]:
        block, scale, _ = key.rsplit(".", 2)
        weight, bias = f"{block}.{SCALED[scale]}.weight", f"{block}.{SCALED[scale]}.bias"
        if {weight, bias} <= folded.keys() and weight in expected:
            gamma = folded.pop(key)
            folded |= {weight: gamma[:, None] * folded[weight], bias: gamma * folded[bias]}
    return folded


def take_position_along(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with the class token's position embedding added to the class token, for networks with registers.

    timm's networks with registers have no position embedding for the class token; the sum is the same. Refuses
    registers if the network has none.
    """
    if "reg_token" not in tensors or not {"cls_token", "pos_embed"} <= tensors.keys() & expected:
        return tensors
    if "reg_token" not in expected:
        raise UserError(
            "the checkpoint has register tokens, but the backbone has none",
            remedy="use a backbone with registers, such as timm/vit_base_patch14_reg4_dinov2",
        )
    position = tensors["pos_embed"]
    return {**tensors, "cls_token": tensors["cls_token"] + position[:, :1], "pos_embed": position[:, 1:]}


def interpolate_positions(tensor: Tensor, shape: Sequence[int], *, offset: float = 0.0) -> Tensor | None:
    """Position embeddings (1, 1 + patches, channels) interpolated to another square grid (bicubic, no antialiasing).

    The first is the class token's and unchanged. `offset` is added to the new side before the scale is computed, as in
    DINOv2's code, so that rounding never loses a patch. None if the tensor is no such embedding.
    """
    old, new = (math.isqrt(max(0, tokens - 1)) for tokens in (tensor.shape[1], shape[1]))
    if not old or not new or (old**2 + 1, new**2 + 1) != (tensor.shape[1], shape[1]) or tensor.shape[2] != shape[2]:
        return None
    grid = tensor[:, 1:].float().transpose(1, 2).unflatten(2, (old, old))
    # torch samples at slightly different positions when given a scale factor instead of a size
    side = {"scale_factor": (new + offset) / old} if offset else {"size": (new, new)}
    grid = F.interpolate(grid, mode="bicubic", **side)
    return torch.cat([tensor[:, :1], grid.flatten(2).transpose(1, 2).to(tensor.dtype)], dim=1)


def leave_zero_biases(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors without query and value biases that the network does not have; refuses biases other than zero."""
    remaining = dict(tensors)
    for key in [key for key in tensors if key.endswith((".attn.q_bias", ".attn.v_bias")) and key not in expected]:
        block = key.rsplit(".", 1)[0]
        if f"{block}.qkv.weight" not in expected or f"{block}.qkv.bias" in expected:
            continue
        if remaining.pop(key).any():
            raise UserError(
                f"the checkpoint's {key} is not zero, but the backbone has no such bias",
                remedy="use the backbone whose name ends in _qkvb",
            )
    return remaining
