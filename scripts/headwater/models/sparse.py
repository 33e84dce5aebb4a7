"""A convolutional network that sees some squares of an image and nothing of the others, not even at their edges.

Sparse convolution emulated (Tian et al. 2023, arXiv 2301.03580, section 3.1): what is hidden is zero again after every
layer, and norms count visible places only. Which squares are seen goes from layer to layer as an argument; the network
itself, its parameters and their names stay as they are.
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
"""Side of a square in pixels: one place of the deepest features."""

ORDER = {
    BasicBlock: ("conv1", "bn1", "drop_block", "act1", "aa", "conv2", "bn2", "se", "drop_path"),
    Bottleneck: (
        *("conv1", "bn1", "act1", "conv2", "bn2", "drop_block", "act2", "aa", "conv3", "bn3", "se", "drop_path"),
    ),
}
"""The layers of timm's residual blocks in the order of their forward pass, up to the sum."""

AFTER = {BasicBlock: "act2", Bottleneck: "act3"}
"""What comes after the sum."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Which squares of each image are seen: bool (batch, rows, columns); `total` adds a tensor up over all ranks."""

    cells: Tensor
    total: Callable[[Tensor], Tensor]

    def at(self, x: Tensor) -> Tensor:
        """The same at the places of x (batch, channels, h, w): bool (batch, 1, h, w)."""
        down, across = x.shape[-2] // self.cells.shape[1], x.shape[-1] // self.cells.shape[2]
        return self.cells.repeat_interleave(down, dim=1).repeat_interleave(across, dim=2).unsqueeze(1)

    def only(self, x: Tensor) -> Tensor:
        """x with zeros where nothing is seen."""
        return x * self.at(x).to(x.dtype)


def features(network: nn.Module, images: Tensor, shown: Shown) -> list[Tensor]:
    """What the visible squares give at a 4th, 8th, 16th and 32nd of the side, zero elsewhere."""
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
    """(layers before the first stage, the four stages, what comes after the last)."""
    if isinstance(network, ResNet):
        stem = [network.conv1, network.bn1, network.act1, network.maxpool]
        return stem, [network.layer1, network.layer2, network.layer3, network.layer4], nn.Identity()
    if isinstance(network, ConvNeXt):
        return [network.stem], list(network.stages), network.norm_pre
    raise UserError(f"{type(network).__name__} cannot look at a part of an image", remedy="use a ResNet or a ConvNeXt")


@singledispatch
def through(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    """What a layer makes of visible places; refuses layers of which that is not known, such as attention."""
    raise UserError(
        f"{type(layer).__name__} mixes what is seen with what is hidden", remedy="use a plain ResNet or ConvNeXt"
    )


# the largest of what is seen: after an activation nothing that matters is below the zeros of what is hidden
@through.register(nn.Conv2d)
@through.register(nn.MaxPool2d)
@through.register(nn.AvgPool2d)
@through.register(LayerNorm2d)
def _masked(layer: nn.Module, x: Tensor, shown: Shown) -> Tensor:
    return shown.only(layer(x))


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
    """BatchNorm over the visible places of all ranks' images; timm's kind goes on with its activation."""
    seen, values = shown.at(x).float(), x.float()
    if norm.training:
        count = shown.total(seen.sum(dtype=torch.float64)).float()
        mean = shown.total((values * seen).sum((0, 2, 3))) / count
        variance = shown.total(((values - _row(mean)) * seen).square().sum((0, 2, 3))) / count
        _remember(norm, mean.detach(), (variance * count / (count - 1).clamp(min=1)).detach())
    else:
        mean, variance = norm.running_mean, norm.running_var
    normalised = (values - _row(mean)) * _row((variance + norm.eps).rsqrt() * norm.weight) + _row(norm.bias)
    x = (normalised * seen).to(x.dtype)
    for after in norm.children():
        x = through(after, x, shown)
    return x


@torch.no_grad()
def _remember(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards those of this batch."""
    norm.num_batches_tracked.add_(1)
    weight = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, weight)
    norm.running_var.lerp_(variance, weight)


def _row(values: Tensor) -> Tensor:
    """One value per channel as (1, channels, 1, 1)."""
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
    if type(block.mlp) is not Mlp:
        return through(block.mlp, x, shown)
    inner = through(block.conv_dw, x, shown)
    # norm and mlp work place by place; without convolutions they want the channels last
    turned = inner if block.use_conv_mlp else inner.permute(0, 2, 3, 1)
    turned = block.mlp(block.norm(turned))
    inner = turned if block.use_conv_mlp else turned.permute(0, 3, 1, 2)
    inner = inner if block.gamma is None else inner * _row(block.gamma)
    return through(block.drop_path, shown.only(inner), shown) + through(block.shortcut, x, shown)
