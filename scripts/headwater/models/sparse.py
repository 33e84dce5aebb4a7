"""Masked forward passes of convolutional networks: hidden parts of the image have no influence on visible ones.

This emulates sparse convolution (Tian et al. 2023, arXiv 2301.03580, section 3.1): hidden positions are set to zero
again after every layer, and norms use visible positions only. The network, its parameters and their names stay
unchanged: the mask is passed from layer to layer of timm's networks, and a network of volumes runs its own forward
pass with masked layers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, singledispatch

import torch
from timm.layers import DropPath, LayerNorm2d, Mlp
from timm.models.convnext import ConvNeXt, ConvNeXtBlock, ConvNeXtStage
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from headwater.core.errors import UserError

ORDER = {
    BasicBlock: ("conv1", "bn1", "drop_block", "act1", "aa", "conv2", "bn2", "se", "drop_path"),
    Bottleneck: (
        *("conv1", "bn1", "act1", "conv2", "bn2", "drop_block", "act2", "aa", "conv3", "bn3", "se", "drop_path"),
    ),
}
"""The layers of timm's residual blocks in the order of their forward pass, up to the residual sum."""

AFTER = {BasicBlock: "act2", Bottleneck: "act3"}
"""The activation after the residual sum."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The mask of visible squares or cubes, bool (batch, *grid); `total` sums a tensor over all ranks."""

    cells: Tensor
    total: Callable[[Tensor], Tensor]

    def at(self, x: Tensor) -> Tensor:
        """The mask at the resolution of x (batch, channels, *space): bool (batch, 1, *space)."""
        places = self.cells
        for axis, side in enumerate(x.shape[2:], start=1):
            places = places.repeat_interleave(side // self.cells.shape[axis], dim=axis)
        return places.unsqueeze(1)

    def only(self, x: Tensor) -> Tensor:
        """x with hidden positions set to zero."""
        return x * self.at(x).to(x.dtype)


def features(network: nn.Module, images: Tensor, shown: Shown) -> list[Tensor]:
    """Features of each stage or level, the finest first, zero at hidden positions."""
    x, scales = shown.only(images), []
    if hasattr(network, "levels"):
        with _masked_layers(network, shown):
            return network.levels(x)
    stem, stages, last = _parts(network)
    for layer in stem:
        x = through(layer, x, shown)
    for stage in stages:
        x = through(stage, x, shown)
        scales.append(x)
    scales[-1] = through(last, x, shown)
    return scales


@contextmanager
def _masked_layers(network: nn.Module, shown: Shown) -> Iterator[None]:
    """While the block runs, each layer of the network gives its masked output.

    What the network itself does between layers (sums, joins, activations, poolings that do not overlap) must keep zeros
    at hidden positions.
    """
    layers = [layer for layer in network.modules() if next(layer.children(), None) is None]
    for layer in layers:
        # an attribute of the instance goes before the method of its class
        layer.forward = partial(_through, layer, shown)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _through(layer: nn.Module, shown: Shown, x: Tensor) -> Tensor:
    return through(layer, x, shown)


def _own(layer: nn.Module, x: Tensor) -> Tensor:
    """The output of a layer as its class defines it."""
    return type(layer).forward(layer, x)


def _parts(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module], nn.Module]:
    """(layers before the first stage, the four stages, the layer after the last)."""
    if isinstance(network, ResNet):
        stem = [network.conv1, network.bn1, network.act1, network.maxpool]
        return stem, [network.layer1, network.layer2, network.layer3, network.layer4], nn.Identity()
    if isinstance(network, ConvNeXt):
        return [network.stem], list(network.stages), network.norm_pre
    raise UserError(f"{type(network).__name__} cannot be masked", remedy="use a ResNet or a ConvNeXt")


@singledispatch
def through(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    """The masked output of a layer; refuses layers without a masked form, such as attention."""
    raise UserError(
        f"{type(layer).__name__} would mix visible and hidden positions", remedy="use a plain ResNet or ConvNeXt"
    )


# max pooling needs no special case: it follows an activation, so no visible value that matters is below the zeros at
# hidden positions
@through.register(nn.Conv2d)
@through.register(nn.Conv3d)
@through.register(nn.MaxPool2d)
@through.register(nn.MaxPool3d)
@through.register(nn.AvgPool2d)
@through.register(nn.AvgPool3d)
@through.register(LayerNorm2d)
def _masked(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    return shown.only(_own(layer, x))


# these layers map zero to zero, so hidden positions stay zero without a mask
@through.register(nn.Identity)
@through.register(nn.ReLU)
@through.register(nn.LeakyReLU)
@through.register(nn.PReLU)
@through.register(nn.GELU)
@through.register(nn.SiLU)
@through.register(nn.Dropout)
@through.register(DropPath)
def _place_by_place(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    return _own(layer, x)


@through.register(nn.Sequential)
def _one_after_another(layers: nn.Sequential, x: Tensor, shown: Shown) -> Tensor:
    for layer in layers:
        x = through(layer, x, shown)
    return x


@through.register(nn.modules.batchnorm._BatchNorm)
def _batch_norm(norm: nn.modules.batchnorm._BatchNorm, x: Tensor, shown: Shown) -> Tensor:
    """BatchNorm over the visible positions of all ranks' images, then the activation inside timm's layer if any."""
    visible, values = shown.at(x).float(), x.float()
    if norm.training:
        reduced = [axis for axis in range(x.ndim) if axis != 1]
        # counted in float64, because float32 counts exactly only up to 2^24 positions
        count = shown.total(visible.sum(dtype=torch.float64)).float()
        mean = shown.total((values * visible).sum(reduced)) / count
        variance = shown.total(((values - _each(mean, x)) * visible).square().sum(reduced)) / count
        # as in torch, the running variance is the unbiased one, though the batch is normalised by the biased one
        _update_running(norm, mean.detach(), (variance * count / (count - 1).clamp(min=1)).detach())
    else:
        mean, variance = norm.running_mean, norm.running_var
    scale = _each((variance + norm.eps).rsqrt() * norm.weight, x)
    normalised = (values - _each(mean, x)) * scale + _each(norm.bias, x)
    x = (normalised * visible).to(x.dtype)
    for submodule in norm.children():
        x = through(submodule, x, shown)
    return x


@torch.no_grad()
def _update_running(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics with those of this batch."""
    norm.num_batches_tracked.add_(1)
    weight = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, weight)
    norm.running_var.lerp_(variance, weight)


@through.register(nn.GroupNorm)
@through.register(nn.modules.instancenorm._InstanceNorm)
def _norm_of_each_image(norm: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    """Norm over the visible positions of each image, in the norm's groups of channels or channel by channel."""
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else x.shape[1]
    # (batch, groups, channels of a group, positions)
    visible, values = shown.at(x).float().flatten(2)[:, None], x.float().view(len(x), groups, x.shape[1] // groups, -1)
    count = visible.sum((2, 3), keepdim=True) * values.shape[2]
    centred = (values - (values * visible).sum((2, 3), keepdim=True) / count) * visible
    variance = centred.square().sum((2, 3), keepdim=True) / count
    normalised = (centred * (variance + norm.eps).rsqrt()).view(x.shape)
    if norm.weight is not None:
        normalised = normalised * _each(norm.weight, x) + _each(norm.bias, x)
    return shown.only(normalised.to(x.dtype))


def _each(values: Tensor, x: Tensor) -> Tensor:
    """Values per channel reshaped to (1, channels, 1, ...), to broadcast over images such as x."""
    return values.view(1, -1, *[1] * (x.ndim - 2))


@through.register(BasicBlock)
@through.register(Bottleneck)
def _residual(block: BasicBlock | Bottleneck, x: Tensor, shown: Shown) -> Tensor:
    shortcut, kind = x, type(block)
    for layer in [getattr(block, name) for name in ORDER[kind] if getattr(block, name) is not None]:
        x = through(layer, x, shown)
    if block.downsample is not None:
        shortcut = through(block.downsample, shortcut, shown)
    return through(getattr(block, AFTER[kind]), x + shortcut, shown)


@through.register(ConvNeXtStage)
def _stage(stage: ConvNeXtStage, x: Tensor, shown: Shown) -> Tensor:
    return through(stage.blocks, through(stage.downsample, x, shown), shown)


@through.register(ConvNeXtBlock)
def _next(block: ConvNeXtBlock, x: Tensor, shown: Shown) -> Tensor:
    # another MLP, such as ConvNeXt V2's with its global response norm, mixes positions: `through` refuses it
    if type(block.mlp) is not Mlp:
        return through(block.mlp, x, shown)
    inner = through(block.conv_dw, x, shown)
    # norm and MLP work at each position alone; unless they are convolutions they need channels last
    channels_last = inner if block.use_conv_mlp else inner.permute(0, 2, 3, 1)
    channels_last = block.mlp(block.norm(channels_last))
    inner = channels_last if block.use_conv_mlp else channels_last.permute(0, 3, 1, 2)
    inner = inner if block.gamma is None else inner * _each(block.gamma, inner)
    return through(block.drop_path, shown.only(inner), shown) + through(block.shortcut, x, shown)
