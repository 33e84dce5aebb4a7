"""ResNet checkpoints with torchvision's names, which most published self-supervised ResNets use."""

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card

CARD = Card(
    title="torchvision ResNets",
    licence="BSD-3-Clause (weights trained on ImageNet, whose images are for research)",
    where="https://pytorch.org/vision/stable/models.html",
)
RULES: tuple[tuple[str, str], ...] = ()  # timm took torchvision's names for ResNets
DROPPED = {r"^fc\.": "classifier of the old labels; datasets get a fresh head"}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD
