"""ResNet-50 by SwAV on CT as the study "Less is more" publishes it, such as its LIDC_Hash6: keys under `model.`."""

from headwater.models.weights import Card, _resnets

CARD = Card(
    title="SwAV on slices of CT (arXiv 2410.14524)",
    licence="Apache-2.0 (the code; nothing is said of the weights)",
    where="https://github.com/Wolfda95/Less_is_More",
)
RULES = ((r"^model\.", ""),)
DROPPED = _resnets.CLUSTERS | _resnets.CLASSIFIER
SIGNS = (r"^model\.conv1\.", r"^model\.prototypes\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of CT slices in the study's pre-training."""
    return _resnets.CT_MEAN, _resnets.CT_STD
