"""Swin UNETRs pre-trained without labels, as MONAI publishes them: two files with two spellings.

model_swinvit.pt, of 5,050 CT volumes, holds the transformer alone, under `module.`; the file of 50,000 volumes holds
the decoder, too, and the transformer under `encoder.`.
"""

from headwater.models.weights import Card

CARD = Card(
    title="Swin UNETR, pre-trained without labels on 5,050 CT (CVPR 2022) or 50,000 CT and MR (arXiv 2307.16896)",
    licence="Apache-2.0 (the code; nothing is said of the weights)",
    where="https://github.com/Project-MONAI/research-contributions/tree/main/SwinUNETR/Pretrain",
)
DIMENSIONS = (3,)
ORIENTATION = "RAS"
INTENSITY = ("window", -1000, 1000)
PATCH = (96, 96, 96)
CHANNELS = 1
ENCODER_ONLY = True
RULES = (
    (r"^module\.", ""),
    (r"^encoder\.(layers\d\.0)\.0\.", r"\1."),  # the larger file keeps each stage one deeper
    (r"^encoder\.", ""),
    (r"^(swinViT\.)?(patch_embed|layers\d)\.", r"swinViT.\2."),
    (r"\.mlp\.fc([12])\.", r".mlp.linear\1."),
)
DROPPED = {
    r"^(swinViT\.)?norm\.": "last norm of the transformer in pre-training; the network has none",
    r"^mask_token$": "stands for masked patches in pre-training; no patch is masked here",
    r"^(rotation_head|rotation_pre|contrastive_head|contrastive_pre|convTrans3d|conv|convs)\.": (
        "head of the pre-training; every dataset gets a fresh one"
    ),
    r"^out\.": "layer that restored the volume; every dataset gets a fresh head",
}
SIGNS = (r"^(module|encoder)\.(patch_embed|layers1)\.",)


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect a window from -1000 to 1000 HU scaled to [0, 1]."""
    return (0.0,), (1.0,)
