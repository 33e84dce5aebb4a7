"""ResNet-50 by MoCo v2 on CT as the sister study of "Less is more" publishes it: keys under `encoder_q.`."""

from headwater.models.weights import Card, _resnets

CARD = Card(
    title="MoCo v2 on slices of CT (arXiv 2308.06534)",
    licence="Apache-2.0 (the code; nothing is said of the weights)",
    where="https://github.com/Wolfda95/SSL-MedicalImagining-CL-MAE",
    trained_on=("lidc",),
)
RULES = ((r"^encoder_q\.", ""),)
DROPPED = _resnets.CONTRASTS
SIGNS = (r"^encoder_q\.conv1\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of CT slices in the study's pre-training."""
    return _resnets.CT_MEAN, _resnets.CT_STD
