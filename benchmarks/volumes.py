"""How long volumes take, beside the libraries that do the same work, in one run and in turns.

    python benchmarks/volumes.py [--parts outlines] [--masks 100] [--side 192]

`outlines`: Dice, HD95 and surface Dice of so many pairs of masks, beside MONAI's three functions called one by one; two
kinds, an organ and a cartilage a few voxels thin, each a little beside its reference. The values of both are compared.
Times are those of the machine as it is, on one thread, so believe the ratios: taken pair by pair, and told as the
median with the range of its middle nine tenths.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from headwater.core.progress import bar
from headwater.models import outlines

SPACING, TOLERANCE = (0.7, 0.365, 0.365), 1.0
"""Those of knees: mm."""


def masks(number: int, *, side: int, thin: bool) -> tuple[np.ndarray, np.ndarray]:
    """A structure and its outline by a network: bool (side, side, side) each."""
    draw, middle = np.random.default_rng(number), np.indices((side,) * 3, dtype=np.float32) - side / 2
    distance = np.sqrt((middle**2).sum(axis=0))
    radius = side * draw.uniform(0.2, 0.35)

    def drawn() -> np.ndarray:
        coarse = draw.standard_normal((side // 12 + 1,) * 3).astype(np.float32)
        rough = 0.02 * radius * ndimage.zoom(coarse, 12, order=1)[:side, :side, :side]
        outside = distance + rough < radius
        return outside & (distance + rough > radius - 4) & (middle[0] > 0) if thin else outside

    return drawn(), drawn()


def ours(predicted: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """(Dice, HD95, surface Dice)."""
    found = outlines.measure(predicted, reference, spacing=SPACING, tolerance=TOLERANCE)
    twice = 2 * found.true_positive
    return twice / (twice + found.false_positive + found.false_negative), found.hausdorff95, found.surface_dice


def by_monai(predicted: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """The same by MONAI's functions, one after the other."""
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice
    from monai.metrics.meandice import compute_dice

    both = [torch.from_numpy(mask)[None, None] for mask in (predicted, reference)]
    how = {"include_background": True, "spacing": list(SPACING)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dice = compute_dice(*(mask.float() for mask in both))
        distance = compute_hausdorff_distance(*both, percentile=95, **how)
        return float(dice), float(distance), float(compute_surface_dice(*both, class_thresholds=[TOLERANCE], **how))


def timed(way: Callable, *given: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """(seconds, values) of one call."""
    since = time.perf_counter()
    values = way(*given)
    return time.perf_counter() - since, values


def of_outlines(asked: argparse.Namespace) -> Iterator[dict[str, str]]:
    """A row for each kind of structure."""
    for kind in ("organ", "cartilage"):
        rows, apart = [], 0.0
        for number in bar(range(asked.masks), total=asked.masks, what=f"outlines, {kind}"):
            pair = masks(number, side=asked.side, thin=kind == "cartilage")
            (here, found), (there, theirs) = timed(ours, *pair), timed(by_monai, *pair)
            rows.append((here, there, there / here))
            apart = max(apart, max(abs(one - other) / max(other, 1) for one, other in zip(found, theirs, strict=True)))
        seconds, of_peer, ratio = np.array(rows).T
        low, middle, high = np.quantile(ratio, [0.05, 0.5, 0.95])
        yield {
            "what": f"outlines: {kind}, {asked.masks} pairs of {asked.side}³",
            "ours, s": f"{seconds.sum():.2f}",
            "peer, s": f"MONAI {of_peer.sum():.2f}",
            "peer / ours": f"{middle:.1f} [{low:.1f}, {high:.1f}]",
            "asked": "3",
            "note": f"values differ by {apart:.0e} at most",
        }


PARTS = {"outlines": of_outlines}


def main() -> None:
    """Print a table of what was timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--side", type=int, default=192)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for part in asked.parts for row in PARTS[part](asked)]
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
