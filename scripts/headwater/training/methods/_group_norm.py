"""BatchNorm over groups of a batch's images, as in MoCo's shuffling BatchNorm, where each GPU held one group.

MoCo compares queries with keys of the same batch and of earlier ones. With statistics over the whole batch, the network
could recognise keys of its own batch by these statistics, without looking at the images. So queries are normalised in
groups, and keys in other groups, of shuffled images (He et al. 2020, arXiv 1911.05722, section 3.3). Each group lies on
one rank, and the groups are the same for any number of ranks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater.training.methods import _ranks


class GroupedBatchNorm(nn.Module):
    """BatchNorm that uses the statistics of each group of `group` images in training; in evaluation like `norm`.

    It takes over the parameters, buffers and state names of `norm`, and the activation inside timm's BatchNorm layers.
    It does not inherit from torch's BatchNorm, so that `with_shared_statistics` leaves it alone.
    """

    CHANNELS_FIRST = True
    """Groups are folded into channels, for which values with channels last would be copied, there and back."""

    def __init__(self, norm: _BatchNorm, *, group: int):
        super().__init__()
        self._parameters, self._buffers, self._modules = norm._parameters, norm._buffers, norm._modules
        self.num_features, self.eps, self.momentum, self.group = norm.num_features, norm.eps, norm.momentum, group
        self.training = norm.training

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x (batch, channels, ...), after the activation of timm's layer if it has one."""
        normalised = self._over_groups(x) if self.training else self._with_running(x)
        for submodule in self._modules.values():
            normalised = submodule(normalised)
        return normalised

    def _over_groups(self, x: Tensor) -> Tensor:
        """Normalise by group: image i is in group i mod (number of groups)."""
        groups = len(x) // self.group
        # groups become extra channels of a batch of `group` images, so one call of batch_norm normalises all of them;
        # ranks hold every n-th image, so groups of every n-th image never cross ranks
        folded = x.reshape(self.group, groups * self.num_features, *x.shape[2:])
        mean, variance = self.running_mean.repeat(groups), self.running_var.repeat(groups)
        weight, bias = (None if values is None else values.repeat(groups) for values in (self.weight, self.bias))
        # updates the copies of the running statistics in place
        normalised = F.batch_norm(folded, mean, variance, weight, bias, True, self.momentum, self.eps)
        self._update_running(mean, variance)
        return normalised.view(x.shape)

    def _with_running(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Set the running statistics to the mean of those updated by each group, over all ranks."""
        statistics = torch.stack([mean, variance]).view(2, -1, self.num_features).mean(dim=1)
        for running, updated in zip((self.running_mean, self.running_var), _ranks.mean(statistics), strict=True):
            running.copy_(updated)
        self.num_batches_tracked.add_(1)


def in_groups(model: nn.Module, *, group: int) -> bool:
    """Replace each BatchNorm of the model by one over groups; whether there was any."""
    replaced = False
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(module, name, GroupedBatchNorm(child, group=group))
                replaced = True
    return replaced
