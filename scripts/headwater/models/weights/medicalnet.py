"""3D ResNets as MedicalNet publishes them, such as resnet_50_23dataset.pth: keys under `module.`.

Those of 18 and 34 layers have shortcuts without parameters: take `monai/resnet18_a` and `monai/resnet34_a`.
"""

from headwater.models.weights import Card

CARD = Card(
    title="MedicalNet (Med3D, arXiv 1904.00625): 3D ResNets trained to outline organs and tumours on 8 or 23 data sets",
    licence="MIT",
    where="https://huggingface.co/TencentMedicalNet",
)
DIMENSIONS = (3,)
INTENSITY = "zscore"
CHANNELS = 1
ENCODER_ONLY = True
FOOTNOTE = (
    "the last two stages stride, as in MONAI, where MedicalNet's own network dilates; and voxels of 0 keep the value "
    "that z-scores give them, where MedicalNet fills in noise"
)
RULES = ((r"^module\.", ""),)
DROPPED = {r"^conv_seg\.": "decoder that outlined organs; every dataset gets a fresh one"}
SIGNS = (r"^module\.layer4\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect z-scores of each volume."""
    return (0.0,), (1.0,)
