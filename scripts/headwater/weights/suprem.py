"""3D networks for CT as SuPreM publishes them, such as supervised_suprem_unet_2100.pth: for volumes, not for slices."""

from headwater.weights import Card

CARD = Card(
    title="SuPreM (ICLR 2024): U-Net, SegResNet and Swin UNETR, trained on CT volumes with organs outlined",
    licence="differs from file to file; see its page",
    where="https://huggingface.co/MrGiovanni/SuPreM",
)
DIMENSIONS = 3
"""What its networks look at: volumes. A backbone for slices is refused before anything runs."""
RULES = ((r"^module\.backbone\.", ""),)
DROPPED = {r"^module\.": "heads that outlined organs; every dataset gets a fresh one"}


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that leave grey values as they are: a window from -175 to 250 HU became [0, 1]."""
    return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
