"""A Python that has its libraries loaded: what tests start by it is a fork, which need not import torch for seconds.

`python()` gives a program that takes command lines as Python does. It hands them, with its folder, environment and open
files, to a server, which forks a process for each. The server has loaded libraries only; what is ours each process
imports for itself. `test_killed.py` holds the bytes of a grid of plain processes against those of such a grid.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

LIBRARIES = (
    *("torch", "torch.distributed", "torch.utils.tensorboard", "torchvision.transforms"),
    *("monai.inferers", "monai.losses", "monai.networks.nets"),
    *("timm", "timm.optim", "timm.scheduler", "lightly.loss", "lightly.models.modules", "lightly.models.utils"),
    *("numba", "pandas", "pyarrow.parquet", "scipy.stats", "sklearn.metrics"),
    *("statsmodels.stats.multitest", "statsmodels.stats.proportion"),
    *("cyclopts", "requests", "pydicom", "nibabel"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "PIL.Image", "jinja2", "tqdm", "pydantic", "yaml"),
    *("snakemake.cli", "snakemake.workflow", "snakemake.report.html_reporter", "multiprocessing.spawn"),
)
"""What the server loads; a process imports what is missing here."""

CLIENT = """#!{python} -IS
import array, json, os, signal, socket, sys
words = sys.argv[1:]
if words[:1] == ["-u"]:
    del words[0]
if words[:1] != ["-m"] and not os.path.isfile(words[0] if words else ""):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX)
server.connect("{address}")
server.sendmsg([b" "], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
asked = {{"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "group": os.getpgrp()}}
server.sendall(json.dumps(asked).encode() + b"\\n")
told = server.makefile()
process = int(told.readline())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _: os.kill(process, number))
code = int(told.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""The program: as little of Python as can be, which waits for the process that does its work."""


@cache
def python() -> str:
    """The program; its server starts with the first call, and ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    atexit.register(shutil.rmtree, folder)
    address, program = folder / "server", folder / "python"
    program.write_text(CLIENT.format(python=sys.executable, address=address))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno()), str(program)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
        )
    atexit.register(server.communicate)
    return str(program)


def serve(listener: socket.socket) -> dict:
    """In each process that was asked for: what it was asked. In the server: no return."""
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        clients = {client: process for process, client in running.values()}
        ready, _, _ = select.select([listener, sys.stdin, *running, *clients], [], [])
        if sys.stdin in ready:
            leave(0)
        for client in clients.keys() & set(ready):
            # it says nothing more, so it is gone, and what it has started goes with it
            os.kill(clients[client], signal.SIGKILL)
        for handle in running.keys() & set(ready):
            take_leave(handle, *running.pop(handle))
        if listener in ready:
            client, _ = listener.accept()
            _, files, _, _ = socket.recv_fds(client, 1, 3)
            asked = json.loads(client.makefile("rb").readline())
            process = os.fork()
            if not process:
                return {**asked, "files": files}
            for file in files:
                os.close(file)
            client.sendall(f"{process}\n".encode())
            running[os.pidfd_open(process)] = process, client


def take_leave(handle: int, process: int, client: socket.socket) -> None:
    """Tell the client how its process has ended."""
    os.close(handle)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    # nobody listens where the client was killed
    with suppress(BrokenPipeError, ConnectionResetError), client:
        client.sendall(f"{code}\n".encode())


def become(asked: dict, *, program: str, libraries: list[str]) -> None:
    """Do in this process what was asked, as Python would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # where the client is of another session, as after setsid, its group cannot be joined
    with suppress(PermissionError):
        os.setpgid(0, asked["group"])
    for number, file in enumerate(asked["files"]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.executable = program
    option, *rest = asked["words"]
    sys.argv = rest if option == "-m" else asked["words"]
    place = Path.cwd() if option == "-m" else Path(option).resolve().parent
    sys.path[:] = [str(place), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), *libraries]
    if option == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(option, run_name="__main__")


def main(listener: int, program: str) -> None:
    """The server, and each process that it forks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    libraries = sys.path[1 + len(given) :]
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked = serve(socket.socket(fileno=listener))
    code = 0
    try:
        become(asked, program=program, libraries=libraries)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        print(*filter(None, [ended.code] if isinstance(ended.code, str) else []), file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    leave(code)


def leave(code: int) -> None:
    """End as Python does, but do not take apart all that was loaded, which takes longer than many a job."""
    # joins the threads of pools, too, for which there is no public word
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
