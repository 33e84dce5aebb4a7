"""Vision transformers by DINOv2 as torch.hub publishes them, such as dinov2_vitb14_pretrain.pth."""

from collections.abc import Collection, Sequence

from torch import Tensor

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _transformers

CARD = Card(
    title="DINOv2 (arXiv 2304.07193), distilled from ViT-g/14 on LVD-142M",
    licence="Apache-2.0",
    where="https://github.com/facebookresearch/dinov2",
)
RULES = (
    (r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."),  # its training keeps blocks in chunks: blocks.0.3., numbered throughout
    (r"^register_tokens$", "reg_token"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),  # the giant's gated layers, as timm names them
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
DROPPED = {
    r"^mask_token$": "stands for masked patches in pre-training; no patch is masked here",
    r"^head\.": "head of the pre-training; every dataset gets a fresh one",
}
ARRANGED = {r"\.ls[12]\.gamma$": _transformers.FOLDED}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD


def resample(key: str, tensor: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Position embeddings of networks without registers, interpolated as in torch.hub's code; None with registers."""
    # torch.hub's code adds 0.1 to the side only without registers; timm's interpolation equals the other
    return _transformers.interpolate_positions(tensor, shape, offset=0.1) if key == "pos_embed" else None


def arrange(tensors: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """The tensors with position embedding and layer scales where timm's network has them."""
    return _transformers.fold_layer_scale(_transformers.take_position_along(tensors, expected), expected)
