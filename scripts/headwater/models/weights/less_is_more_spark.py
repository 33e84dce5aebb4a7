"""ResNet-50 by SparK on CT as the sister study of "Less is more" publishes it: keys under `model.`."""

from headwater.models.weights import IMAGENET_MEAN, IMAGENET_STD, Card, _resnets

CARD = Card(
    title="SparK on slices of CT (arXiv 2308.06534)",
    licence="Apache-2.0 (the code; nothing is said of the weights)",
    where="https://github.com/Wolfda95/SSL-MedicalImagining-CL-MAE",
    trained_on=("lidc",),
)
RULES = ((r"^model\.", ""),)
DROPPED = {
    **_resnets.CLASSIFIER,
    r"dense_decoder\.|densify_|mask_token": "decoder that painted masked places; features are taken before it",
}
SIGNS = (r"^model\.conv1\.", r"dense_decoder\.|densify_|mask_token")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of ImageNet."""
    return IMAGENET_MEAN, IMAGENET_STD
