"""Networks of the timm library: convolutional ones and vision transformers, without their classifier."""

import inspect
import math
import typing

from torch import Tensor, nn

from headwater.core.errors import UserError, did_you_mean
from headwater.models.timm_library import timm


def create(model: str, *, size: int) -> tuple[nn.Module, int | None]:
    """A timm model with random weights that gives pooled features, and the multiple that side lengths must keep.

    Vision transformers are built for `size`, and take other multiples of their patch where timm lets them.
    """
    _check_tag(model)
    takes = _arguments(model)
    flexible = "dynamic_img_pad" in takes
    form = {"img_size": size} if "img_size" in takes else {}
    form |= {"dynamic_img_size": True} if flexible else {}
    # timm averages the patches of these; their authors and all published numbers take the class token
    form |= {"global_pool": "token"} if "_dinov3" in model.partition(".")[0] else {}
    network = timm.create_model(model, pretrained=False, num_classes=0, **form)
    if not flexible:
        return network, None if form else _cut(network)
    patch = network.patch_embed.patch_size[0]
    if size % patch:
        nearest = max(1, round(size / patch)) * patch
        raise UserError(
            f"timm/{model} cuts images into patches of {patch} pixels; {size} is no multiple of it",
            remedy=f"use size {nearest}",
        )
    return network, patch


def resample(key: str, tensor: Tensor, network: nn.Module) -> Tensor | None:
    """An absolute position embedding (1, tokens, channels) on the network's grid, bicubic as timm does it."""
    place = network.state_dict().get(key)
    if not key.endswith("pos_embed") or place is None or tensor.ndim != 3 or tensor.shape[::2] != place.shape[::2]:
        return None
    grid = network.patch_embed.grid_size
    prefix = place.shape[1] - math.prod(grid)
    side = math.isqrt(max(0, tensor.shape[1] - prefix))
    if side == 0 or side * side + prefix != tensor.shape[1]:
        return None
    return timm.layers.resample_abs_pos_embed(
        tensor, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix
    )


def resample_patch(key: str, tensor: Tensor, network: nn.Module) -> Tensor | None:
    """A patch embedding (width, colours, side, side) for the network's patch size.

    It gives of a patch enlarged by bicubic interpolation what the old one gave of the patch (FlexiViT, section 3.4).
    """
    place = network.state_dict().get(key)
    if not key.endswith("patch_embed.proj.weight") or place is None or tensor.shape[:2] != place.shape[:2]:
        return None
    return timm.layers.resample_patch_embed(tensor.float(), list(place.shape[2:]))


def _check_tag(model: str) -> None:
    """Refuse a tag, the part after the dot, that timm has no weights for."""
    architecture, _, tag = model.partition(".")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(f"timm/{model}: timm knows no {tag!r} weights", remedy=did_you_mean(tag, tags))


def _cut(network: nn.Module) -> int:
    """The multiple of a convolutional network: ConvNeXts cut without overlap, and lose what is beyond the last cut."""
    return network.feature_info[-1]["reduction"] if isinstance(network, timm.models.ConvNeXt) else 1


def _arguments(model: str) -> set[str]:
    """The names of the arguments that the model's class takes."""
    kind = typing.get_type_hints(timm.model_entrypoint(model.partition(".")[0])).get("return")
    if inspect.isclass(kind):
        return set(inspect.signature(kind.__init__).parameters)
    configuration = timm.get_pretrained_cfg(model)
    return {"img_size"} if configuration and configuration.fixed_input_size else set()
