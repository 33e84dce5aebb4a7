"""The layout and prefix under which a checkpoint fits a network best, to suggest when the chosen ones do not fit."""

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
    """A layout and a prefix, and the coverage of the network with them."""

    layout: str
    prefix: str
    share: float


def layout(
    checkpoint: Tensors,
    *,
    chosen: str,
    backbone: str,
    dimensions: int,
    expected: Tensors,
    match: Callable[[str, str], Coverage],
) -> Spelling | None:
    """The spelling with the highest coverage of a backbone; None if all have none or there are too many keys to try.

    Ties are broken in favour of the layout whose `SIGNS` the file has, then the chosen layout, then the one with the
    fewest unexpected tensors, then that of the backbone's own library. `dimensions` are those of the checkpoint's
    network; `match` gives the coverage of a layout and prefix.
    """
    if len(checkpoint) > MOST_KEYS:
        return None
    ranked = []
    for name in registry.names("weights"):
        if dimensions not in registry.constant("weights", name, "DIMENSIONS", default=(2,)):
            continue
        module = registry.load("weights", name)
        best = prefix(checkpoint, expected=expected, layout=module)
        try:
            # a layout that reads the normalisation from the file's metadata only fits files with such metadata
            module.normalisation(backbone, {"mean": "[0]", "std": "[1]"} if name == chosen else {})
            covered = match(name, best)
        except UserError:
            continue
        signed = not best and _has_signs(checkpoint, getattr(module, "SIGNS", ()))
        rank = (covered.share, signed, name == chosen, -len(covered.unexpected), name == backbone.partition("/")[0])
        ranked.append((rank, Spelling(layout=name, prefix=best, share=covered.share)))
    best = max(ranked, key=lambda pair: pair[0], default=None)
    return best[1] if best and best[1].share else None


def _has_signs(checkpoint: Tensors, signs: tuple[str, ...]) -> bool:
    """Whether there are signs and the checkpoint has a key for each."""
    return bool(signs) and all(any(re.search(sign, key) for key in checkpoint) for sign in signs)


def prefix(checkpoint: Tensors, *, expected: Collection[str], layout: ModuleType) -> str:
    """The prefix under which the most tensors have a place in the network."""
    most_fits, best = _fits(checkpoint, expected, layout, ""), ""
    # the commonest prefixes first: once a prefix has too few keys to win, so have all after it
    for candidate, keys in sorted(_prefixes(checkpoint).items(), key=lambda pair: (-pair[1], pair[0])):
        if keys <= most_fits:
            break
        if (fits := _fits(checkpoint, expected, layout, candidate)) > most_fits:
            most_fits, best = fits, candidate
    return best


def _fits(checkpoint: Tensors, expected: Collection[str], layout: ModuleType, prefix: str) -> int:
    return sum(spell(key, layout, prefix) in expected for key in checkpoint)


def _prefixes(checkpoint: Tensors) -> Counter[str]:
    """All prefixes of keys that end in a dot or a slash, with the number of keys that have them."""
    return Counter(key[: end.end()] for key in checkpoint for end in re.finditer(r"[./]", key))
