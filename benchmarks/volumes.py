"""How long volumes take, beside the libraries that do the same work, in one run and in turns; and whether they teach.

    python benchmarks/volumes.py [--parts outlines] [--masks 100] [--side 192]
    python benchmarks/volumes.py --parts patches views windows [--gigabytes 20] [--repeats 30]
    python benchmarks/volumes.py --parts hippocampus --train /data/hippocampus [--steps 1500]

`outlines`: Dice, HD95 and surface Dice of so many pairs of masks, beside MONAI's three functions called one by one; two
kinds, an organ and a cartilage a few voxels thin, each a little beside its reference. The values of both are compared.
Times are those of the machine as it is, on one thread, so believe the ratios: taken pair by pair, and told as the
median with the range of its middle nine tenths.

`patches`: an image and its mask of 96^3 voxels from the memory map of knees (160 x 384 x 384), as training reads them,
beside the same from a file a case, read whole (NIfTI, compressed, and NumPy's, not compressed and in the page cache),
and from chunks that are compressed by blosc2 as nnU-Net does it (where blosc2 is installed); and how much memory a
process of its own holds while it reads patches all over a map of so many gigabytes.

`views`: a turned, zoomed and shifted image and mask of 96^3 voxels, beside MONAI's RandAffined on the same patch.

`windows`: a part of a knee through a small U-Net by overlapping windows, beside MONAI's sliding window by itself.

`hippocampus`: the Decathlon's hippocampus (Task04; folders `images` and `labels`), from its files to the Dice of a
small U-Net on the fifth of the cases that nothing was learned from, and the CPU seconds of training and scoring.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import nibabel
import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from headwater.core.progress import bar
from headwater.data.sliding import OVERLAP
from headwater.data.store import CASES, digest
from headwater.data.volume_preparation import CEILINGS
from headwater.data.volumes import Volumes
from headwater.evaluation.predictions import PREDICTIONS, with_evidence
from headwater.models import backbones, outlines
from headwater.models.task_network import TaskNetwork
from headwater.models.task_set import TaskSet
from headwater.models.tasks import Task
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.stages.prepare_volumes import prepare_volumes
from headwater.study.archive import Archive
from headwater.study.grid import Run
from headwater.study.intensity import Intensity
from headwater.study.recipe import Views
from headwater.study.source import Source
from headwater.study.target import evidence
from headwater.training.reading import volumes as volume_reading
from headwater.training.reading.volumes import Asked
from headwater.training.views.volumes import Patches, augment, placed

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


SIDE = 96
"""Of a patch, in voxels."""

KNEE = (160, 384, 384)
"""Voxels of a knee of the OAI, sagittal slices first."""

PART = (96, 192, 192)
"""Voxels of the part of it that windows are laid over, nine of them: a whole knee has 147."""

CHUNKS = {"image": ((1, 96, 128, 128), (1, 32, 32, 32)), "mask": ((1, 144, 144, 144), (1, 64, 64, 32))}
"""Chunks and blocks of nnU-Net 2.8.1 for such files and patches of 96^3 (comp_blosc2_params in nnunet_dataset.py)."""


def knees(folder: Path, *, count: int, shape: tuple[int, ...] = KNEE) -> pd.DataFrame:
    """Write so many knees, smooth noise and two structures, each shifted otherwise; their table."""
    draw = np.random.default_rng(0)
    coarse = draw.standard_normal([side // 16 for side in shape]).astype(np.float32)
    image = (500 + 200 * ndimage.zoom(coarse, 16, order=1) + draw.normal(0, 20, shape)).astype(np.int16)
    both = {"images": image, "masks": (image > 650).astype(np.uint8) + (image > 750)}
    digests: dict[str, list[str]] = {}
    for name, values in both.items():
        flat = np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+", dtype=values.dtype, shape=(count * values.size,)
        )
        kept = []
        for number, place in enumerate(flat.reshape(count, *shape)):
            place[:] = np.roll(values, number, axis=0)
            kept.append(digest(place))
        flat.flush()
        digests[name] = kept
    sides = dict.fromkeys(("shape", "source_shape", "kept"), shape) | {"crop": (0, 0, 0)}
    spacings = dict.fromkeys(("spacing", "source_spacing"), SPACING)
    columns = {
        f"{what}_{axis}": value
        for what, along in (sides | spacings).items()
        for axis, value in zip("xyz", along, strict=True)
    }
    columns |= {"slope": 1.0, "intercept": 0.0, "mean": 500.0, "std": 200.0, "low": 0.0, "high": 1000.0}
    offsets = np.arange(count) * image.size
    return pd.DataFrame({"offset": offsets, "reference_offset": offsets}).assign(
        **columns, pixels=digests["images"], outline=digests["masks"], reference=digests["masks"]
    )


def opened(table: pd.DataFrame, folder: Path) -> Volumes:
    """The knees of this folder as networks see them."""
    files = {"images": folder / "images.npy", **dict.fromkeys(("masks", "references"), folder / "masks.npy")}
    seen, structures = Intensity(zscore=True), ("bone", "cartilage")
    return Volumes(table, **files, structures=structures, seen=seen, patch=(SIDE,) * 3)


def of_patches(asked: argparse.Namespace) -> Iterator[dict[str, str]]:
    """A row for each peer, and one of memory."""
    one = 2 * int(np.prod(KNEE))
    count = max(4, round(asked.gigabytes * 1e9 / one))
    with tempfile.TemporaryDirectory() as folder:
        table = knees(Path(folder), count=count)
        # the pages that this process touched while it wrote are its own, so what is measured has another
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            before, most = process.submit(_read_all_over, table, Path(folder)).result()
        volumes = opened(table, Path(folder))
        draw = np.random.default_rng(1)
        cuts = [
            (int(draw.integers(min(count, 8))), tuple(int(draw.integers(side - SIDE + 1)) for side in KNEE))
            for _ in range(asked.repeats)
        ]
        peers = {
            "a NIfTI file a case (.nii.gz), read whole": _by_nifti(volumes, Path(folder)),
            "a NumPy file a case, read whole": _by_whole_files(volumes, Path(folder)),
        }
        if importlib.util.find_spec("blosc2"):
            peers["blosc2"] = _by_chunks(volumes, Path(folder))
        # the first read of a case compares it with its digest, which is once a training
        for row in {row for row, _ in cuts}:
            volumes.mask(row), volumes.image(row)
        for name, peer in peers.items():
            taken = [[_seconds(way, row, at) for way in (partial(_ours, volumes), peer)] for row, at in cuts]
            asked_for = {"blosc2": "15", "a NumPy file a case, read whole": ""}.get(name, "35")
            yield _row(f"a patch of {SIDE}³ and its mask from {KNEE}", taken, peer=name, asked=asked_for)
        yield {
            "what": f"memory: patches all over {count} knees, {count * one / 1e9:.1f} GB and half as much of masks",
            "asked": "under 1 GB",
            "note": f"{most / 1e9:.2f} GB resident at most, {before / 1e9:.2f} before",
        }


def _read_all_over(table: pd.DataFrame, folder: Path) -> tuple[int, int]:
    """(bytes resident before, at most) of a process that reads a patch of every knee, some of them twice."""
    volumes, draw = opened(table, folder), np.random.default_rng(2)
    most = before = _resident()
    rows = [*range(len(volumes)), *range(min(len(volumes), 8))]
    for row in bar(rows, total=len(rows), what="patches all over the map"):
        _ours(volumes, row, tuple(int(draw.integers(side - SIDE + 1)) for side in KNEE))
        most = max(most, _resident())
    return before, most


def _ours(volumes: Volumes, row: int, at: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask of a patch as training reads them."""
    return volumes.image(row, at, volumes.patch), volumes.mask(row, at, volumes.patch)


def _by_nifti(volumes: Volumes, folder: Path) -> Callable:
    """The way to a patch by a compressed NIfTI file for each image and mask, as they are given out, read whole."""
    for row in range(min(8, len(volumes))):
        for name, values in (("image", volumes.image(row)[0]), ("mask", volumes.mask(row))):
            nibabel.Nifti1Image(values, np.eye(4)).to_filename(folder / f"{name}{row}.nii.gz")

    def cut(row: int, at: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        box = tuple(slice(first, first + SIDE) for first in at)
        whole = [np.asanyarray(nibabel.load(folder / f"{name}{row}.nii.gz").dataobj) for name in ("image", "mask")]
        return np.ascontiguousarray(whole[0][box])[None], np.ascontiguousarray(whole[1][box])

    return cut


def _by_whole_files(volumes: Volumes, folder: Path) -> Callable:
    """The way to a patch by a file for each case, uncompressed, which is read whole."""
    for row in range(min(8, len(volumes))):
        np.save(folder / f"image{row}.npy", volumes.image(row))
        np.save(folder / f"mask{row}.npy", volumes.mask(row))

    def cut(row: int, at: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        box = tuple(slice(first, first + SIDE) for first in at)
        whole = np.load(folder / f"image{row}.npy"), np.load(folder / f"mask{row}.npy")
        return np.ascontiguousarray(whole[0][(0, *box)]), np.ascontiguousarray(whole[1][box])

    return cut


def _by_chunks(volumes: Volumes, folder: Path) -> Callable:
    """The way to a patch by compressed chunks, as nnU-Net 2.8.1 writes them and reads them, mapped."""
    import blosc2

    for row in range(min(8, len(volumes))):
        held = {"image": volumes.image(row), "mask": volumes.mask(row)[None].view(np.int8)}
        for name, values in held.items():
            chunks, blocks = CHUNKS[name]
            kept = [
                blosc2.asarray(
                    np.ascontiguousarray(values),
                    chunks=chunks,
                    blocks=blocks,
                    cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [way]},
                )
                for way in (blosc2.Filter.NOFILTER, blosc2.Filter.SHUFFLE)
            ]
            min(kept, key=lambda array: array.schunk.cbytes).save(str(folder / f"{name}{row}.b2nd"))

    def cut(row: int, at: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        box = (slice(None), *(slice(first, first + SIDE) for first in at))
        opened = [
            blosc2.open(urlpath=str(folder / f"{name}{row}.b2nd"), mode="r", dparams={"nthreads": 1}, mmap_mode="r")
            for name in ("image", "mask")
        ]
        return opened[0][box], opened[1][box]

    return cut


def _resident() -> int:
    """Bytes of this process in memory, mapped files included."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return 1024 * int(line.split()[1])


def _seconds(way: Callable, *given: object) -> float:
    """How long it takes, by the clock."""
    since = time.perf_counter()
    way(*given)
    return time.perf_counter() - since


def _row(what: str, taken: list[list[float]], *, peer: str, asked: str) -> dict[str, str]:
    """A row of seconds taken by turns, ours and the peer's (repeats, 2)."""
    ours, theirs = np.array(taken).T
    low, middle, high = np.quantile(theirs / ours, [0.05, 0.5, 0.95])
    return {
        "what": what,
        "ours, s": f"{np.median(ours):.4f} (median)",
        "peer, s": f"{peer} {np.median(theirs):.4f}",
        "peer / ours": f"{middle:.2f} [{low:.2f}, {high:.2f}]",
        "asked": asked,
    }


def of_views(asked: argparse.Namespace) -> Iterator[dict[str, str]]:
    """One row: image and mask, turned about three axes, zoomed and shifted."""
    from monai.transforms import RandAffined

    draw = np.random.default_rng(0)
    smooth = ndimage.zoom(draw.standard_normal((SIDE // 16,) * 3).astype(np.float32), 16, order=1)[None]
    image = torch.from_numpy(smooth + draw.normal(0, 0.1, smooth.shape).astype(np.float32))[None]
    # labels meet near one voxel in six
    mask = torch.from_numpy((smooth > 0.5).astype(np.uint8) + (smooth > 0.9))
    spacing, views = torch.ones(1, 3), Views(rotation=15, scaling=0.2, crop=0.7)
    theirs = RandAffined(
        keys=["image", "mask"],
        prob=1.0,
        rotate_range=[np.deg2rad(15)] * 3,
        scale_range=[0.2] * 3,
        translate_range=[10] * 3,
        mode=["bilinear", "nearest"],
        padding_mode="reflection",
    )
    keys = torch.arange(asked.repeats + 1)

    def ours(number: int) -> None:
        key = keys[number : number + 1]
        augment(Patches(image, spacing), key, views)
        placed(Patches(mask, spacing), key, views, labels=2)

    def by_monai(number: int) -> None:
        theirs({"image": image[0], "mask": mask.float()})

    for way in (ours, by_monai):
        way(asked.repeats)
    taken = [[_seconds(way, number) for way in (ours, by_monai)] for number in range(asked.repeats)]
    yield _row(f"views of {SIDE}³ and of its mask (three labels)", taken, peer="MONAI RandAffined", asked="1")


def of_windows(asked: argparse.Namespace) -> Iterator[dict[str, str]]:
    """One row: a case from the memory map to what is measured of its outlines, beside MONAI's windows and an argmax."""
    from monai.inferers import sliding_window_inference

    with tempfile.TemporaryDirectory() as folder:
        volumes = opened(knees(Path(folder), count=1, shape=PART), Path(folder))
        encoder = backbones.build("monai/dynunet_small", size=volumes.patch, mean=(0.0,), std=(1.0,), seed=0)
        tasks = TaskSet.of(Task(name="segmentation", labels=volumes.structures, form="exclusive"))
        network = TaskNetwork(encoder, tasks=tasks, seeds={"": 0}).eval()
        reading = {"rows": np.array([0]), "batch": 2, "device": torch.device("cpu")}

        def ours() -> None:
            list(volume_reading.said(network, volumes, asked=Asked(tasks=tasks, surfaces=False), **reading))

        def by_monai() -> None:
            values = torch.from_numpy(volumes.image(0))[None]
            sliding_window_inference(values, volumes.patch, 2, network, overlap=OVERLAP, mode="gaussian").argmax(dim=1)

        with torch.no_grad():
            taken = [[_seconds(way) for way in (ours, by_monai)] for _ in range(max(2, asked.repeats // 10))]
    yield _row(f"windows over {PART}, outlines counted", taken, peer="MONAI's windows and argmax", asked="1 / 1.1")


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


PARTS = {
    "outlines": of_outlines,
    "patches": of_patches,
    "views": of_views,
    "windows": of_windows,
    "hippocampus": of_hippocampus,
}


def main() -> None:
    """Print a table of what was timed, of each part as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["outlines"])
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--gigabytes", type=float, default=2, help="how large the memory map of images is")
    parser.add_argument("--repeats", type=int, default=30, help="how often patches, views and windows are timed")
    parser.add_argument("--train", type=Path, help="the folder of Task04 of the Decathlon")
    parser.add_argument("--steps", type=int, default=1500)
    asked = parser.parse_args()
    if "hippocampus" in asked.parts and asked.train is None:
        parser.error("--parts hippocampus needs --train FOLDER")
    torch.set_num_threads(1)
    for part in asked.parts:
        table = pd.DataFrame(PARTS[part](asked)).fillna("")
        print(table.to_markdown(index=False, disable_numparse=True), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
