"""Nearest: the layout and prefix under which a checkpoint would fit a network best, for those who named another."""

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import ModuleType

from headwater.core import registry
from headwater.core.errors import UserError
from headwater.models.weight_coverage import Coverage, Tensors, spell

MOST_KEYS = 20_000
"""Tensors of a checkpoint beyond which no other spelling is looked for; the largest networks have a few thousand."""


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """A layout and a prefix, and how much of the network they would fill."""

    layout: str
    prefix: str
    share: float


def layout(
    checkpoint: Tensors,
    *,
    chosen: str,
    backbone: str,
    expected: Tensors,
    match: Callable[[str, str], Coverage],
) -> Spelling | None:
    """The spelling that fills most of a backbone; None where none fills anything, or there are too many keys to try.

    Of several that fill as much: the one whose signs the file bears, then the chosen layout, then the one that leaves
    fewest tensors over, then that of the backbone's own library. `match` tells what a layout and a prefix cover.
    """
    if len(checkpoint) > MOST_KEYS:
        return None
    ranked = []
    looks_at = registry.constant("backbones", backbone.partition("/")[0], "DIMENSIONS", default=2)
    for name in registry.names("weights"):
        if looks_at not in registry.constant("weights", name, "DIMENSIONS", default=(2,)):
            continue
        module = registry.load("weights", name)
        best = prefix(checkpoint, expected=expected, layout=module)
        try:
            # a layout that needs to be told the normalisation by the file fits none but its own files
            module.normalisation(backbone, {"mean": "[0]", "std": "[1]"} if name == chosen else {})
            covered = match(name, best)
        except UserError:
            continue
        signed = not best and _bears(checkpoint, getattr(module, "SIGNS", ()))
        rank = (covered.share, signed, name == chosen, -len(covered.unexpected), name == backbone.partition("/")[0])
        ranked.append((rank, Spelling(layout=name, prefix=best, share=covered.share)))
    best = max(ranked, key=lambda pair: pair[0], default=None)
    return best[1] if best and best[1].share else None


def _bears(checkpoint: Tensors, signs: tuple[str, ...]) -> bool:
    """Whether there are signs, and the checkpoint has a key for each."""
    return bool(signs) and all(any(re.search(sign, key) for key in checkpoint) for sign in signs)


def prefix(checkpoint: Tensors, *, expected: Collection[str], layout: ModuleType) -> str:
    """The prefix under which most tensors would find a place."""
    most, best = _fits(checkpoint, expected, layout, ""), ""
    for candidate, keys in sorted(_prefixes(checkpoint).items(), key=lambda pair: (-pair[1], pair[0])):
        if keys <= most:
            break
        if (fits := _fits(checkpoint, expected, layout, candidate)) > most:
            most, best = fits, candidate
    return best


def _fits(checkpoint: Tensors, expected: Collection[str], layout: ModuleType, prefix: str) -> int:
    return sum(spell(key, layout, prefix) in expected for key in checkpoint)


def _prefixes(checkpoint: Tensors) -> Counter[str]:
    """Every beginning of a key that ends in a dot or a slash, and how many keys begin with it."""
    return Counter(key[: end.end()] for key in checkpoint for end in re.finditer(r"[./]", key))
