"""Vision transformers and ConvNeXts by DINOv3 in Meta's own files, such as dinov3_vitb16_pretrain_lvd1689m.pth.

If the biases of query and value are not zero, use a backbone whose name ends in `_qkvb`.
"""

from collections.abc import Collection

from torch import Tensor

from headwater.core.errors import UserError
from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _convnexts, _transformers

CARD = Card(
    title="DINOv3 (arXiv 2508.10104), distilled from ViT-7B/16 on LVD-1689M",
    licence="DINOv3 License: to be accepted by name, and to go along with what is made of the weights",
    where="https://github.com/facebookresearch/dinov3",
)
RULES = (
    (r"^storage_tokens$", "reg_token"),
    (r"^(blocks\.\d+)\.ls([12])\.gamma$", r"\1.gamma_\2"),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),  # the gated layers of the plus and 7B models
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    *_convnexts.RULES,
    (r"^norms\.3\.", "head.norm."),
)
DROPPED = {
    r"^mask_token$": "stands for masked patches in pre-training; no patch is masked here",
    r"^rope_embed\.periods$": "periods of the rotary positions; computed and not learned, here without rounding",
    r"^local_cls_norm\.": "norm of the small views in pre-training; not used after it",
    r"^norm\.": "the last norm of a ConvNeXt under its second name; norms.3 is the same",
    r"^head\.": "head of the pre-training; every dataset gets a fresh one",
}
ARRANGED = {
    r"\.attn\.qkv\.bias(_mask)?$": "masked and cut into attn.q_bias and attn.v_bias, or zero where there are none",
}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet; the weights for satellite images (SAT-493M) have others: set mean and std."""
    return IMAGENET_MEAN, IMAGENET_STD


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with the joint bias of query, key and value masked, and split into those that timm's network has."""
    split = dict(tensors)
    for key in [key for key in tensors if key.endswith(".attn.qkv.bias") and key not in expected]:
        attention = key.removesuffix("qkv.bias")
        if f"{attention}qkv.weight" not in expected:
            continue
        bias = split.pop(key)
        if f"{key}_mask" in split:
            bias = bias * split.pop(f"{key}_mask").to(bias.dtype)
        query_bias, key_bias, value_bias = bias.chunk(3)
        if key_bias.any():
            raise UserError(
                f"the key part of the checkpoint's {key} is not zero, but no backbone has such a bias",
                remedy="check that the file is one of DINOv3",
            )
        split |= {f"{attention}q_bias": query_bias, f"{attention}v_bias": value_bias}
    return _transformers.leave_zero_biases(split, expected)
