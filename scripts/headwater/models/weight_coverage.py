"""Coverage: which tensors of a network were loaded from a checkpoint, and what happened to all others."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from headwater.core.errors import UserError
from headwater.models.encoder import NO_WEIGHTS

Tensors = Mapping[str, Tensor]
Inflate = Callable[[Tensors, Tensors], tuple[dict[str, Tensor], dict[str, str]]]
Resample = Callable[[str, Tensor], Tensor | None]


@dataclass(kw_only=True)
class Coverage:
    """The tensors of a network that a checkpoint provides; counts include parameters and running statistics."""

    tensors: dict[str, Tensor]
    """Loaded tensors, by the network's names."""
    expected: dict[str, Tensor]
    decoder: tuple[str, ...] = ()
    """How the names of the network's decoder begin, which only outlines structures; all others are its encoder."""
    renamed: dict[str, str] = field(default_factory=dict)
    """The network's name, by the checkpoint's."""
    arranged: dict[str, str] = field(default_factory=dict)
    """How tensors were changed that had to be more than renamed, by the checkpoint's name."""
    interpolated: dict[str, str] = field(default_factory=dict)
    """Old and new shape, by name."""
    inflated: dict[str, str] = field(default_factory=dict)
    """Old and new shape, by name, of what was a network of slices and is one of volumes."""
    mismatched: dict[str, str] = field(default_factory=dict)
    """The checkpoint's and the network's shape, by name."""
    dropped: dict[str, str] = field(default_factory=dict)
    """The reason, by the checkpoint's name."""
    unexpected: list[str] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)
    """Differences from the published network's computation that readers of the results must know."""

    @property
    def missing(self) -> list[str]:
        """Tensors of the network that the checkpoint does not have."""
        return sorted(self.expected.keys() - self.tensors.keys() - self.mismatched.keys())

    @property
    def parameters(self) -> int:
        """The number of loaded parameters."""
        return sum(self.expected[key].numel() for key in self.tensors)

    @property
    def parameters_expected(self) -> int:
        """The number of parameters of the network."""
        return sum(tensor.numel() for tensor in self.expected.values())

    @property
    def share(self) -> float:
        """The fraction of the network's parameters that were loaded."""
        return self.parameters / self.parameters_expected

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Loaded and expected parameters, and their share, of the encoder and of the decoder, if there is one."""
        parts = {}
        for part in ("encoder", "decoder"):
            names = [key for key in self.expected if key.startswith(self.decoder or ("\0",)) == (part == "decoder")]
            whole = sum(self.expected[key].numel() for key in names)
            loaded = sum(self.expected[key].numel() for key in names if key in self.tensors)
            parts |= {part: {"share": loaded / whole, "loaded": loaded, "expected": whole}} if whole else {}
        return parts

    def report(self) -> dict[str, Any]:
        """The contents of the coverage file."""
        return {
            "share": self.share,
            "tensors": {"loaded": len(self.tensors), "expected": len(self.expected)},
            "parameters": {"loaded": self.parameters, "expected": self.parameters_expected},
            **self.parts,
            "renamed": self.renamed,
            "arranged": self.arranged,
            "interpolated": self.interpolated,
            "inflated": self.inflated,
            "missing": self.missing,
            "shape_mismatched": self.mismatched,
            "unexpected": self.unexpected,
            "dropped": self.dropped,
            "footnotes": self.footnotes,
        }

    def table(self) -> str:
        """A few lines for people: the number of tensors in each category, and the first of their names."""
        categories = {
            "renamed": [f"{old} -> {new}" for old, new in self.renamed.items()],
            "arranged": [f"{name} ({how})" for name, how in self.arranged.items()],
            "interpolated": [f"{name} {how}" for name, how in self.interpolated.items()],
            "inflated": [f"{name} {how}" for name, how in self.inflated.items()],
            "missing": self.missing,
            "shape-mismatched": [f"{name} {how}" for name, how in self.mismatched.items()],
            "unexpected": self.unexpected,
            "dropped": [f"{name} ({reason})" for name, reason in self.dropped.items()],
        }
        loaded = f"{self.parameters:,} of {self.parameters_expected:,} parameters"
        lines = [f"{'loaded':<17}{len(self.tensors):>5} of {len(self.expected)} tensors, {loaded}"]
        lines += [f"  {part:<15}{self._share_of(part)}" for part in self.parts if self.decoder]
        for category, names in categories.items():
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            lines.append(f"{category:<17}{len(names):>5}  {shown}".rstrip())
        return "\n".join([*lines, *(f"footnote: {footnote}" for footnote in self.footnotes)])

    def summary(self) -> str:
        """The coverage as text, such as `0 % (0 of 161 tensors)`, and the shares of encoder and decoder."""
        apart = "".join(f", {part} {percent(self.parts[part]['share'])}" for part in self.parts if self.decoder)
        return f"{percent(self.share)} ({len(self.tensors)} of {len(self.expected)} tensors{apart})"

    def _share_of(self, part: str) -> str:
        """The coverage of a part for people."""
        found = self.parts[part]
        return f"{percent(found['share']):>7}: {found['loaded']:,} of {found['expected']:,} parameters"


def percent(share: float) -> str:
    """A share in per cent, rounded down, so that an incomplete one never reads 100 %."""
    return f"{int(share * 1000) / 10:g} %"


def match(
    checkpoint: Tensors,
    *,
    expected: Tensors,
    layout: ModuleType,
    prefix: str,
    resample: Resample,
    resample_patch: Resample = lambda key, tensor: None,
    inflate: Inflate | None = None,
    decoder: tuple[str, ...] = (),
    file: str = "",
) -> Coverage:
    """The coverage of a network by a checkpoint under a layout's rules.

    `resample` brings position embeddings to the network's grid if the layout does not, and returns None for any other
    tensor; `resample_patch` likewise brings patch embeddings to the network's patch size, with a footnote. `inflate`
    makes the tensors of a network of slices those of a network of volumes. `decoder`: how the names of one begin.
    Values that cannot be weights raise a `UserError`: integers, NaN, infinite, a variance that is negative or zero
    throughout, and more than half of all tensors of weights zero.
    """
    coverage = Coverage(tensors={}, expected=dict(expected), decoder=decoder)
    names = _renamed(checkpoint, layout, prefix, coverage, file=file)
    replaced = getattr(layout, "ARRANGED", {})
    placed = [key for key, name in names.items() if name in expected or _reason(name, replaced)]
    _refuse_zeroed([checkpoint[key] for key in placed], file=file)
    for key in placed:
        _refuse_unusable(checkpoint[key], key, name=names[key], place=expected.get(names[key]), file=file)
    arrange = getattr(layout, "arrange", lambda tensors, _: tensors)
    arranged = arrange({names[key]: checkpoint[key] for key in names}, expected.keys())
    _account(names, arranged, layout, coverage)
    if inflate:
        arranged, coverage.inflated = inflate(arranged, expected)
    # the publisher's own interpolation comes first, because it may differ from the library's in detail
    published = getattr(layout, "resample", lambda key, tensor, shape: None)
    for key, tensor in arranged.items():
        if key not in expected:
            continue
        shape = expected[key].shape
        if tensor.shape == shape:
            coverage.tensors[key] = tensor
        elif (fitting := published(key, tensor, shape)) is not None or (fitting := resample(key, tensor)) is not None:
            _interpolate(key, tensor, fitting, coverage)
        elif (fitting := resample_patch(key, tensor)) is not None:
            _interpolate(key, tensor, fitting, coverage)
            change = coverage.interpolated[key]
            coverage.footnotes.append(f"{key} was resampled ({change}): the first layer is no longer the published one")
        else:
            coverage.mismatched[key] = _change(tensor, shape)
    return coverage


def spell(key: str, layout: ModuleType, prefix: str) -> str | None:
    """A checkpoint's key translated to the network's name; None if it does not begin with the prefix."""
    if not key.startswith(prefix):
        return None
    name = key.removeprefix(prefix)
    for pattern, replacement in layout.RULES:
        name = re.sub(pattern, replacement, name)
    return name


def _renamed(checkpoint: Tensors, layout: ModuleType, prefix: str, coverage: Coverage, *, file: str) -> dict[str, str]:
    """The network's name for each checkpoint key that begins with the prefix; others are recorded as dropped."""
    names = {key: spell(key, layout, prefix) for key in checkpoint}
    reason = f"does not begin with the prefix {prefix!r}"
    coverage.dropped |= {key: reason for key, name in names.items() if name is None}
    _refuse_two_of_one_name(names, coverage, file=file)
    return {key: name for key, name in names.items() if name is not None}


def _refuse_two_of_one_name(names: Mapping[str, str | None], coverage: Coverage, *, file: str) -> None:
    """Refuse a checkpoint two of whose tensors would fill one place: which of them was meant, nobody can tell."""
    key_of: dict[str, str] = {}
    for key, name in names.items():
        if name in coverage.expected and key_of.setdefault(name, key) != key:
            raise UserError(
                f"tensors {key_of[name]} and {key} are both {name} of the network",
                file=file,
                remedy="set prefix to choose one of the networks in the file",
            )


def _account(names: Mapping[str, str], arranged: Tensors, layout: ModuleType, coverage: Coverage) -> None:
    """Record what happened to each tensor of the checkpoint."""
    for key, name in names.items():
        if name not in arranged:
            coverage.arranged[key] = _reason(name, layout.ARRANGED)
        elif name in coverage.expected:
            coverage.renamed |= {key: name} if name != key else {}
        elif name.endswith(NO_WEIGHTS):
            continue
        elif reason := _reason(name, layout.DROPPED):
            coverage.dropped[key] = reason
        else:
            coverage.unexpected.append(key)


def _refuse_unusable(tensor: Tensor, key: str, *, name: str, place: Tensor | None, file: str) -> None:
    """Refuse a tensor whose values cannot be those of a trained network; index tables are not checked."""
    if place is not None and not place.is_floating_point():
        return
    if what := _unusable(tensor, name=name):
        raise UserError(f"tensor {key} {what}", file=file, remedy="ask its publisher for float weights of the network")


def _unusable(tensor: Tensor, *, name: str) -> str:
    """The reason why a tensor cannot be float weights; empty if there is none."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return "is sparse or quantized"
    if not tensor.is_floating_point():
        return f"holds {str(tensor.dtype).removeprefix('torch.')} numbers, not float"
    if tensor.is_meta:
        # a shape without values
        return ""
    # what is finite in float64 need not be in the network's float32
    values = tensor.to(torch.float32)
    if not values.numel():
        return ""
    # NaN and infinite numbers reach the extremes, which are found ten times as fast as each is looked at
    lowest, highest = torch.aminmax(values)
    if not (lowest.isfinite() and highest.isfinite()):
        bad = int((~torch.isfinite(values)).sum())
        return f"holds {bad:,} of {values.numel():,} values that are NaN or infinite in float32"
    if name.endswith("running_var") and lowest < 0:
        return "is a running variance and holds negative values"
    if name.endswith("running_var") and highest == 0:
        return "is a running variance and holds zeros only"
    return ""


def _refuse_zeroed(tensors: Iterable[Tensor], *, file: str) -> None:
    """Refuse tensors of weights most of which are zero, as in a download that reserved its space and broke off.

    A few may be meant: mask tokens that were never trained, and the last layers of branches.
    """
    weights = [tensor for tensor in tensors if tensor.ndim > 1 and tensor.is_floating_point() and not tensor.is_meta]
    weights = [tensor for tensor in weights if tensor.layout == torch.strided and not tensor.is_quantized]
    zeroed = [tensor for tensor in weights if not tensor.to(torch.float32).any()]
    if 2 * len(zeroed) > len(weights):
        raise UserError(
            f"{len(zeroed)} of {len(weights)} tensors of weights hold zeros only",
            file=file,
            remedy="download it again, and compare its checksum",
        )


def _interpolate(key: str, tensor: Tensor, fitting: Tensor, coverage: Coverage) -> None:
    """Record an interpolated tensor as loaded."""
    coverage.tensors[key] = fitting
    coverage.interpolated[key] = _change(tensor, fitting.shape)


def _reason(key: str, reasons: Mapping[str, str]) -> str:
    """The reason whose pattern matches the key; empty if there is none."""
    return next((reason for pattern, reason in reasons.items() if re.search(pattern, key)), "")


def _change(tensor: Tensor, shape: torch.Size) -> str:
    return f"{' x '.join(map(str, tensor.shape))} -> {' x '.join(map(str, shape))}"
