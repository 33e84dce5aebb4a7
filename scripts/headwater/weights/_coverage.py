"""Coverage: which tensors of a network a checkpoint fills, and what became of every other one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from torch import Tensor

COUNTER = "num_batches_tracked"
"""BatchNorm's count of batches: no weight."""

Tensors = Mapping[str, Tensor]


@dataclass(kw_only=True)
class Coverage:
    """What a checkpoint brings to a network; numbers count parameters and running statistics alike."""

    tensors: dict[str, Tensor]
    """What was taken over, in our spelling."""
    expected: dict[str, Tensor]
    renamed: dict[str, str] = field(default_factory=dict)
    """Our name by the checkpoint's."""
    interpolated: dict[str, str] = field(default_factory=dict)
    """What grid became what, by name."""
    mismatched: dict[str, str] = field(default_factory=dict)
    """Which shape met which, by name."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Why, by the checkpoint's name."""
    unexpected: list[str] = field(default_factory=list)

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
            "interpolated": self.interpolated,
            "missing": self.missing,
            "shape_mismatched": self.mismatched,
            "unexpected": self.unexpected,
            "dropped": self.dropped,
        }

    def table(self) -> str:
        """A few lines for people: how many tensors went which way, and the first names of each."""
        ways = {
            "renamed": [f"{theirs} -> {ours}" for theirs, ours in self.renamed.items()],
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
        return "\n".join(lines)

    def summary(self) -> str:
        """The share in words, such as `0 % (0 of 161 tensors)`; never rounded up to a full hundred."""
        percent = int(self.share * 1000) / 10
        return f"{percent:g} % ({len(self.tensors)} of {len(self.expected)} tensors)"


def match(
    found: Tensors,
    *,
    expected: Tensors,
    layout: ModuleType,
    prefix: str,
    resample: Callable[[str, Tensor], Tensor | None],
) -> Coverage:
    """What the tensors of a checkpoint become in a network, under a layout's rules.

    `resample` brings a position embedding to the network's grid, and gives None for any other tensor.
    """
    coverage = Coverage(tensors={}, expected=dict(expected))
    ours = _spelt(found, expected, layout, prefix, coverage)
    arrange = getattr(layout, "arrange", lambda tensors, _: tensors)
    for key, tensor in arrange(ours, expected.keys()).items():
        place = expected[key]
        if tensor.shape == place.shape:
            coverage.tensors[key] = tensor
        elif (fitting := resample(key, tensor)) is not None:
            coverage.tensors[key] = fitting
            coverage.interpolated[key] = _change(tensor, place)
        else:
            coverage.mismatched[key] = _change(tensor, place)
    return coverage


def nearest_prefix(found: Tensors, *, expected: Tensors, layout: ModuleType, prefix: str) -> str | None:
    """The prefix under which most tensors would find a place, if another than `prefix` does better."""
    counts = {candidate: _fits(found, expected, layout, candidate) for candidate in {"", *_prefixes(found)}}
    best = max(sorted(counts), key=lambda candidate: counts[candidate])
    return best if counts[best] > _fits(found, expected, layout, prefix) else None


def spell(key: str, layout: ModuleType, prefix: str) -> str | None:
    """A checkpoint's key in our spelling; None where it does not begin with the prefix."""
    if not key.startswith(prefix):
        return None
    ours = key.removeprefix(prefix)
    for pattern, replacement in layout.RULES:
        ours = re.sub(pattern, replacement, ours)
    return ours


def _spelt(found: Tensors, expected: Tensors, layout: ModuleType, prefix: str, coverage: Coverage) -> dict[str, Tensor]:
    """The tensors that the network has a place for, in our spelling; all others are noted in `coverage`."""
    placed: dict[str, Tensor] = {}
    for key, tensor in found.items():
        ours = spell(key, layout, prefix)
        if ours is None:
            coverage.dropped[key] = f"does not begin with the prefix {prefix!r}"
        elif ours in expected:
            placed[ours] = tensor
            coverage.renamed |= {key: ours} if ours != key else {}
        elif ours.endswith(COUNTER):
            continue
        elif reason := _reason(ours, layout):
            coverage.dropped[key] = reason
        else:
            coverage.unexpected.append(key)
    return placed


def _reason(key: str, layout: ModuleType) -> str | None:
    """Why a key that the network has no place for may be left behind."""
    return next((reason for pattern, reason in layout.DROPPED.items() if re.search(pattern, key)), None)


def _fits(found: Tensors, expected: Tensors, layout: ModuleType, prefix: str) -> int:
    return sum(spell(key, layout, prefix) in expected for key in found)


def _prefixes(found: Tensors) -> set[str]:
    """Every beginning of a key that ends in a dot."""
    return {key[: dot.end()] for key in found for dot in re.finditer(r"\.", key)}


def _change(tensor: Tensor, place: Tensor) -> str:
    return f"{' x '.join(map(str, tensor.shape))} -> {' x '.join(map(str, place.shape))}"
