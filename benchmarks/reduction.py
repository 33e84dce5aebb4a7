"""How long it takes to hash slices and to find which of many hashes are kept, beside the published loop and libraries.

    pip install --target peers --no-deps faiss-cpu imagehash pywavelets pybktree sortedcontainers
    PYTHONPATH=peers python benchmarks/reduction.py [--rounds 3] [--sizes 100000 1000000] [--ways ours numpy ...]

Hashes of 64 bits, kept greedily at most 6 bits apart, of three kinds: `walks` are volumes of 250 slices in which few
bits turn from slice to slice; in `skewed` ones most bits hardly ever turn and all volumes follow one anatomy, as
difference hashes of chest CT do; `scattered` ones have nothing in common. Each way runs in a process of its own, all in
turns; times are those of the machine as it is, so believe the ratios, and what the processor worked. Ways that would
take hours run on fewer hashes, and are scaled by hashes x kept ones, which is what they compare. Each way's kept set
is held against ours.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd
from PIL import Image

DISTANCE = 6
VOLUME = 250
SLICES = 200
"""Phantom slices that are hashed."""


# hashes as they come


def _turned(draw: np.random.Generator, shape: tuple[int, ...], mean: float, bits: np.ndarray) -> np.ndarray:
    """Words in which some of the bits are set."""
    many, words = draw.poisson(mean, shape), np.zeros(shape, np.uint64)
    for turn in range(int(many.max(initial=0))):
        bit = np.uint64(1) << bits[draw.integers(0, len(bits), shape)].astype(np.uint64)
        words ^= np.where(many > turn, bit, np.uint64(0))
    return words


def made(kind: str, count: int) -> np.ndarray:
    """That many hashes of a kind, volume after volume."""
    draw, every, volumes = np.random.default_rng(0), np.arange(64), -(-count // VOLUME)
    if kind == "scattered":
        return draw.integers(0, 2**64, count, dtype=np.uint64)
    if kind == "walks":
        steps = _turned(draw, (volumes, VOLUME), 2.0, every)
        steps[:, 0] = draw.integers(0, 2**64, volumes, dtype=np.uint64)
        return np.bitwise_xor.accumulate(steps, axis=1).ravel()[:count]
    busy = draw.permutation(every)[:36]
    idle = np.setdiff1d(every, busy)
    anatomy = np.bitwise_xor.accumulate(_turned(draw, (VOLUME,), 1.2, busy))
    level = np.clip(np.arange(VOLUME) + draw.integers(-20, 21, volumes)[:, None], 0, VOLUME - 1)
    patient = _turned(draw, (volumes,), 4.0, busy)[:, None]
    drift = np.bitwise_xor.accumulate(_turned(draw, (volumes, VOLUME), 0.5, busy), axis=1)
    return (anatomy[level] ^ patient ^ drift ^ _turned(draw, (volumes, VOLUME), 0.28, idle)).ravel()[:count]


# the ways over a whole corpus; each gives which hashes it keeps


def ours(hashes: np.ndarray) -> np.ndarray:
    """Our search, index included, on one thread."""
    from headwater.data.neighbours import leaders

    return leaders.by_hash(hashes, distance=DISTANCE) == np.arange(len(hashes))


def numpy_kept_only(hashes: np.ndarray) -> np.ndarray:
    """Each hash against all kept ones by numpy's bitwise_count."""
    kept, count, keeps = np.empty_like(hashes), 0, np.zeros(len(hashes), bool)
    for row, one in enumerate(hashes):
        if not (np.bitwise_count(kept[:count] ^ one) <= DISTANCE).any():
            kept[count], keeps[row] = one, True
            count += 1
    return keeps


def published_loop(hashes: np.ndarray) -> np.ndarray:
    """As arXiv 2410.14524 has it: the first one left against all that are left, as arrays of bits."""
    left = ((hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)).astype(bool)
    rows, keeps = np.arange(len(hashes)), np.zeros(len(hashes), bool)
    while len(left):
        near = np.flatnonzero(np.logical_xor(left[0], left).sum(axis=1) <= DISTANCE)
        keeps[rows[0]] = True
        left, rows = np.delete(left, near, axis=0), np.delete(rows, near)
    return keeps


def imagehash_objects(hashes: np.ndarray) -> np.ndarray:
    """ImageHash's own objects and their difference, against all kept ones."""
    import imagehash

    kept, keeps = [], []
    for one in (imagehash.hex_to_hash(f"{word:016x}") for word in hashes.tolist()):
        keeps.append(not any(one - other <= DISTANCE for other in kept))
        kept += [one] * keeps[-1]
    return np.array(keeps)


def bk_tree(hashes: np.ndarray) -> np.ndarray:
    """pybktree, of the kept ones."""
    import pybktree

    tree, keeps = pybktree.BKTree(pybktree.hamming_distance), []
    for one in hashes.tolist():
        keeps.append(not tree.find(one, DISTANCE))
        if keeps[-1]:
            tree.add(one)
    return np.array(keeps)


def _by_faiss(index: object, hashes: np.ndarray) -> np.ndarray:
    """All hashes in an index of faiss; blocks of those still kept are looked up, and what is near drops out."""
    rows, keeps = hashes.view(np.uint8).reshape(-1, 8), np.ones(len(hashes), bool)
    index.add(rows)
    for begin in range(0, len(hashes), 10_000):
        asked = begin + np.flatnonzero(keeps[begin : begin + 10_000])
        # its radius is strict
        ends, _, found = index.range_search(rows[asked], DISTANCE + 1)
        for place, row in enumerate(asked):
            if keeps[row]:
                near = found[ends[place] : ends[place + 1]]
                keeps[near[near > row]] = False
    return keeps


def faiss_flat(hashes: np.ndarray) -> np.ndarray:
    """faiss, looking through all."""
    import faiss

    return _by_faiss(faiss.IndexBinaryFlat(64), hashes)


def faiss_bands(hashes: np.ndarray) -> np.ndarray:
    """faiss by four bands of 16 bits, one bit of which may differ."""
    import faiss

    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = 1
    return _by_faiss(index, hashes)


# the ways volume by volume


def ours_by_volume(hashes: np.ndarray) -> np.ndarray:
    """Our search within each volume."""
    from headwater.data.neighbours import leaders

    volumes = np.arange(len(hashes)) // VOLUME
    return leaders.by_hash(hashes, distance=DISTANCE, groups=volumes) == np.arange(len(hashes))


def published_by_volume(hashes: np.ndarray) -> np.ndarray:
    """The published loop within each volume."""
    return np.concatenate([published_loop(hashes[begin : begin + VOLUME]) for begin in range(0, len(hashes), VOLUME)])


WAYS: dict[str, tuple[Callable, int, str | None]] = {
    "ours": (ours, 10**9, None),
    "numpy": (numpy_kept_only, 100_000, None),
    "published loop": (published_loop, 10_000, None),
    "ImageHash objects": (imagehash_objects, 500, "imagehash"),
    "pybktree": (bk_tree, 10_000, "pybktree"),
    "faiss flat": (faiss_flat, 100_000, "faiss"),
    "faiss bands": (faiss_bands, 1_000_000, "faiss"),
    "ours by volume": (ours_by_volume, 10**9, None),
    "published loop by volume": (published_by_volume, 25_000, None),
}
"""(function, most hashes that it runs on, what must be installed)."""


# one way in a process of its own


def child(way: str, kind: str, size: int) -> None:
    """Run one way and print its seconds, scaled where it ran on fewer hashes, its memory, and what it kept."""
    function, most, _ = WAYS[way]
    reference = ours_by_volume if way.endswith("by volume") else ours
    hashes = made(kind, size)
    part = hashes[: min(size, most)]
    # what is compiled or imported on first use is there
    function(made("walks", 1000)), reference(made("walks", 20_000))
    truth = reference(part)
    Path("/proc/self/clear_refs").write_text("5")
    before, begun, worked = _peak_mb(), time.perf_counter(), time.process_time()
    keeps = function(part)
    seconds, work, memory = time.perf_counter() - begun, time.process_time() - worked, _peak_mb() - before
    scale = size / len(part)
    if not way.endswith("by volume"):
        scale *= 1 if len(part) == size else reference(hashes).sum() / truth.sum()
    told = {
        "seconds": seconds * scale,
        "work": work * scale,
        "memory_mb": memory,
        "run_on": len(part),
        "kept": int(keeps.sum()),
    }
    print(json.dumps({**told, "same": bool((keeps == truth).all())}))


def _peak_mb() -> float:
    """The most that this process held (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(way: str, kind: str, size: int) -> dict | None:
    """What one way took; None where what it needs is not installed."""
    needed = WAYS[way][2]
    if needed and not find_spec(needed):
        return None
    call = [sys.executable, __file__, "--child", way, "--kinds", kind, "--sizes", str(size)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


# hashing


def hashing(rounds: int) -> pd.DataFrame:
    """Slices of 512 x 512 pixels hashed a second, by us and by ImageHash in turns; best of the rounds."""
    from headwater.data import perceptual_hash as hashes

    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (SLICES, 24, 24), dtype=np.uint8)
    slices = [np.asarray(Image.fromarray(one).resize((512, 512), Image.Resampling.BICUBIC)) for one in coarse]
    ways: dict[str, Callable] = {
        "difference": lambda one: hashes.difference(Image.fromarray(one).convert("L")),
        "perceptual": lambda one: hashes.perceptual(Image.fromarray(one).convert("L"), side=hashes.SHORT),
        "average": lambda one: hashes.average(Image.fromarray(one).convert("L")),
        "all four that prepare takes": hashes.every,
    }
    theirs = _imagehash_ways() if find_spec("imagehash") else {}
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in [*ways.items(), *theirs.items()]:
            begun = time.perf_counter()
            for one in slices:
                way(one)
            best[name] = max(best.get(name, 0.0), SLICES / (time.perf_counter() - begun))
    lines = []
    for name, way in ways.items():
        other = theirs.get(f"ImageHash {name}")
        same = other and sum(f"{int(way(one)[0]):016x}" == str(other(one)) for one in slices)
        told = f"{best[f'ImageHash {name}']:.0f}" if other else "–" if name.startswith("all") else "not installed"
        lines.append(
            {
                "hash": name,
                "ours / s": f"{best[name]:.0f}",
                "ImageHash / s": told,
                "same bits": f"{same} of {SLICES}" if other else "",
            }
        )
    return pd.DataFrame(lines)


def _imagehash_ways() -> dict[str, Callable]:
    import imagehash

    names = {"difference": imagehash.dhash, "perceptual": imagehash.phash, "average": imagehash.average_hash}
    return {
        f"ImageHash {name}": lambda one, function=function: function(Image.fromarray(one))
        for name, function in names.items()
    }


def report(rounds: int, sizes: list[int], kinds: list[str], ways: list[str]) -> None:
    """Run all ways in turns and print a table for each kind and size."""
    print(hashing(rounds).to_markdown(index=False, disable_numparse=True), "\n", flush=True)
    for size in sizes:
        for kind in kinds:
            found: dict[str, list[dict | None]] = {way: [] for way in ways}
            for _ in range(rounds):
                for way in ways:
                    found[way].append(measure(way, kind, size))
            print(f"{size:,} {kind}, {rounds} rounds\n")
            print(pd.DataFrame(_lines(found)).to_markdown(index=False, disable_numparse=True), "\n", flush=True)


def _lines(found: dict[str, list[dict | None]]) -> list[dict[str, str]]:
    """For each way the best and worst time, the least of a processor's, the median of ratios to ours, and memory."""
    lines = []
    for way, runs in found.items():
        if None in runs:
            lines.append(
                {"way": way, "s": "not installed"}
                | dict.fromkeys(["CPU s", "ratio", "MB", "run on", "kept", "same"], "")
            )
            continue
        seconds, mine = ([run["seconds"] for run in told] for told in (runs, found[_ours(way)]))
        lines.append(
            {
                "way": way,
                "s": f"{min(seconds):.3g} to {max(seconds):.3g}",
                "CPU s": f"{min(run['work'] for run in runs):.3g}",
                "ratio": f"{np.median(np.divide(seconds, mine)):,.3g}",
                "MB": f"{max(run['memory_mb'] for run in runs):.0f}",
                "run on": f"{runs[0]['run_on']:,}",
                "kept": f"{runs[0]['kept']:,}",
                "same": "yes" if all(run["same"] for run in runs) else "NO",
            }
        )
    return lines


def _ours(way: str) -> str:
    """What a way is held against."""
    return "ours by volume" if way.endswith("by volume") else "ours"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="*", default=["walks", "skewed", "scattered"])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--child")
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.kinds[0], asked.sizes[0])
    else:
        ways = dict.fromkeys([*map(_ours, asked.ways), *asked.ways])
        report(asked.rounds, asked.sizes, asked.kinds, list(ways))


if __name__ == "__main__":
    main()
