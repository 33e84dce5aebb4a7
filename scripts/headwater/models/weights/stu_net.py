"""STU-Nets as their authors publish them, such as base_ep4k.model: trained with labels on TotalSegmentator.

nnU-Net writes `.model` files with the tensors under `state_dict`, and `.pth` files with them under `network_weights`.
"""

from headwater.models.weights import Card

CARD = Card(
    title="STU-Net (arXiv 2304.06716): U-Nets of up to 1.46 billion parameters, trained on 104 structures in CT",
    licence="Apache-2.0",
    where="https://github.com/uni-medical/STU-Net",
    trained_on=("totalsegmentator",),
)
DIMENSIONS = (3,)
CHANNELS = 1
FOOTNOTE = (
    "trained on Hounsfield units that nnU-Net cut off and standardised by a fingerprint of its data set, which is not "
    "in the file"
)
RULES = ((r"^(module\.)?(_orig_mod\.)?", ""),)
DROPPED = {r"^seg_outputs\.": "layers that named structures; every dataset gets a fresh head"}
SIGNS = (r"conv_blocks_context\.", r"upsample_layers\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: those of nnU-Net's fingerprint are not in the file."""
    return (0.0,), (1.0,)
