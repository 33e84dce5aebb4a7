"""Notes each step of a training as it is taken: Python reads this by itself where PYTHONPATH names its folder.

One line a step goes to the file that WITNESS names: time, run, SLURM job, process, step. It is what a campaign holds
against the leases and SLURM's accounts, for a training that is killed cannot say how far it came. PAUSE is how many
seconds to wait after each step, so that a training lasts without keeping the machine busy.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

LOOP = "headwater.training.loop"


class Witness:
    """Stands before Python's own way to find modules, and sees the training loop come."""

    def find_spec(self, name: str, path: object, target: object = None) -> object | None:
        """The loop with its steps noted; nothing for any other module."""
        if name != LOOP:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def run_and_watch(module: ModuleType) -> None:
            run(module)
            module.learn = noted(module.learn)

        spec.loader.exec_module = run_and_watch
        return spec


def noted(learn: Callable) -> Callable:
    """The same step, and a line about it from the first rank."""
    run = Path(sys.argv[sys.argv.index("--progress") + 1]).stem
    who = f"{run},{os.environ.get('SLURM_JOB_ID', '')},{os.getpid()}"
    pause = float(os.environ.get("PAUSE", 0))
    handle = os.open(os.environ["WITNESS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def learn_and_tell(state: object, *arguments: object, **more: object) -> object:
        loss = learn(state, *arguments, **more)
        if state.world.first:
            os.write(handle, f"{time.time():.3f},{who},{state.step}\n".encode())
        time.sleep(pause)
        return loss

    return learn_and_tell


if "WITNESS" in os.environ and "--progress" in sys.argv:
    sys.meta_path.insert(0, Witness())
