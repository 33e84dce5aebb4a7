"""Masked forward passes of convolutional networks: hidden squares of the image have no influence on visible ones.

This emulates sparse convolution (Tian et al. 2023, arXiv 2301.03580, section 3.1): hidden positions are set to zero
again after every layer, and norms use visible positions only. The mask is passed from layer to layer as an argument, so
the network, its parameters and their names stay unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
from timm.layers import DropPath, LayerNorm2d, Mlp
from timm.models.convnext import ConvNeXt, ConvNeXtBlock, ConvNeXtStage
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from headwater.core.errors import UserError

CELL = 32
"""Side of a square in pixels, which is one position of the deepest features."""

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
    """The mask of visible squares, bool (batch, rows, columns); `total` sums a tensor over all ranks."""

    cells: Tensor
    total: Callable[[Tensor], Tensor]

    def at(self, x: Tensor) -> Tensor:
        """The mask at the resolution of x (batch, channels, h, w): bool (batch, 1, h, w)."""
        down, across = x.shape[-2] // self.cells.shape[1], x.shape[-1] // self.cells.shape[2]
        return self.cells.repeat_interleave(down, dim=1).repeat_interleave(across, dim=2).unsqueeze(1)

    def only(self, x: Tensor) -> Tensor:
        """x with hidden positions set to zero."""
        return x * self.at(x).to(x.dtype)


def features(network: nn.Module, images: Tensor, shown: Shown) -> list[Tensor]:
    """Features at 1/4, 1/8, 1/16 and 1/32 of the side, zero at hidden positions."""
    stem, stages, last = _parts(network)
    x, scales = shown.only(images), []
    for layer in stem:
        x = through(layer, x, shown)
    for stage in stages:
        x = through(stage, x, shown)
        scales.append(x)
    scales[-1] = through(last, x, shown)
    return scales


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
@through.register(nn.MaxPool2d)
@through.register(nn.AvgPool2d)
@through.register(LayerNorm2d)
def _masked(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    return shown.only(layer(x))


# these layers map zero to zero, so hidden positions stay zero without a mask
@through.register(nn.Identity)
@through.register(nn.ReLU)
@through.register(nn.GELU)
@through.register(nn.SiLU)
@through.register(nn.Dropout)
@through.register(DropPath)
def _place_by_place(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    return layer(x)


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
        # counted in float64, because float32 counts exactly only up to 2^24 positions
        count = shown.total(visible.sum(dtype=torch.float64)).float()
        mean = shown.total((values * visible).sum((0, 2, 3))) / count
        variance = shown.total(((values - _row(mean)) * visible).square().sum((0, 2, 3))) / count
        # as in torch, the running variance is the unbiased one, though the batch is normalised by the biased one
        _update_running(norm, mean.detach(), (variance * count / (count - 1).clamp(min=1)).detach())
    else:
        mean, variance = norm.running_mean, norm.running_var
    normalised = (values - _row(mean)) * _row((variance + norm.eps).rsqrt() * norm.weight) + _row(norm.bias)
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


def _row(values: Tensor) -> Tensor:
    """Values per channel reshaped to (1, channels, 1, 1), to broadcast over images."""
    return values.view(1, -1, 1, 1)


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
    inner = inner if block.gamma is None else inner * _row(block.gamma)
    return through(block.drop_path, shown.only(inner), shown) + through(block.shortcut, x, shown)
