"""ResNets by SwAV as facebookresearch/swav publishes them, like swav_800ep_pretrain.pth.tar: keys under `module.`."""

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _resnets

CARD = Card(
    title="SwAV (arXiv 2006.09882), trained on ImageNet-1k without labels",
    licence="CC BY-NC 4.0",
    where="https://github.com/facebookresearch/swav",
)
RULES = ((r"^module\.", ""),)
DROPPED = _resnets.CLUSTERS | _resnets.CLASSIFIER
SIGNS = (r"^module\.conv1\.", r"^module\.prototypes\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD
