"""Vision transformers and ConvNeXts by DINOv3 with Hugging Face's names, such as dinov3-vitb16-pretrain-lvd1689m.

If the biases of query and value are not zero, use a backbone whose name ends in `_qkvb`.
"""

from collections.abc import Collection

from torch import Tensor

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _transformers, dinov3

CARD = Card(
    title="DINOv3 (arXiv 2508.10104), distilled from ViT-7B/16 on LVD-1689M",
    licence="DINOv3 License: to be accepted by name, and to go along with what is made of the weights",
    where="https://huggingface.co/facebook/dinov3-vitb16-pretrain-lvd1689m",
)
RULES = (
    (r"^model\.(layer|stages)\.", r"\1."),  # newer releases of transformers keep the layers one deeper
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.patch_embeddings\.", "patch_embed.proj."),
    (r"^layer\.", "blocks."),
    (r"\.attention\.([qv])_proj\.bias$", r".attn.\1_bias"),
    (r"\.attention\.([qkv])_proj\.weight$", r".attn.\1_proj.weight"),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".gamma_\1"),
    (r"\.mlp\.gate_proj\.", ".mlp.fc1_g."),  # the gated layers of the plus and 7B models
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"^stages\.0\.downsample_layers\.", "stem."),
    (r"^(stages\.\d+)\.downsample_layers\.", r"\1.downsample."),
    (r"^(stages\.\d+)\.layers\.", r"\1.blocks."),
    (r"\.depthwise_conv\.", ".conv_dw."),
    (r"\.layer_norm\.", ".norm."),
    (r"\.pointwise_conv([12])\.", r".mlp.fc\1."),
    (r"^layer_norm\.", "head.norm."),
)
DROPPED = {r"^mask_token$": dinov3.DROPPED[r"^mask_token$"]}
ARRANGED = {
    r"\.attn\.[qkv]_proj\.weight$": _transformers.JOINED,
    r"\.attn\.[qv]_bias$": "zero, and the network has no place for it",
    r"\.mlp\.fc1\.": "mlp.fc1_x, as there is a gate beside it",
}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet; the weights for satellite images (SAT-493M) have others: set mean and std."""
    return IMAGENET_MEAN, IMAGENET_STD


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with query, key and value joined, zero biases left out, and gated layers named as in timm."""
    joined = _transformers.join(tensors, parts=("q_proj", "k_proj", "v_proj"), whole="qkv")
    # `up_proj` is timm's fc1 in plain layers but fc1_x in gated ones, so it is renamed where there is a gate
    gated = {key.replace(".mlp.fc1_g.", ".mlp.fc1.") for key in joined if ".mlp.fc1_g." in key}
    renamed = {key.replace(".fc1.", ".fc1_x.") if key in gated else key: tensor for key, tensor in joined.items()}
    return _transformers.leave_zero_biases(renamed, expected)
