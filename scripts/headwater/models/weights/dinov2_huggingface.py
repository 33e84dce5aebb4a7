"""Vision transformers by DINOv2 with Hugging Face's names, such as facebook/dinov2-base."""

from collections.abc import Collection, Sequence

from torch import Tensor

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _transformers, dinov2

CARD = Card(
    title="DINOv2 (arXiv 2304.07193), distilled from ViT-g/14 on LVD-142M",
    licence="Apache-2.0",
    where="https://huggingface.co/facebook/dinov2-base",
)
RULES = (
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),  # the giant's gated layers
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
DROPPED = {r"^mask_token$": dinov2.DROPPED[r"^mask_token$"]}
ARRANGED = {**dinov2.ARRANGED, r"\.attn\.(query|key|value)\.": _transformers.JOINED}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD


def resample(key: str, tensor: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Position embeddings of networks without registers, interpolated as by transformers; None with registers."""
    return _transformers.interpolate_positions(tensor, shape) if key == "pos_embed" else None


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with query, key and value joined, otherwise arranged like those of torch.hub."""
    joined = _transformers.join(tensors, parts=("query", "key", "value"), whole="qkv")
    return dinov2.arrange(joined, expected)
