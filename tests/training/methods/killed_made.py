"""Pre-trainings that kill themselves with SIGKILL; run as a script it forks one process for each line of its input.

The libraries are loaded once, so a killed training costs its steps and no start of Python.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path

import torch

import headwater
import tiny_networks_made
import warm
from headwater.stages import pretrain
from headwater.study.source import Source
from headwater.training import loop, pretraining

PLACES = ("views", "forward", "after_step", "save")
"""Where a training can be told to die: in a method of its learner, or once its progress is written, but unnamed yet."""
STEPS_BETWEEN_SAVES = 2


def trainings(requests: list[dict]) -> list[int]:
    """The exit codes of pre-trainings in a process of its own each, one after another."""
    places = [Path(headwater.__file__).parents[1], Path(warm.__file__).parent]
    done = subprocess.run(
        [warm.python(), __file__],
        input="".join(json.dumps(request) + "\n" for request in requests),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def train(
    folder: str, *, source: str, made: dict[str, str], size: int | list[int], at: int | None = None, place: str = ""
) -> None:
    """Pre-train with all files below `folder`; kill the process in step `at` (from 1), at the place.

    Of volumes `size` is their patch, and the tiny networks are there.
    """
    loop.LOG_EVERY = STEPS_BETWEEN_SAVES
    if at is not None:
        doom(at=at, place=place)
    files = {name: Path(path) for name, path in made.items()}
    here = Path(folder)
    products = {"encoder": here / "e.safetensors", "history": here / "history", "progress": here / "progress.pt"}
    with nullcontext() if isinstance(size, int) else tiny_networks_made.there(here / "tiny"):
        pretrain.pretrain(source=Source.from_json(source), size=size, **files, **products)


def doom(*, at: int, place: str) -> None:
    """Have the learner that is made next die."""
    taken, made, written = [], pretraining.learner_of, torch.save

    def die_if(here: str) -> None:
        if here == place and len(taken) >= at:
            os.kill(os.getpid(), signal.SIGKILL)

    def learner(*given, **named):
        mortal = made(*given, **named)
        for name in ("before_step", "views", "forward", "after_step"):
            setattr(mortal, name, dying(name, getattr(mortal, name)))
        return mortal

    def dying(name, whole):
        def part(*given, **named):
            # views are also made between steps, where features are measured
            taken.extend([name] if name == "before_step" else [])
            die_if(name)
            return whole(*given, **named)

        return part

    def save(*given, **named):
        written(*given, **named)
        die_if("save")

    pretraining.learner_of, torch.save = learner, save


def forked(request: dict) -> int:
    """The exit code of a training in a fork of this process."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        train(**request)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        print(forked(json.loads(line)), flush=True)
