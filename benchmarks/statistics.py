"""How long it takes to resample a whole test set, beside the ways that people have.

    python benchmarks/statistics.py [--rounds 3] [--ways ours rapidstats ...]

1,000 replicates of 25,000 images of 2,609 patients, 14 findings and 3 networks: 42,000 areas under the ROC curve, with
and without tied scores. Each way runs in a process of its own, one after the other, round by round, on the same data;
slow ways run fewer replicates, as told, and are extrapolated by their number. Memory is the peak above what the process
held once the data were read.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

# this folder holds a file with the name of a standard module, which nobody else may meet
sys.path[0] = str(Path(__file__).resolve().parent.parent / "scripts")

import numpy as np
import pandas as pd

IMAGES, PATIENTS, FINDINGS, NETWORKS, REPLICATES, THREADS = 25_000, 2_800, 14, 3, 1_000, 2
PREVALENCE = (0.128, 0.042, 0.182, 0.239, 0.068, 0.063, 0.022, 0.104, 0.071, 0.036, 0.043, 0.017, 0.045, 0.003)
"""As in ChestX-ray14."""


def made(seed: int = 0) -> dict[str, np.ndarray]:
    """A test set of that size: targets (images, findings), scores (networks, images, findings), patients (images,)."""
    from scipy.stats import norm

    draw = np.random.default_rng(seed)
    sizes = np.maximum(1, draw.lognormal(1.6, 1.1, PATIENTS))
    patient = np.unique(np.sort(draw.choice(PATIENTS, IMAGES, p=sizes / sizes.sum())), return_inverse=True)[1]
    patients = patient.max() + 1
    latent = np.sqrt(0.5) * (
        draw.standard_normal((patients, FINDINGS))[patient] + draw.standard_normal((IMAGES, FINDINGS))
    )
    target = (latent > norm.isf(PREVALENCE)).astype(np.uint8)
    base = draw.uniform(0.7, 1.8, FINDINGS) * target + 0.5 * draw.standard_normal((patients, FINDINGS))[patient]
    base += 0.6 * draw.standard_normal((IMAGES, FINDINGS))
    logit = base + 0.62 * draw.standard_normal((NETWORKS, IMAGES, FINDINGS)) - 2.5
    return {"target": target, "score": (1 / (1 + np.exp(-logit))).astype(np.float32), "patient": patient}


# the ways; each gives how many replicates it ran and how long they took


def ours(data: dict, *, replicates: int) -> dict:
    """Our engine from raw scores, ranking included, on two threads."""
    columns, patients = _columns(data)
    _warm(columns[:1], patients)
    start = time.perf_counter()
    columns, patients = _columns(data)
    values = _replicated(columns, patients, replicates)
    return {"seconds": time.perf_counter() - start, "check": float(values[0, 0])}


def _columns(data: dict) -> tuple[list, int]:
    from headwater.evaluation.metrics import auroc
    from headwater.evaluation.statistics import replication

    patients = int(data["patient"].max()) + 1
    return [
        replication.column(
            auroc,
            {"target": data["target"][:, finding], "score": data["score"][network, :, finding]},
            data["patient"],
            patients=patients,
        )
        for network in range(NETWORKS)
        for finding in range(FINDINGS)
    ], patients


def _warm(columns: list, patients: int) -> None:
    """Load the compiled kernels once, as they lie in the cache after a first run."""
    from headwater.evaluation.statistics import replication

    replication.replicates(columns, patients=patients, resamples=64, seed=0)


def _replicated(columns: list, patients: int, replicates: int, threads: int = THREADS) -> np.ndarray:
    from headwater.evaluation.statistics import replication

    return replication.replicates(columns, patients=patients, resamples=replicates, seed=0, threads=threads)


def _draws(data: dict, replicates: int):
    """Whole patients drawn with replacement: the rows of each replicate, as the loops below need them."""
    draw = np.random.default_rng(0)
    patient = data["patient"]
    of_patient = np.split(np.argsort(patient, kind="stable"), np.cumsum(np.bincount(patient))[:-1])
    for _ in range(replicates):
        yield np.concatenate([of_patient[one] for one in draw.integers(len(of_patient), size=len(of_patient))])


def sklearn_loop(data: dict, *, replicates: int) -> dict:
    """roc_auc_score of each replicate's rows."""
    from sklearn.metrics import roc_auc_score

    start = time.perf_counter()
    for rows in _draws(data, replicates):
        for network in range(NETWORKS):
            for finding in range(FINDINGS):
                roc_auc_score(data["target"][rows, finding], data["score"][network, rows, finding])
    return {"seconds": time.perf_counter() - start}


def weight_loop(data: dict, *, replicates: int) -> dict:
    """roc_auc_score with each replicate's counts as weights."""
    from sklearn.metrics import roc_auc_score

    start = time.perf_counter()
    for rows in _draws(data, replicates):
        weight = np.bincount(rows, minlength=IMAGES)
        for network in range(NETWORKS):
            for finding in range(FINDINGS):
                roc_auc_score(data["target"][:, finding], data["score"][network, :, finding], sample_weight=weight)
    return {"seconds": time.perf_counter() - start}


def published_loop(data: dict, *, replicates: int) -> dict:
    """The published study's loop: images drawn, threshold by Youden in each replicate, one image after another."""
    from sklearn.metrics import roc_auc_score, roc_curve

    draw = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(replicates):
        rows = draw.choice(IMAGES, IMAGES)
        for network in range(NETWORKS):
            for finding in range(FINDINGS):
                target, score = data["target"][rows, finding], data["score"][network, rows, finding]
                false, true, thresholds = roc_curve(target, score)
                threshold = thresholds[np.argmax(true - false)]
                counts = [[0, 0], [0, 0]]
                for image in range(IMAGES):
                    counts[target[image]][int(score[image] > threshold)] += 1
                roc_auc_score(target, score)
    return {"seconds": time.perf_counter() - start}


def scipy_bootstrap(data: dict, *, replicates: int) -> dict:
    """scipy.stats.bootstrap of each difference, vectorised over replicates; it can draw images only."""
    from scipy.stats import bootstrap, rankdata

    def area(target: np.ndarray, score: np.ndarray) -> np.ndarray:
        positives = target.sum(axis=-1, dtype=np.int64)
        won = (rankdata(score, axis=-1) * target).sum(axis=-1) - positives * (positives + 1) / 2
        return won / (positives * (target.shape[-1] - positives))

    start = time.perf_counter()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for finding in range(FINDINGS):
            target, scores = data["target"][:, finding], data["score"][:, :, finding]

            def difference(rows, axis=-1, target=target, scores=scores, one=one, other=other):
                rows = np.asarray(rows).astype(np.int64)
                return area(target[rows], scores[one][rows]) - area(target[rows], scores[other][rows])

            bootstrap(
                (np.arange(IMAGES),), difference, n_resamples=replicates, method="percentile", vectorized=True, batch=10
            )
    return {"seconds": time.perf_counter() - start}


def rapidstats(data: dict, *, replicates: int) -> dict:
    """rapidstats (Rust, all cores; not among our dependencies): intervals only, images only, not paired."""
    from rapidstats import Bootstrap

    start = time.perf_counter()
    for network in range(NETWORKS):
        for finding in range(FINDINGS):
            plan = Bootstrap(iterations=replicates, method="percentile", seed=0)
            plan.roc_auc(data["target"][:, finding].astype(bool), data["score"][network, :, finding].astype(float))
    return {"seconds": time.perf_counter() - start}


PROC = """
suppressMessages(library(pROC))
data <- read.csv(commandArgs(TRUE)[1]); n <- as.integer(commandArgs(TRUE)[2]); start <- Sys.time()
test <- roc.test(roc(data$y, data$a, quiet=TRUE, direction="<"), roc(data$y, data$b, quiet=TRUE, direction="<"),
                 method="bootstrap", boot.n=n, progress="none")
cat(as.numeric(difftime(Sys.time(), start, units="secs")))
"""


def proc(data: dict, *, replicates: int) -> dict:
    """R's pROC, roc.test by bootstrap within classes: one of the 42 pairs, times 42."""
    frame = pd.DataFrame({"y": data["target"][:, 0], "a": data["score"][0, :, 0], "b": data["score"][1, :, 0]})
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "pair.csv", index=False)
        call = ["Rscript", "-e", PROC, str(Path(folder) / "pair.csv"), str(replicates)]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
    return {"seconds": 42 * float(done.stdout)}


WAYS: dict[str, tuple[Callable, int, str | None]] = {
    "ours": (ours, REPLICATES, None),
    "ours x 10": (ours, 10 * REPLICATES, None),
    "sklearn loop": (sklearn_loop, 4, None),
    "sample_weight loop": (weight_loop, 4, None),
    "scipy vectorised": (scipy_bootstrap, 20, None),
    "rapidstats": (rapidstats, 20, "rapidstats"),
    "published loop": (published_loop, 1, None),
    "pROC": (proc, 20, "Rscript"),
}
"""(function, replicates that are run, what must be installed)."""


# one way in a process of its own


def child(way: str, file: Path) -> None:
    """Run one way and print what it took."""
    with np.load(file) as stored:
        data = {name: stored[name] for name in stored.files}
    function, replicates, _ = WAYS[way]
    _import_for(way)
    before = _forget_peak_mb()
    found = function(data, replicates=replicates)
    found["memory_mb"] = _peak_mb() - before
    found["seconds"] *= REPLICATES / replicates if way != "ours x 10" else 1
    print(json.dumps(found))


def _import_for(way: str) -> None:
    """Load what a way needs before its memory and time are counted."""
    if way.startswith("ours"):
        from headwater.evaluation.metrics import auroc
        from headwater.evaluation.statistics import replication

        column = replication.column(
            auroc, {"target": np.array([0, 1]), "score": np.array([0.1, 0.2])}, np.arange(2), patients=2
        )
        replication.replicates([column], patients=2, resamples=64, seed=0)
    else:
        import scipy.stats  # noqa: F401
        import sklearn.metrics  # noqa: F401


def _forget_peak_mb() -> float:
    """Start the count of the peak anew (Linux), and give what the process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    """The most that this process held."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def measure(way: str, file: Path) -> dict | None:
    """Seconds for 1,000 replicates and peak memory of one way; None where it is not installed."""
    needed = WAYS[way][2]
    if needed and not (find_spec(needed) or shutil.which(needed)):
        return None
    call = [sys.executable, __file__, "--child", way, "--data", str(file)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


# how far from what the memory allows


def bound(data: dict) -> dict[str, float]:
    """The kernel beside the same walk through the counts with nothing but one addition per image, on one thread."""
    import numba

    from headwater.evaluation.statistics import resampling
    from headwater.evaluation.statistics.ranked import LANES

    @numba.njit(nogil=True, boundscheck=False)
    def walk(counts, patient, out):
        for row in range(0, len(patient) - len(patient) % 4, 4):
            one, two, three, four = patient[row], patient[row + 1], patient[row + 2], patient[row + 3]
            for lane in range(LANES):
                out[lane] += counts[one, lane] + counts[two, lane] + counts[three, lane] + counts[four, lane]

    columns, patients = _columns(data)
    blocks = -(-REPLICATES // LANES)
    counts = [resampling.lanes(patients, seed=0, block=block) for block in range(blocks)]
    order = [
        np.argsort(-data["score"][network, :, finding]) for network in range(NETWORKS) for finding in range(FINDINGS)
    ]
    rows = [data["patient"][one].astype(np.int32) for one in order]
    out = np.zeros(LANES, np.uint8)
    walk(counts[0], rows[0], out)
    columns[0].measure(counts[0], 10)
    times = {"kernel": [], "walk": []}
    for _ in range(5):
        start = time.perf_counter()
        for block in counts:
            room = 255 // int(block.max())
            for column in columns:
                column.measure(block, room)
        times["kernel"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for block in counts:
            for one in rows:
                walk(block, one, out)
        times["walk"].append(time.perf_counter() - start)
    gigabytes = IMAGES * LANES * NETWORKS * FINDINGS * blocks / 1e9
    kernel, least = (float(np.median(times[name])) for name in ("kernel", "walk"))
    return {"gigabytes": gigabytes, "kernel": kernel, "walk": least, "ratio": kernel / least}


def report(rounds: int, ways: list[str]) -> None:
    """Run all ways in turns and print a table for each kind of scores."""
    data = made()
    patients = int(data["patient"].max()) + 1
    print(
        f"{IMAGES} images of {patients} patients, {FINDINGS} findings, {NETWORKS} networks, {REPLICATES} replicates\n"
    )
    for kind in ("without ties", "with ties"):
        if kind == "with ties":
            data["score"] = np.round(data["score"] * 255) / np.float32(255)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "data.npz"
            np.savez(file, **data)
            found: dict[str, list[dict]] = {way: [] for way in ways}
            for turn in range(rounds):
                for way in ways:
                    print(f"{kind}, round {turn + 1} of {rounds}: {way}", file=sys.stderr, flush=True)
                    once = measure(way, file)
                    if once:
                        found[way].append(once)
        print(f"Scores {kind}, {rounds} rounds\n")
        print(_table(found).to_markdown(index=False, disable_numparse=True), "\n")
        limit = bound(data)
        print(
            f"One thread reads {limit['gigabytes']:.2f} GB of counts in {1000 * limit['kernel']:.0f} ms; the same walk"
            f" with one addition per image takes {1000 * limit['walk']:.0f} ms"
            f" ({limit['gigabytes'] / limit['walk']:.0f} GB/s): {limit['ratio']:.1f} x the bound.\n",
            flush=True,
        )


def _table(found: dict[str, list[dict]]) -> pd.DataFrame:
    """Median and range of seconds, of the ratio to ours in the same round, and peak memory."""
    lines = []
    for way, runs in found.items():
        if not runs:
            lines.append({"way": way, "s": "not installed"})
            continue
        seconds = [run["seconds"] for run in runs]
        ratios = [run["seconds"] / mine["seconds"] for run, mine in zip(runs, found["ours"], strict=True)]
        lines.append(
            {
                "way": way,
                "s": f"{np.median(seconds):.3g} [{min(seconds):.3g}, {max(seconds):.3g}]",
                "ratio to ours": f"{np.median(ratios):,.4g} [{min(ratios):,.4g}, {max(ratios):,.4g}]",
                # R holds its own
                "MB above inputs": "–" if way == "pROC" else f"{max(run['memory_mb'] for run in runs):.0f}",
                "replicates run": str(WAYS[way][1]),
            }
        )
    return pd.DataFrame(lines).fillna("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--child")
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.data)
    else:
        report(asked.rounds, ["ours", *(way for way in asked.ways if way != "ours")])


if __name__ == "__main__":
    main()
