"""How long `snakemake -n` thinks about a study before it names its jobs, and how much of that is our doing.

    python benchmarks/planning.py [--times 1 10 100] [--rounds 3] [--profile]

A study of 4 sources, 9 datasets and 5 seeds, and others of ten and a hundred times its runs, none of whose products are
there. Each is planned in a process of its own, as is its peer: a bare Snakefile with a graph of the same runs, whose
rules have fixed commands and no config, which is what Snakemake itself needs. Seconds are the best of all rounds on the
wall clock, start of Python included; memory is the peak of the process. `--profile` tells instead in which functions
the time of the smallest study goes, ours first.
"""

import argparse
import contextlib
import cProfile
import json
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SHAPES = {1: (4, 9, 5), 10: (12, 10, 15), 100: (20, 30, 30)}
"""(sources, datasets, seeds) by how many times the runs of the first study."""

MOST_SECONDS, MOST_MILLISECONDS_PER_JOB = 3.0, 1.5
"""What the smallest study may take, and what a job may take in any."""

PEER = """
SOURCES, DATASETS, SEEDS = map(range, {shape})
COMPARED = expand("runs/{{{{dataset}}}}/{{source}}/seed{{seed}}/predictions.parquet", source=SOURCES, seed=SEEDS)

rule report:
    input: expand("comparisons/{{dataset}}.parquet", dataset=DATASETS)
    output: "report.txt"
    shell: "touch {{output}}"

rule prepare:
    output: "archives/{{dataset}}.parquet"
    shell: "touch {{output}}"

rule pretrain:
    output: "encoders/{{source}}.safetensors"
    shell: "touch {{output}}"

rule finetune:
    input: "archives/{{dataset}}.parquet", "encoders/{{source}}.safetensors"
    output: "runs/{{dataset}}/{{source}}/seed{{seed}}/model.safetensors"
    shell: "touch {{output}}"

rule predict:
    input: "archives/{{dataset}}.parquet", "runs/{{dataset}}/{{source}}/seed{{seed}}/model.safetensors"
    output: "runs/{{dataset}}/{{source}}/seed{{seed}}/predictions.parquet"
    shell: "touch {{output}}"

rule compare:
    input: COMPARED
    output: "comparisons/{{dataset}}.parquet"
    shell: "touch {{output}}"
"""
"""A bare Snakefile with the graph of a study's runs."""


def study(sources: int, datasets: int, seeds: int) -> dict:
    """The config of a study of that shape on twins, which need no files: one random source, the others pre-trained."""
    twin = {"cases": 1200, "seed": 1}
    kinds = {f"hospital{at}": {"kind": "chestxray14", "folder": f"twins/hospital{at}"} for at in range(datasets)}
    training = {"steps": 300, "batch": 64, "lr": 0.002, "warmup_steps": 20}
    learned = {"method": "supervised", "corpus": "hospital0", "training": training}
    return {
        "seeds": list(range(seeds)),
        "archives": {name: archive | {"twin": twin} for name, archive in kinds.items()},
        "sources": {"random": {}} | {f"source{at}": learned | {"seed": at} for at in range(1, sources)},
        "datasets": {name: {"labels": ["Cardiomegaly", "Effusion", "Nodule"]} for name in kinds},
        "recipes": {"finetune": {"training": training, "views": {"rotation": 7, "brightness": 0.2}}},
        "comparison": {"reference": "random"},
    }


def laid_out(times: int, folder: Path) -> dict[str, list[str]]:
    """The commands that plan a study and its peer; their files are written below `folder`."""
    shape = SHAPES[times]
    config, peer = folder / f"{times}.json", folder / f"{times}.smk"
    config.write_text(json.dumps(study(*shape)))
    peer.write_text(PEER.format(shape=shape))
    dry = ["-n", "--cores", "2", "--directory", str(folder)]
    return {
        "ours": ["--snakefile", str(ROOT / "Snakefile"), *dry, "--configfile", str(config)],
        "bare Snakefile": ["--snakefile", str(peer), *dry],
    }


def timed(arguments: list[str]) -> dict[str, float]:
    """Seconds, jobs and peak MiB of one `snakemake -n`."""
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "snakemake", *arguments], stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        words = said.read()
    totals = re.findall(r"^total +(\d+)$", words, re.MULTILINE)
    if process.returncode or not totals:
        sys.exit(f"snakemake {' '.join(arguments)} failed:\n{words[-2000:]}")
    return {"seconds": seconds, "jobs": int(totals[-1]), "mebibytes": used.ru_maxrss / 1024}


def measured(times: int, *, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """The best of all rounds for a study and its peer, which take turns."""
    commands = laid_out(times, folder)
    best: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for way, arguments in commands.items():
            once = timed(arguments)
            if way not in best or once["seconds"] < best[way]["seconds"]:
                best[way] = once
    return best


def profiled(folder: Path) -> None:
    """Print where the time of the smallest study goes: our own functions, then all."""
    from snakemake.cli import main

    profile = cProfile.Profile()
    # snakemake always leaves by exit
    with contextlib.suppress(SystemExit):
        profile.runcall(main, laid_out(1, folder)["ours"])
    numbers = pstats.Stats(profile).sort_stats("cumulative")
    numbers.print_stats("headwater|smk", 40)
    numbers.sort_stats("tottime").print_stats(30)


def line(times: int, way: str, found: dict[str, float]) -> str:
    """One row of the table."""
    each = 1000 * found["seconds"] / found["jobs"]
    jobs, memory = int(found["jobs"]), found["mebibytes"]
    return f"{times:>5} x  {way:<15} {jobs:>7} {found['seconds']:>9.2f} {each:>9.2f} {memory:>7.0f}"


def verdict(found: dict[int, dict[str, dict[str, float]]]) -> str:
    """Whether the targets are met, and how the time grows with the jobs."""
    ours = {times: ways["ours"] for times, ways in found.items()}
    first, last = ours[min(ours)], ours[max(ours)]
    aim = f" (at most {MOST_SECONDS:g})" if min(ours) == 1 else ""
    said = [f"smallest study: {first['seconds']:.2f} s{aim}"]
    if len(ours) > 1:
        more_jobs, more_seconds = last["jobs"] - first["jobs"], last["seconds"] - first["seconds"]
        said.append(
            f"each further job: {1000 * more_seconds / more_jobs:.2f} ms (at most {MOST_MILLISECONDS_PER_JOB:g});"
            f" the bare Snakefile's: {1000 * _growth(found, 'seconds') / _growth(found, 'jobs'):.2f} ms"
        )
        said.append(f"{last['jobs'] / first['jobs']:.1f} times the jobs take {last['seconds'] / first['seconds']:.1f}")
    return "; ".join(said) + (" times as long" if len(ours) > 1 else "")


def _growth(found: dict[int, dict[str, dict[str, float]]], what: str) -> float:
    """By how much the peer's number grows from the smallest study to the largest."""
    return found[max(found)]["bare Snakefile"][what] - found[min(found)]["bare Snakefile"][what]


def main() -> None:
    """Plan each study and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.profile:
            profiled(Path(folder))
            return
        print(f"{'runs':>7}  {'':<15} {'jobs':>7} {'seconds':>9} {'ms a job':>9} {'MiB':>7}")
        found = {}
        for times in sorted(set(asked.times)):
            found[times] = measured(times, rounds=asked.rounds, folder=Path(folder))
            for way, numbers in found[times].items():
                print(line(times, way, numbers), flush=True)
    print(verdict(found))


if __name__ == "__main__":
    main()
