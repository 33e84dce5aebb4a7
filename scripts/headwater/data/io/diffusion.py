"""Reads with which b-value and in which direction an MR slice was weighted for diffusion.

A diffusion series has several volumes at the same positions, which differ in nothing else.
"""

from collections.abc import Iterator
from typing import Any

import pydicom

GROUP = "MRDiffusionSequence"
"""Holds both in enhanced files (DICOM PS3.3 C.8.13.5.9)."""

PRIVATE = (
    (0x0019, "SIEMENS MR HEADER", 0x0C, (0x0E,)),
    (0x0043, "GEMS_PARM_01", 0x39, ()),
    (0x2001, "Philips Imaging DD 001", 0x03, ()),
)
"""Where vendors keep them: group, creator, element of the b-value, elements of the direction."""

OFFSET = 100_000
"""GE adds multiples of it to its b-values."""

NONE = "b=0"


def weighting(groups: pydicom.Dataset, dataset: pydicom.Dataset) -> str:
    """The b-value and the direction of a slice as text; "" if neither is stated."""
    b_values, directions = [], []
    for value, direction in (*_standard(groups, dataset), *_private(dataset)):
        b_values += [f"b={value:g}"] if value is not None else []
        directions += [direction] if direction else []
    # a slice without weighting has no direction, although some scanners write one
    b_value = b_values[0] if b_values else ""
    return b_value if b_value == NONE or not directions else f"{b_value} direction={directions[0]}".strip()


def is_weighted(text: str) -> bool:
    """Whether the text of `weighting` is that of a slice weighted for diffusion."""
    return text not in ("", NONE)


def _standard(groups: pydicom.Dataset, dataset: pydicom.Dataset) -> Iterator[tuple[float | None, str]]:
    """(b-value, direction) by the frame's functional groups, and by the header."""
    for header in [*(groups.get(GROUP) or []), dataset]:
        inner = (header.get("DiffusionGradientDirectionSequence") or [header])[0]
        yield _number(header.get("DiffusionBValue")), _text(inner.get("DiffusionGradientOrientation"))


def _private(dataset: pydicom.Dataset) -> Iterator[tuple[float | None, str]]:
    """(b-value, direction) by vendors' elements."""
    for group, creator, b_value, directions in PRIVATE:
        try:
            block = dataset.private_block(group, creator)
        except KeyError:
            continue
        value = _number(block[b_value].value) if b_value and b_value in block else None
        yield value, " ".join(_text(block[element].value) for element in directions if element in block)


def _number(value: Any) -> float | None:
    """A b-value as a number; None if it is none."""
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace").strip(" \0").split("\\")
    first = value[0] if isinstance(value, list | pydicom.multival.MultiValue) and len(value) else value
    try:
        return float(first) % OFFSET
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """A direction as text, which is compared only."""
    return "" if value is None else str(value)
