"""3D networks for CT as SuPreM publishes them, such as supervised_suprem_unet_2100.pth: for volumes, not for slices.

Its U-Net and Swin UNETR have the prefix `module.backbone.`, beside a head that is conditioned on text embeddings of
organs; its SegResNet has the prefix `module.` and a plain head (as the publisher's target_applications read them).
"""

from headwater.models.weights import Card

CARD = Card(
    title="SuPreM (ICLR 2024): U-Net, SegResNet and Swin UNETR, trained on CT volumes with organs outlined",
    licence="differs from file to file; see its page",
    where="https://huggingface.co/MrGiovanni/SuPreM",
    trained_on=("abdomenatlas",),
)
DIMENSIONS = (3,)
ORIENTATION = "RAS"
SPACING = (1.5, 1.5, 1.5)
INTENSITY = ("window", -175, 250)
PATCH = (96, 96, 96)
CHANNELS = 1
RULES = ((r"^module\.(backbone\.)?", ""),)
HEAD = "head that outlined organs; every dataset gets a fresh one"
DROPPED = {
    r"^(organ_embedding|precls_conv|GAP|controller|text_to_vision)(\.|$)": HEAD,
    r"^(conv_final\.2|out|out_tr)\.": HEAD,
}
SIGNS = (r"^module\.(backbone\.)?(down_tr64|swinViT|convInit)\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect a window from -175 to 250 HU scaled to [0, 1]."""
    return (0.0,), (1.0,)
