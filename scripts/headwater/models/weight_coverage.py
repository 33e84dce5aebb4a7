"""Coverage: which tensors of a network a checkpoint fills, and what became of every other one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from headwater.core.errors import UserError
from headwater.models.encoder import NO_WEIGHTS

Tensors = Mapping[str, Tensor]
Resample = Callable[[str, Tensor], Tensor | None]


@dataclass(kw_only=True)
class Coverage:
    """What a checkpoint brings to a network; numbers count parameters and running statistics alike."""

    tensors: dict[str, Tensor]
    """What was taken over, in our spelling."""
    expected: dict[str, Tensor]
    renamed: dict[str, str] = field(default_factory=dict)
    """Our name by the checkpoint's."""
    arranged: dict[str, str] = field(default_factory=dict)
    """What became of tensors that were more than renamed, by the checkpoint's name."""
    interpolated: dict[str, str] = field(default_factory=dict)
    """What grid became what, by name."""
    mismatched: dict[str, str] = field(default_factory=dict)
    """Which shape met which, by name."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Why, by the checkpoint's name."""
    unexpected: list[str] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    """What a reader of the results must know: the network does not compute quite what the published one does."""

    @property
    def missing(self) -> list[str]:
        """Tensors of the network that nothing was loaded into."""
        return sorted(self.expected.keys() - self.tensors.keys() - self.mismatched.keys())

    @property
    def parameters(self) -> int:
        """How many numbers of the network were loaded."""
        return sum(self.expected[key].numel() for key in self.tensors)

    @property
    def parameters_expected(self) -> int:
        """How many numbers the network has."""
        return sum(tensor.numel() for tensor in self.expected.values())

    @property
    def share(self) -> float:
        """Loaded numbers / numbers of the network."""
        return self.parameters / self.parameters_expected

    def report(self) -> dict[str, Any]:
        """Everything as it goes into the coverage file."""
        return {
            "share": self.share,
            "tensors": {"loaded": len(self.tensors), "expected": len(self.expected)},
            "parameters": {"loaded": self.parameters, "expected": self.parameters_expected},
            "renamed": self.renamed,
            "arranged": self.arranged,
            "interpolated": self.interpolated,
            "missing": self.missing,
            "shape_mismatched": self.mismatched,
            "unexpected": self.unexpected,
            "dropped": self.dropped,
            "footnotes": self.footnotes,
        }

    def table(self) -> str:
        """A few lines for people: how many tensors went which way, and the first names of each."""
        ways = {
            "renamed": [f"{theirs} -> {ours}" for theirs, ours in self.renamed.items()],
            "arranged": [f"{name} ({how})" for name, how in self.arranged.items()],
            "interpolated": [f"{name} {how}" for name, how in self.interpolated.items()],
            "missing": self.missing,
            "shape-mismatched": [f"{name} {how}" for name, how in self.mismatched.items()],
            "unexpected": self.unexpected,
            "dropped": [f"{name} ({reason})" for name, reason in self.dropped.items()],
        }
        loaded = f"{self.parameters:,} of {self.parameters_expected:,} parameters"
        lines = [f"{'loaded':<17}{len(self.tensors):>5} of {len(self.expected)} tensors, {loaded}"]
        for way, names in ways.items():
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            lines.append(f"{way:<17}{len(names):>5}  {shown}".rstrip())
        return "\n".join([*lines, *(f"footnote: {footnote}" for footnote in self.footnotes)])

    def summary(self) -> str:
        """The share in words, such as `0 % (0 of 161 tensors)`; never rounded up to a full hundred."""
        percent = int(self.share * 1000) / 10
        return f"{percent:g} % ({len(self.tensors)} of {len(self.expected)} tensors)"


def match(
    checkpoint: Tensors,
    *,
    expected: Tensors,
    layout: ModuleType,
    prefix: str,
    resample: Resample,
    resample_patch: Resample = lambda key, tensor: None,
    file: str = "",
) -> Coverage:
    """What the tensors of a checkpoint become in a network, under a layout's rules.

    `resample` brings a position embedding to the network's grid where the layout does not, and gives None for any other
    tensor; `resample_patch` likewise brings a patch embedding to the network's patches, which is footnoted. A tensor
    whose values cannot be weights is refused by name: of integers, NaN, infinite, or a negative variance.
    """
    coverage = Coverage(tensors={}, expected=dict(expected))
    ours = _spelt(checkpoint, layout, prefix, coverage)
    for theirs, key in ours.items():
        if key in expected or _reason(key, getattr(layout, "ARRANGED", {})):
            _refuse_unusable(checkpoint[theirs], theirs, key=key, place=expected.get(key), file=file)
    arrange = getattr(layout, "arrange", lambda tensors, _: tensors)
    arranged = arrange({ours[key]: checkpoint[key] for key in ours}, expected.keys())
    _account(ours, arranged, layout, coverage)
    published = getattr(layout, "resample", lambda key, tensor, shape: None)
    for key, tensor in arranged.items():
        if key not in expected:
            continue
        place = expected[key].shape
        if tensor.shape == place:
            coverage.tensors[key] = tensor
        elif (fitting := published(key, tensor, place)) is not None or (fitting := resample(key, tensor)) is not None:
            _interpolate(key, tensor, fitting, coverage)
        elif (fitting := resample_patch(key, tensor)) is not None:
            _interpolate(key, tensor, fitting, coverage)
            change = coverage.interpolated[key]
            coverage.footnotes.append(f"{key} was resampled ({change}): the first layer is no longer the published one")
        else:
            coverage.mismatched[key] = _change(tensor, place)
    return coverage


def spell(key: str, layout: ModuleType, prefix: str) -> str | None:
    """A checkpoint's key in our spelling; None where it does not begin with the prefix."""
    if not key.startswith(prefix):
        return None
    ours = key.removeprefix(prefix)
    for pattern, replacement in layout.RULES:
        ours = re.sub(pattern, replacement, ours)
    return ours


def _spelt(checkpoint: Tensors, layout: ModuleType, prefix: str, coverage: Coverage) -> dict[str, str]:
    """Our name for each of the checkpoint's that begins with the prefix; the others are noted as dropped."""
    names = {key: spell(key, layout, prefix) for key in checkpoint}
    outside = f"does not begin with the prefix {prefix!r}"
    coverage.dropped |= {key: outside for key, ours in names.items() if ours is None}
    return {key: ours for key, ours in names.items() if ours is not None}


def _account(names: Mapping[str, str], arranged: Tensors, layout: ModuleType, coverage: Coverage) -> None:
    """Note what became of each tensor of the checkpoint."""
    for theirs, ours in names.items():
        if ours not in arranged:
            coverage.arranged[theirs] = _reason(ours, layout.ARRANGED)
        elif ours in coverage.expected:
            coverage.renamed |= {theirs: ours} if ours != theirs else {}
        elif ours.endswith(NO_WEIGHTS):
            continue
        elif reason := _reason(ours, layout.DROPPED):
            coverage.dropped[theirs] = reason
        else:
            coverage.unexpected.append(theirs)


def _refuse_unusable(tensor: Tensor, name: str, *, key: str, place: Tensor | None, file: str) -> None:
    """Refuse a tensor whose values no network can have been trained to; tables of whole numbers are left alone."""
    if place is not None and not place.is_floating_point():
        return
    if what := _unusable(tensor, key=key):
        raise UserError(f"tensor {name} {what}", file=file, remedy="ask its publisher for float weights of the network")


def _unusable(tensor: Tensor, *, key: str) -> str:
    """What makes a tensor unfit for a place of float weights; empty where nothing does."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "is sparse or quantized"
    if not tensor.is_floating_point():
        return f"holds {str(tensor.dtype).removeprefix('torch.')} numbers, not float"
    if tensor.is_meta:
        # shapes alone, of which nothing more can be asked
        return ""
    # what is finite in float64 need not be in the network's float32
    values = tensor.to(torch.float32)
    if bad := int((~torch.isfinite(values)).sum()):
        return f"holds {bad:,} of {values.numel():,} values that are NaN or infinite in float32"
    if key.endswith("running_var") and (values < 0).any():
        return "is a running variance and holds negative values"
    return ""


def _interpolate(key: str, tensor: Tensor, fitting: Tensor, coverage: Coverage) -> None:
    """Take what a tensor of another shape has become."""
    coverage.tensors[key] = fitting
    coverage.interpolated[key] = _change(tensor, fitting.shape)


def _reason(key: str, reasons: Mapping[str, str]) -> str:
    """The reason whose pattern is found in a key; empty where there is none."""
    return next((reason for pattern, reason in reasons.items() if re.search(pattern, key)), "")


def _change(tensor: Tensor, shape: torch.Size) -> str:
    return f"{' x '.join(map(str, tensor.shape))} -> {' x '.join(map(str, shape))}"
