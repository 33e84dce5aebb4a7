"""The SegResNet encoder of CT-FM, from its training (`backbone.`) or from Hugging Face (bare), and networks with it.

Take `monai/segresnet_ds`.
"""

from headwater.models.weights import Card

CARD = Card(
    title="CT-FM (arXiv 2501.09001): a SegResNet encoder pre-trained by contrast within scans on 148,000 CT volumes",
    licence="MIT",
    where="https://huggingface.co/project-lighter/ct_fm_feature_extractor",
)
DIMENSIONS = (3,)
ORIENTATION = "SPL"
SPACING = (1.0, 1.0, 3.0)
INTENSITY = ("window", -1024, 2048)
CHANNELS = 1
ENCODER_ONLY = True
RULES = (
    (r"^(model\.)?(backbone\.)?", ""),
    (r"^(encoder\.)?(conv_init|layers)\.", r"encoder.\2."),
)
DROPPED = {
    r"^up_layers\.\d+\.head\.": "layers that named structures; every dataset gets a fresh head",
    r"^(projection_head|head)\.": "head of the pre-training; every dataset gets a fresh one",
}
SIGNS = (r"conv_init\.", r"layers\.\d+\.blocks\.\d+\.conv1\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect a window from -1024 to 2048 HU scaled to [0, 1]."""
    return (0.0,), (1.0,)
