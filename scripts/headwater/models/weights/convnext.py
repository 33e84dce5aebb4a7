"""ConvNeXts as facebookresearch/ConvNeXt publishes them, such as convnext_base_22k_224.pth."""

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _convnexts

CARD = Card(
    title="ConvNeXt (arXiv 2201.03545), trained on ImageNet-1k or ImageNet-22k with labels",
    licence="MIT (weights trained on ImageNet, whose images are for research)",
    where="https://github.com/facebookresearch/ConvNeXt",
)
RULES = (*_convnexts.RULES, (r"^norm\.", "head.norm."))
DROPPED = {r"^head\.(weight|bias)$": "classifier of the old labels; datasets get a fresh head"}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD
