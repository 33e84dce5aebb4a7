"""ResEnc-L networks as nnssl publishes them, pre-trained without labels: OpenMind's, tensors under `network_weights`.

The publisher's networks name each layer twice or thrice, and keep the encoder a second time within the decoder; the
copies are left out. Take `nnunet/resenc_l`.
"""

from headwater.models.weights import Card

CARD = Card(
    title="nnssl (arXiv 2410.23132, 2412.17041): residual encoder U-Nets pre-trained on MR without labels",
    licence="CC BY-SA 4.0: what is made of the weights must be passed on under the same terms",
    where="https://huggingface.co/collections/MIC-DKFZ/openmind-models-6819c21c7fe6f0aaaab7dadf",
)
DIMENSIONS = (3,)
INTENSITY = "zscore"
PATCH = (160, 160, 160)
CHANNELS = 1
ENCODER_ONLY = True
FOOTNOTE = "the spacing and the axes of the pre-training are not checked: the file's adaptation plan names them"
RULES = (
    (r"^(module\.)?(_orig_mod\.)?", ""),
    (r"^(stem|stages)\.", r"encoder.\1."),
)
DROPPED = {
    r"\.all_modules\.": "the layer beside it under a second name",
    r"^decoder\.encoder\.": "the encoder under a second name",
    r"^decoder\.seg_layers\.": "layers that restored the volume; every dataset gets a fresh head",
    r"^(mask_token|projector|predictor|head)": "only the pre-training needs it; every dataset gets a fresh head",
}
SIGNS = (r"stem\.convs\.0\.all_modules\.", r"stages\.0\.blocks\.")


def normalisation(backbone: str, metadata: dict[str, str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) that change nothing: the weights expect z-scores of each volume."""
    return (0.0,), (1.0,)
