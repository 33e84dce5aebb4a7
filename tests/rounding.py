"""Rounding told from faults: in float64 a fault stays as large as it is, and rounding all but goes.

Run as a script it runs another one in float64: `python rounding.py SCRIPT WORDS`.
"""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

NEAR = {"rtol": 1e-9, "atol": 1e-9}
"""What two ways to the same numbers may differ by in float64.

A rounding is 1e-16 there; a bound of 1e-9 leaves room for it to grow ten million-fold over sums, layers and steps.
"""
UNIT = 2.0**-53
"""The largest relative error of one operation in float64."""


@contextmanager
def in_float64() -> Iterator[None]:
    """Inside, or in a function that this decorates, torch makes and computes float64 where it would float32.

    A ReLU's gradient jumps at 0. In float32 the order of a sum, which differs between processors, can move an
    activation across 0 and change a gradient by a percent. No activation lies that close to 0 in float64.
    """
    single, kind = torch.Tensor.float, torch.get_default_dtype()
    # the library says `float()` where it must be no less than float32 under autocast
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(kind)
        torch.Tensor.float = single


def of_sum(terms: int) -> float:
    """The largest relative error of a sum of so many products of one sign in float64, in whatever order."""
    return 2 * (terms + 1) * UNIT


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    with in_float64():
        runpy.run_path(sys.argv[0], run_name="__main__")
