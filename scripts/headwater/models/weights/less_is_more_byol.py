"""ResNet-50 by BYOL on CT as the sister study of "Less is more" publishes it: keys under `online_network.encoder.`."""

from headwater.models.weights import Card, _resnets

CARD = Card(
    title="BYOL on slices of CT (arXiv 2308.06534)",
    licence="Apache-2.0 (the code; nothing is said of the weights)",
    where="https://github.com/Wolfda95/SSL-MedicalImagining-CL-MAE",
    trained_on=("lidc",),
)
RULES = ((r"^online_network\.encoder\.", ""),)
DROPPED = {
    **_resnets.CLASSIFIER,
    r"^online_network\.(projector|predictor)\.": "heads of the method; features are taken before them",
    r"^target_network\.": "the slow copy that the encoder learned from; the encoder itself is taken",
}
SIGNS = (r"^online_network\.encoder\.conv1\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of CT slices in the study's pre-training."""
    return _resnets.CT_MEAN, _resnets.CT_STD
