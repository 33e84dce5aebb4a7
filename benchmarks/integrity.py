"""What it costs to compare images, tables and weights with their digests wherever they are read.

    python benchmarks/integrity.py [--images 25000] [--size 64] [--backbone timm/resnet18]
    python benchmarks/integrity.py --command make demo

The first scores the test and validation splits of an archive of so many images, two fifths of them, as `predict` does,
without a GPU; the second runs any command. Seconds are those of the processors: of all checks in all Python processes
of the command, by their thread's clock, and of the command with all its processes. Fingerprints that provenance
records are counted, too, so the share is an upper bound.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CHECKS = {
    "headwater.data.tables": ("refuse_changed",),
    "headwater.data.store": ("Pixels._check",),
    "headwater.models.weight_files": ("_digest",),
    "headwater.core.fingerprints": ("sha256",),
}
"""Where the functions are that compare what is read with its digest."""

HOOK = """
import atexit, importlib.abc, importlib.machinery, os, sys, time
CHECKS, FOLDER, SPENT = {checks!r}, {folder!r}, {{}}

def timed(function):
    def measured(*given, **named):
        since = time.thread_time()
        try:
            return function(*given, **named)
        finally:
            SPENT[os.getpid()] = SPENT.get(os.getpid(), 0.0) + time.thread_time() - since
    return measured

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in CHECKS else None
        if spec is not None:
            execute = spec.loader.exec_module
            def patched(module):
                execute(module)
                for place in CHECKS[name]:
                    *owner, last = place.split(".")
                    holder = getattr(module, owner[0]) if owner else module
                    setattr(holder, last, timed(getattr(holder, last)))
            spec.loader.exec_module = patched
        return spec

sys.meta_path.insert(0, Finder())

def tell():
    # a forked process has its parent's record, too
    if spent := SPENT.pop(os.getpid(), 0.0):
        with open(os.path.join(FOLDER, f"{{os.getpid()}}"), "a") as file:
            print(spent, file=file)

def leave(code, leave=os._exit):
    tell()
    leave(code)

# stages that succeed leave at once, before Python's own end
os._exit = leave
atexit.register(tell)
"""
"""What every Python process of the command runs first: it times the checks, and writes what they took at its end."""

PREDICT = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
import prepared_made
from headwater.models import backbones, tasks
from headwater.stages.finetune import finetune
from headwater.stages.predict import predict
from headwater.study.grid import Run
from headwater.study.source import Source
folder = Path({folder!r})
data = dict(cases=folder / "cases.parquet", images=folder / "images.npy")
training = dict(steps=1, batch=8, save_minutes=0)
run = Run(dataset=dict(name="made", archive="made"), source=Source(name="random", backbone={backbone!r}),
          recipe=dict(name="full", training=training), seed=0)
model = folder / "model.safetensors"
if {fit}:
    prepared_made.archive(folder, cases={images}, size={size})
    finetune(run=run, progress=folder / "run.pt", device="cpu", model=model, fit=folder / "fit.json", **data)
else:
    predict(runs=[run], models=[model], device="cpu", predictions=[folder / "p.parquet"],
            validation=[folder / "v.parquet"], **data)
"""


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of the processors that the checks of a command took, and all of it; its output is shown."""
    with tempfile.TemporaryDirectory() as folder:
        spent = Path(folder, "spent")
        spent.mkdir()
        Path(folder, "sitecustomize.py").write_text(HOOK.format(checks=CHECKS, folder=str(spent)))
        paths = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        checks = sum(float(line) for file in spent.iterdir() for line in file.read_text().split())
    return checks, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def predicted(*, images: int, size: int, backbone: str) -> tuple[float, float]:
    """The same of scoring the test and validation splits of an archive made in code of so many images."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"paths": [str(ROOT / "scripts"), str(ROOT / "tests")], "folder": folder, "backbone": backbone}
        code = [PREDICT.format(**given, images=images, size=size, fit=fit) for fit in (True, False)]
        subprocess.run([sys.executable, "-c", code[0]], check=True)
        return measured([sys.executable, "-c", code[1]])


def main() -> None:
    """Print what the checks took, and of how much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--backbone", default="timm/resnet18")
    parser.add_argument("--command", nargs=argparse.REMAINDER, help="measure this instead")
    given = parser.parse_args()
    if given.command:
        checks, whole = measured(given.command)
    else:
        checks, whole = predicted(images=given.images, size=given.size, backbone=given.backbone)
    print(f"checks: {checks:.2f} of {whole:.1f} s of the processors, {checks / whole:.2%}")


if __name__ == "__main__":
    main()
