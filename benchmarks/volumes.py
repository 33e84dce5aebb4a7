"""How long volumes take, beside the libraries that do the same work, in one run and in turns; and whether they teach.

    python benchmarks/volumes.py [--parts outlines] [--masks 100] [--side 192]
    python benchmarks/volumes.py --parts hippocampus --train /data/hippocampus [--steps 1500]

`outlines`: Dice, HD95 and surface Dice of so many pairs of masks, beside MONAI's three functions called one by one; two
kinds, an organ and a cartilage a few voxels thin, each a little beside its reference. The values of both are compared.
Times are those of the machine as it is, on one thread, so believe the ratios: taken pair by pair, and told as the
median with the range of its middle nine tenths.

`hippocampus`: the Decathlon's hippocampus (Task04; folders `images` and `labels`), from its files to the Dice of a
small U-Net on the fifth of the cases that nothing was learned from, and the CPU seconds of training and scoring.
"""

import argparse
import os
import sys
import tempfile
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
from headwater.data.store import CASES
from headwater.data.volume_preparation import CEILINGS
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models import outlines
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study.archive import Archive
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.source import Source
from headwater.study.target import evidence

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


STRUCTURES, PATCH = ("anterior", "posterior"), [32, 40, 32]
"""Of the hippocampus; a patch shows most of a volume, so that it tells front from back."""

PREPARED = {
    **dict.fromkeys(("cases", "labels", "rejects", "ceilings"), "parquet"),
    **dict.fromkeys(("images", "masks", "references", "hashes"), "npy"),
    "split": "json",
}


def of_hippocampus(asked: argparse.Namespace) -> Iterator[dict[str, str]]:
    """A row for each structure."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.{end}" for name, end in PREPARED.items()}
        options = {"structures": STRUCTURES, "images": "images", "labels": "labels"}
        # one image and two masks of the shipped archive have no partner
        archive = {"kind": {"name": "msd", "options": options}, "size": PATCH, "rejects": 0.02, "test": 0.2}
        prepare_volumes(archive=Archive(name="hippocampus", folder=str(asked.train), **archive), workers=1, **files)
        since = time.process_time()
        dice = learned(hippocampus(asked.steps), files, folder=Path(folder))
        minutes = (time.process_time() - since) / 60
        ceilings = CEILINGS.read(files["ceilings"]).query("split == 'test'").set_index("structure")["dice_mean"]
        learners = (CASES.read(files["cases"])["split"] == "train").sum()
        for structure in STRUCTURES:
            of_one = dice[structure]
            yield {
                "what": f"hippocampus: {structure}, {learners} cases learned from, {len(of_one)} tested",
                "ours, s": f"{60 * minutes:.0f} (CPU)",
                "Dice": f"{of_one.mean():.3f} [{of_one.min():.3f}, {of_one.max():.3f}]",
                "asked": "0.80 within 900 s",
                "note": f"the grid allows {ceilings[structure]:.3f}; {asked.steps} steps",
            }


def hippocampus(steps: int) -> Run:
    """The training of a U-Net of three levels from random weights."""
    return Run(
        dataset={
            **{"name": "hippocampus", "archive": "hippocampus", "task": "segmentation", "labels": STRUCTURES},
            "seen": Intensity(zscore=True),
        },
        source=Source(name="random", backbone="monai/dynunet_small", mean=(0.0,), std=(1.0,)),
        recipe={
            "name": "full",
            "training": {"steps": steps, "batch": 2, "lr": 0.003, "warmup_steps": 10, "validations": 5},
            "select": "dice",
        },
        seed=0,
    )


def learned(run: Run, files: dict[str, Path], *, folder: Path) -> dict[str, np.ndarray]:
    """The Dice of each test case by structure, of the step that validates best."""
    at = {"cases": files["cases"], "images": files["images"], "patch": PATCH}
    model = folder / "model.safetensors"
    finetune(run=run, model=model, fit=folder / "fit.json", progress=folder / "progress.pt", **at)
    tables = {name: [folder / f"{name}.parquet"] for name in ("predictions", "validation")}
    predict(runs=[run], models=[model], **tables, **at)
    table = with_evidence(PREDICTIONS, evidence(run.dataset.tasks)).read(tables["predictions"][0])
    twice = 2 * table["true_positive"]
    table["dice"] = twice / (twice + table["false_positive"] + table["false_negative"])
    return {label: of_one["dice"].to_numpy() for label, of_one in table.groupby("label")}


PARTS = {"outlines": of_outlines, "hippocampus": of_hippocampus}


def main() -> None:
    """Print a table of what was timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["outlines"])
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--train", type=Path, help="the folder of Task04 of the Decathlon")
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args()
    if "hippocampus" in asked.parts and asked.train is None:
        parser.error("--parts hippocampus needs --train FOLDER")
    torch.set_num_threads(1)
    rows = [row for part in asked.parts for row in PARTS[part](asked)]
    print(pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    main()
