"""Group norm: BatchNorm over groups of a batch's images, as over the GPUs that once had a few images each.

MoCo compares answers to one batch with answers to earlier ones. Were statistics shared by the whole batch, as the
engine otherwise has it, a network could tell this batch's answers from earlier ones by these, without looking at the
images. So queries are normalised in groups, and keys in other groups, of shuffled images (He et al. 2020, arXiv
1911.05722, section 3.3). Groups lie across the batch in such a way that each is on one rank: any number of ranks has
the same ones.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater.training.methods import _ranks


class GroupedBatchNorm(nn.Module):
    """BatchNorm in training over each group of `group` images; otherwise it is the norm that it replaces.

    Takes over the parameters, buffers and state names of `norm`, and timm's activation after it. It is no kind of
    torch's BatchNorm, so that the engine does not share its statistics over ranks.
    """

    def __init__(self, norm: _BatchNorm, *, group: int):
        super().__init__()
        self._parameters, self._buffers, self._modules = norm._parameters, norm._buffers, norm._modules
        self.num_features, self.eps, self.momentum, self.group = norm.num_features, norm.eps, norm.momentum, group
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x (batch, channels, ...), and what timm's layer does after it."""
        normalised = self._over_groups(x) if self.training else self._as_remembered(x)
        for after in self._modules.values():
            normalised = after(normalised)
        return normalised

    def _over_groups(self, x: Tensor) -> Tensor:
        """Every so manieth image is in one group: groups become channels of a batch of `group` images."""
        groups = len(x) // self.group
        folded = x.reshape(self.group, groups * self.num_features, *x.shape[2:])
        mean, variance = self.running_mean.repeat(groups), self.running_var.repeat(groups)
        weight, bias = (None if one is None else one.repeat(groups) for one in (self.weight, self.bias))
        normalised = F.batch_norm(folded, mean, variance, weight, bias, True, self.momentum, self.eps)
        self._remember(mean, variance)
        return normalised.view(x.shape)

    def _as_remembered(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Keep the mean over all ranks' groups of what each group would remember."""
        both = torch.stack([mean, variance]).view(2, -1, self.num_features).mean(dim=1)
        for ours, theirs in zip((self.running_mean, self.running_var), _ranks.mean(both), strict=True):
            ours.copy_(theirs)
        self.num_batches_tracked.add_(1)


def in_groups(model: nn.Module, *, group: int) -> bool:
    """Have each BatchNorm of the model computed in groups; whether there is any."""
    replaced = False
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, GroupedBatchNorm(child, group=group))
                replaced = True
    return replaced
