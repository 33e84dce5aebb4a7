"""ResNets by MoCo as facebookresearch/moco publishes them, moco_v2_800ep_pretrain.pth.tar: `module.encoder_q.`."""

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _resnets

CARD = Card(
    title="MoCo and MoCo v2 (arXiv 1911.05722, 2003.04297), trained on ImageNet-1k without labels",
    licence="CC BY-NC 4.0",
    where="https://github.com/facebookresearch/moco",
)
RULES = ((r"^module\.encoder_q\.", ""),)
DROPPED = _resnets.CONTRASTS
SIGNS = (r"^module\.encoder_q\.conv1\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD
