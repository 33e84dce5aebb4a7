"""Networks for volumes from the MONAI library, without the last layer, which segments organs."""

from torch import nn

from headwater.models.backbones import _resnets, _segresnets, _swin_unetrs, _unets, _volumes

DIMENSIONS = 3
COLOURS = 1
INITIALISATIONS = {
    "segresnet": "uniform (fan in), PyTorch's default",
    "swin_unetr": "uniform (fan in), PyTorch's default",
    "unet": "uniform (fan in), PyTorch's default",
    "dynunet": "He normal (fan in)",
    "resnet": "He normal (fan out)",
}
MODELS = (
    "segresnet",
    "segresnet_ds",
    "segresnet_ds_small",
    "segresnet_small",
    "swin_unetr",
    "swin_unetr_12",
    "swin_unetr_v2",
    "swin_unetr_v2_12",
    "swin_unetr_v2_96",
    "swin_unetr_v2_192",
    "unet",
    "unet_small",
    "dynunet",
    "dynunet_small",
    "resnet_small",
    "resnet10",
    "resnet18",
    "resnet18_a",
    "resnet34",
    "resnet34_a",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet200",
)
STRIDE = {
    "segresnet_ds_small": 4,
    "segresnet_ds": 16,
    "segresnet_small": 4,
    "segresnet": 8,
    "unet_small": 4,
    "unet": 16,
    "dynunet_small": 4,
    "dynunet": 32,
    "resnet": 32,
}
CHANNELS_LAST = ("segresnet",)
BATCH_NORM = ("monai/segresnet_ds", "monai/resnet")
SHALLOW = r"(segresnet|segresnet_ds|unet|dynunet)_small$"
DECODER = {
    "segresnet_ds": ("up_layers.",),
    "segresnet": ("up_samples.", "up_layers.", "conv_final."),
    "swin_unetr": ("encoder", "decoder"),
    "unet": (
        "model.2.",
        "model.1.submodule.2.",
        "model.1.submodule.1.submodule.2.",
        "model.1.submodule.1.submodule.1.submodule.2.",
    ),
    "dynunet": ("upsamples.",),
}


def create(model: str, *, size: int | tuple[int, int, int]) -> tuple[nn.Module, int]:
    """A network with random weights that returns pooled features, and the number that sides must be a multiple of."""
    kind, _, rest = model.partition("_")
    if kind == "swin":
        network = _swin_unetrs.swin_unetr(rest)
    elif kind == "segresnet":
        network = _segresnets.segresnet(rest)
    elif kind in ("unet", "dynunet"):
        network = getattr(_unets, kind)(small=rest == "small")
    else:
        network = _resnets.resnet(kind.removeprefix("resnet") or rest, shortcut="A" if rest == "a" else "B")
    multiple = network.multiple
    _volumes.check(f"monai/{model}", size=size, multiple=multiple, least=getattr(network, "least", multiple))
    return network, multiple
