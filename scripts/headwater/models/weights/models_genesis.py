"""The 3D U-Net of Models Genesis as its authors publish it, Genesis_Chest_CT.pt: keys under `module.`."""

from headwater.models.weights import Card

CARD = Card(
    title="Models Genesis (arXiv 1908.06912): a 3D U-Net that restored distorted chest CT",
    licence="of Arizona State University: not for commercial use",
    where="https://huggingface.co/MrGiovanni/ModelsGenesis",
    trained_on=("lidc",),
)
DIMENSIONS = (3,)
ORIENTATION = "LPS"
INTENSITY = ("window", -1000, 1000)
PATCH = (64, 64, 32)
CHANNELS = 1
RULES = ((r"^module\.", ""),)
DROPPED = {r"^out_tr\.": "layer that restored the volume; every dataset gets a fresh head"}
SIGNS = (r"^module\.down_tr64\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect a window from -1000 to 1000 HU scaled to [0, 1]."""
    return (0.0,), (1.0,)
