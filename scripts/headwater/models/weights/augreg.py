"""Vision transformers trained on ImageNet-21k with labels, in the .npz files of google-research/vision_transformer.

Its JAX code uses the tanh approximation of GELU and timm's networks do not, so outputs differ in the fourth digit.
"""

from collections.abc import Collection

from torch import Tensor

from headwater.models.weights import Card, _transformers

CARD = Card(
    title="AugReg (arXiv 2106.10270): ViTs trained on ImageNet-21k with labels",
    licence="Apache-2.0 (weights trained on ImageNet, whose images are for research)",
    where="https://github.com/google-research/vision_transformer",
)
RULES = (
    (r"^embedding/", "patch_embed.proj."),
    (r"^cls$", "cls_token"),
    (r"^Transformer/posembed_input/pos_embedding$", "pos_embed"),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"\.LayerNorm_0/", ".norm1."),
    (r"\.LayerNorm_2/", ".norm2."),
    (r"\.MultiHeadDotProductAttention_1/out/", ".attn.proj."),
    (r"\.MultiHeadDotProductAttention_1/(query|key|value)/", r".attn.\1."),
    (r"\.MlpBlock_3/Dense_0/", ".mlp.fc1."),
    (r"\.MlpBlock_3/Dense_1/", ".mlp.fc2."),
    (r"\.scale$", ".weight"),
)
DROPPED = {
    r"^head/": "classifier of the old labels; datasets get a fresh head",
    r"^pre_logits/": "representation layer of the old classifier; the backbone ends before it",
}
ARRANGED = {
    r"\.attn\.(query|key|value)\.": f"turned to (outputs, inputs) and {_transformers.JOINED}",
    r"\.kernel$": "turned to (outputs, inputs)",
}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that map [0, 1] to [-1, 1]."""
    return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors transposed from JAX's order to torch's, with query, key and value joined."""
    transposed = {key.replace(".kernel", ".weight"): _transposed(key, tensor) for key, tensor in tensors.items()}
    return _transformers.join(transposed, parts=("query", "key", "value"), whole="qkv")


def _transposed(key: str, tensor: Tensor) -> Tensor:
    """A tensor in torch's order: outputs before inputs, without a dimension for attention heads."""
    if not key.endswith(".kernel"):
        return tensor.flatten() if key.endswith(".bias") else tensor
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)  # (height, width, in, out)
    inputs = 2 if ".attn.proj." in key and tensor.ndim == 3 else 1  # (heads, channels, out), else (in, heads, channels)
    return tensor.reshape(tensor.shape[:inputs].numel(), -1).T
