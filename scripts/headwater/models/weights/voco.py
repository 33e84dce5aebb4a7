"""Swin UNETRs of the second version by VoCo, such as VoCo_B_SSL_head.pt or VoComni_B.pt.

Those without labels (VoCo) hold no whole decoder; those with pseudo-labels (VoComni) do. Take `monai/swin_unetr_v2`
for B, `monai/swin_unetr_v2_96` for L and `monai/swin_unetr_v2_192` for H. The publisher's own loader leaves out what
does not fit without a word.
"""

from headwater.models.weights import Card

CARD = Card(
    title="VoCo and VoComni (CVPR 2024, arXiv 2410.09890): Swin UNETRs pre-trained on up to 160,000 CT volumes",
    licence="Apache-2.0",
    where="https://huggingface.co/Luffy503/VoCo",
)
DIMENSIONS = (3,)
ORIENTATION = "RAS"
SPACING = (1.5, 1.5, 1.5)
INTENSITY = ("window", -175, 250)
PATCH = (96, 96, 96)
CHANNELS = 1
ENCODER_ONLY = True
RULES = (
    (r"^(module\.)?(backbone\.)?", ""),
    (r"^swin_vit\.", "swinViT."),
)
DROPPED = {
    r"^out\.": "layer that named organs; every dataset gets a fresh head",
    r"^(student|teacher|proj_head|projector|predictor|fc)\.": "head of the pre-training; datasets get a fresh one",
}
SIGNS = (r"swinViT\.layers1c\.|swin_vit\.layers1c\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect a window from -175 to 250 HU scaled to [0, 1]."""
    return (0.0,), (1.0,)
