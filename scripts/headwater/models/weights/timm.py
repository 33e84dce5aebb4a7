"""Checkpoints with timm's own names, from a file or from timm's hub."""

from torch import Tensor

from headwater.core.errors import UserError
from headwater.models.timm_library import timm
from headwater.models.weights import Card

CARD = Card(
    title="timm checkpoints",
    licence="differs from model to model; see the model's page",
    where="https://huggingface.co/timm",
)
RULES: tuple[tuple[str, str], ...] = ()
DROPPED = {
    r"^(fc|head|head_dist|classifier|last_linear|logits)\.": "classifier of the old labels; datasets get a fresh head",
    r"^pre_logits\.": "representation layer of the old classifier; timm itself leaves it out",
}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) in timm's configuration of the model and tag."""
    configuration = timm.get_pretrained_cfg(backbone.partition("/")[2])
    if configuration is None:
        raise UserError(f"timm has no model {backbone}", remedy="choose another layout")
    return tuple(configuration.mean), tuple(configuration.std)


def download(backbone: str) -> dict[str, Tensor]:
    """The weights from timm's hub, at the image size that they were trained on."""
    model = backbone.partition("/")[2]
    try:
        return timm.create_model(model, pretrained=True, num_classes=0).state_dict()
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"timm could not load weights for {model}: {error}",
            remedy="check the name and the connection, or download the file manually and set path",
        ) from None
