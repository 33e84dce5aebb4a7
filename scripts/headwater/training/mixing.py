"""Mixing: the two images of each pair in a batch are blended (mixup) or exchange a box (CutMix), and labels likewise.

The arithmetic is timm's `Mixup(mode="pair")`. What is drawn of a pair follows from (seed, epoch, case) of its first
image, and pairs follow each other in a batch, so that nothing depends on the number of ranks.
"""

import numpy as np
import torch
from torch import Tensor, nn

from headwater.training.views.draws import uniforms

PAIR = 2
"""How many images are mixed with each other."""

FIRST_DRAW = 2_000_000
"""The first of the random numbers that mix a pair; views and the places of patches use lower ones."""

QUANTILES = 2**16
"""How many equally likely values a share has."""


class Mixing(nn.Module):
    """Mixes images and targets that follow each other in pairs.

    `mixup` (Zhang 2018, arXiv 1710.09412, section 2) and `cutmix` (Yun 2019, arXiv 1905.04899, section 3.1) are the
    parameters of their Beta distributions; 0 is never. With both, each pair gets either with the same chance.
    """

    def __init__(self, *, mixup: float, cutmix: float):
        super().__init__()
        self.chance = float(cutmix > 0) if not (mixup and cutmix) else 0.5
        for name, alpha in (("blended", mixup), ("boxed", cutmix)):
            self.register_buffer(name, _quantiles(alpha or 1.0), persistent=False)

    def images(self, images: Tensor, keys: Tensor) -> Tensor:
        """Images (batch, channels, *space), each mixed with the other of its pair."""
        return _mixed(images, self._kept(keys, images.shape[2:])[:, None])

    def targets(self, targets: Tensor, *, keys: Tensor, space: tuple[int, ...]) -> Tensor:
        """Targets (batch, labels) mixed as images of `space` are; unknown (NaN) where they are of either image."""
        kept = self._kept(keys, space).flatten(1)
        # a blended image has one share everywhere, a boxed one zeros and ones, whose count is exact
        boxed = kept.double().sum(dim=1) / kept.shape[1]
        shares = torch.where(self._boxed(keys[::PAIR]), boxed.to(kept.dtype), kept[:, 0])
        return _mixed(targets, shares[:, None].to(targets.dtype))

    def _boxed(self, pairs: Tensor) -> Tensor:
        """Which pairs exchange a box (pairs,)."""
        return uniforms(pairs, FIRST_DRAW, 1)[0] < self.chance

    def _kept(self, keys: Tensor, space: tuple[int, ...]) -> Tensor:
        """The share that an image keeps of itself at each of its places: (pairs, *space)."""
        pairs = keys[::PAIR]
        drawn, *middles = uniforms(pairs, FIRST_DRAW + 1, 1 + len(space))
        place = (drawn * QUANTILES).long()
        inside = _boxes(self.boxed[place], torch.stack(middles, dim=1), space=space)
        boxed, whole = self._boxed(pairs).view(-1, *[1] * len(space)), self.blended[place].view(-1, *[1] * len(space))
        return torch.where(boxed, (~inside).to(whole.dtype), whole)


def _quantiles(alpha: float) -> Tensor:
    """The quantiles of Beta(alpha, alpha) in the middles of equally likely intervals."""
    # imported here because few trainings need it, and all would wait for it
    from scipy.special import betaincinv

    middles = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return torch.tensor(betaincinv(alpha, alpha, middles), dtype=torch.get_default_dtype())


def _boxes(shares: Tensor, middles: Tensor, *, space: tuple[int, ...]) -> Tensor:
    """Whether each place lies in the box of its pair (pairs, *space), whose part is 1 - share where it is not cut off.

    As in timm's `rand_bbox`, its sides are in proportion to the image's and its middle lies anywhere in it. A slice,
    which is one voxel wide along an axis, is exchanged all along it.
    """
    inside = torch.ones(len(shares), *space, dtype=torch.bool, device=shares.device)
    wide = sum(side > 1 for side in space)
    for axis, side in enumerate(space):
        if side > 1:
            cut = (side * (1 - shares) ** (1 / wide)).long()
            middle = (middles[:, axis] * side).long()
            first, end = middle - cut // 2, middle + (cut + 1) // 2
            places = torch.arange(side, device=shares.device)
            along = (places >= first[:, None]) & (places < end[:, None])
            inside &= along.view(-1, *(side if other == axis else 1 for other in range(len(space))))
    return inside


def _mixed(values: Tensor, kept: Tensor) -> Tensor:
    """Values (batch, ...) of which each keeps a share (pairs, ...) and gets the rest from the other of its pair."""
    first, second = values[::PAIR], values[1::PAIR]
    mixed = torch.stack([kept * first + (1 - kept) * second, kept * second + (1 - kept) * first], dim=1)
    return mixed.flatten(0, 1)
