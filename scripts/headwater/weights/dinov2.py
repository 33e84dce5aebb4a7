"""Vision transformers by DINOv2 as torch.hub publishes them, such as dinov2_vitb14_pretrain.pth."""

from collections.abc import Iterable

from torch import Tensor

from headwater.weights import IMAGENET_MEAN, IMAGENET_STD, Card

CARD = Card(
    title="DINOv2 (arXiv 2304.07193), distilled from ViT-g/14 on LVD-142M",
    licence="Apache-2.0",
    where="https://github.com/facebookresearch/dinov2",
)
RULES = (
    (r"^register_tokens$", "reg_token"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),  # the giant's gated layers, as timm names them
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
DROPPED = {
    r"^mask_token$": "stands for masked patches in pre-training; no patch is masked here",
    r"^head\.": "head of the pre-training; every dataset gets a fresh one",
}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD


def arrange(tensors: dict[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """The tensors with the class token's position added to the token itself, where registers keep it off the grid.

    timm's networks with registers embed no position for the class token; the sum is the same.
    """
    if "reg_token" not in tensors or not {"cls_token", "pos_embed"} <= tensors.keys() or "reg_token" not in expected:
        return tensors
    position = tensors["pos_embed"]
    return {**tensors, "cls_token": tensors["cls_token"] + position[:, :1], "pos_embed": position[:, 1:]}
