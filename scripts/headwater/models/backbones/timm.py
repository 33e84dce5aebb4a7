"""Networks of the timm library: convolutional networks and vision transformers, without their classifier."""

import inspect
import math
import typing

from torch import Tensor, nn

from headwater.core.errors import UserError, did_you_mean
from headwater.models.timm_library import timm

SHALLOW = r"_patch14_"
CHECKPOINTED = (
    "timm/convnext",
    "timm/densenet",
    "timm/efficientnet",
    "timm/eva",
    "timm/mobilenetv3",
    "timm/regnet",
    "timm/resnet",
    "timm/swin_transformer",
    "timm/vision_transformer",
)
DROPPED = (
    "timm/beit",
    "timm/convnext",
    "timm/deit",
    "timm/eva",
    "timm/regnet",
    "timm/resnet",
    "timm/swin_transformer",
    "timm/swin_transformer_v2",
    "timm/vision_transformer",
)
BATCH_NORM = ("timm/densenet", "timm/efficientnet", "timm/mobilenetv3", "timm/regnet", "timm/resnet")
GROUPED = True
ATTENTIVE = ("beit", "deit", "eva02_", "swin_", "swinv2_", "test_vit", "vit_")
ZEROABLE = (
    "ba", "bo", "cs3", "cspd", "cspr", "dar", "eca_b", "eca_h", "eca_r", "ecar", "gcr", "ger", "hal", "la",
    "mobilev", "reg", "res2", "resn", "seb", "sed", "seh", "sen", "ser", "sk", "test_b", "test_r", "w",
)  # fmt: skip
"""How the names begin of models of which timm can start each residual branch at zero: ResNets and their kin."""

INITIALISATIONS = {
    "resne": "He normal (fan out)",
    "wide_resnet": "He normal (fan out)",
    "seresnet": "He normal (fan out)",
    "seresnext": "He normal (fan out)",
    "ecaresnet": "He normal (fan out)",
    "test_resnet": "He normal (fan out)",
    "test_byobnet": "He normal (fan out)",
    "regnet": "He normal (fan out)",
    "vgg": "He normal (fan out)",
    "densenet": "He normal (fan in)",
    "efficientnet": "He normal (fan out)",
    "tf_efficientnet": "He normal (fan out)",
    "test_efficientnet": "He normal (fan out)",
    "mobilenetv3": "He normal (fan out)",
    "vit_": "truncated normal (SD 0.02)",
    "test_vit": "truncated normal (SD 0.02)",
    "deit_": "truncated normal (SD 0.02)",
    "swin_": "truncated normal (SD 0.02)",
    "convnext": "truncated normal (SD 0.02)",
    "test_convnext": "truncated normal (SD 0.02)",
}
"""The distribution of most first weights, by how models' names begin; other networks start as timm draws them."""


def create(model: str, *, size: int | tuple[int, int]) -> tuple[nn.Module, int | None]:
    """A timm model with random weights that returns pooled features, and the number that sides must be a multiple of.

    Vision transformers are built for `size`, and accept other multiples of their patch size if timm supports it. timm
    starts the residual branches of ResNets at zero; here they start like all other layers.
    """
    network, multiple = _created(model, size=size)
    if model.startswith(ZEROABLE):
        _open(network)
    return network, multiple


def create_zero_residual(model: str, *, size: int | tuple[int, int]) -> tuple[nn.Module, int | None]:
    """The same, with each residual branch at zero, so that it starts as the identity."""
    network, multiple = _created(model, size=size)
    for module in network.modules():
        # what timm zeroes of itself stays as it is; a few models do not, but their blocks know how
        if hasattr(module, "zero_init_last"):
            module.zero_init_last()
    return network, multiple


def _open(network: nn.Module) -> None:
    """Let residual branches that start at zero start like other layers: with a scale of 1 in their last norm."""
    for module in network.modules():
        scale = getattr(module, "weight", None)
        # a network on torch's device "meta" has shapes and no numbers
        if isinstance(scale, nn.Parameter) and scale.ndim == 1 and not scale.is_meta and not scale.any():
            nn.init.ones_(scale)


def settings(model: str, *, size: int | tuple[int, int]) -> dict[str, typing.Any]:
    """The arguments besides the number of classes with which timm makes a model."""
    accepted = _arguments(model)
    arguments = {"img_size": size} if "img_size" in accepted else {}
    arguments |= {"dynamic_img_size": True} if "dynamic_img_pad" in accepted else {}
    # timm averages the patch tokens of DINOv3; its authors and all published results use the class token
    return arguments | ({"global_pool": "token"} if "_dinov3" in model.partition(".")[0] else {})


def classifying(model: str, *, size: int | tuple[int, int], classes: int) -> nn.Module:
    """The same model with random weights and timm's own classifier; none for 0 classes."""
    return timm.create_model(model, pretrained=False, num_classes=classes, **settings(model, size=size))


def _created(model: str, *, size: int | tuple[int, int]) -> tuple[nn.Module, int | None]:
    """A network as timm draws it."""
    _check_tag(model)
    arguments = settings(model, size=size)
    network = timm.create_model(model, pretrained=False, num_classes=0, **arguments)
    if "dynamic_img_size" not in arguments:
        return network, None if arguments else _multiple(network)
    patch = network.patch_embed.patch_size[0]
    sides = (size,) if isinstance(size, int) else size
    if any(side % patch for side in sides):
        nearest = " x ".join(str(max(1, round(side / patch)) * patch) for side in sides)
        raise UserError(
            f"image size for timm/{model} must be a multiple of its patch of {patch} pixels (got {size})",
            remedy=f"use size {nearest}",
        )
    return network, patch


def levels(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Maps of features (batch, channels, height / stride, width / stride), the finest first.

    A network whose blocks all have one resolution, such as a vision transformer, has one: its last tokens, normalised.
    """
    tokens = len(pyramid(network)) == 1
    return network.forward_intermediates(images, indices=1 if tokens else None, norm=tokens, intermediates_only=True)


def pyramid(network: nn.Module) -> list[tuple[int, int]]:
    """(channels, stride) of each level."""
    found = [(entry["num_chs"], entry["reduction"]) for entry in network.feature_info]
    # one resolution throughout, for which timm lists every block
    return found[-1:] if len({stride for _, stride in found}) == 1 else found


def resample(key: str, tensor: Tensor, network: nn.Module) -> Tensor | None:
    """An absolute position embedding (1, tokens, channels) interpolated to the network's grid by timm (bicubic)."""
    own = network.state_dict().get(key)
    if not key.endswith("pos_embed") or own is None or tensor.ndim != 3 or tensor.shape[::2] != own.shape[::2]:
        return None
    grid = network.patch_embed.grid_size
    # class and register tokens have no place on the grid; what remains must be a square
    prefix = own.shape[1] - math.prod(grid)
    side = math.isqrt(max(0, tensor.shape[1] - prefix))
    if side == 0 or side * side + prefix != tensor.shape[1]:
        return None
    return timm.layers.resample_abs_pos_embed(
        tensor, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix
    )


def resample_patch(key: str, tensor: Tensor, network: nn.Module) -> Tensor | None:
    """A patch embedding (width, colours, side, side) resampled to the network's patch size.

    For a patch enlarged by bicubic interpolation it returns what the old one returns for the patch (FlexiViT, section
    3.4).
    """
    own = network.state_dict().get(key)
    if not key.endswith("patch_embed.proj.weight") or own is None or tensor.shape[:2] != own.shape[:2]:
        return None
    return timm.layers.resample_patch_embed(tensor.float(), list(own.shape[2:]))


def _check_tag(model: str) -> None:
    """Refuse a tag (the part after the dot) that timm has no weights for."""
    architecture, _, tag = model.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(f"timm/{model}: timm has no {tag!r} weights", remedy=did_you_mean(tag, tags))


def _multiple(network: nn.Module) -> int:
    """The number that sides of a convolutional network's input must be a multiple of."""
    # ConvNeXts downsample without overlap and would drop the pixels beyond the last full patch
    return network.feature_info[-1]["reduction"] if isinstance(network, timm.models.ConvNeXt) else 1


def _arguments(model: str) -> set[str]:
    """The names of the arguments that the model's class takes."""
    kind = typing.get_type_hints(timm.model_entrypoint(model.partition(".")[0])).get("return")
    if inspect.isclass(kind):
        return set(inspect.signature(kind.__init__).parameters)
    configuration = timm.get_pretrained_cfg(model)
    return {"img_size"} if configuration and configuration.fixed_input_size else set()
