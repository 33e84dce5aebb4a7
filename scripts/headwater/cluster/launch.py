"""Launch: starts a training's processes, on this machine or, inside a scheduler's job, as a job step of their own.

Only the tasks of a step get the scheduler's signals: a training started by Snakemake's shell would not learn that its
time is over. Standard library and light modules only, because every job waits for it.
"""

import argparse
import fcntl
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from headwater.cluster import run_lock, schedulers
from headwater.cluster.schedulers import Scheduler
from headwater.core import interruption
from headwater.core.errors import UserError, exit_on_user_error

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"
"""Signals that torchrun passes on to its processes; another one would end torchrun and leave them behind."""

GRACE = 60
"""Seconds that torchrun gives its processes to save and exit."""

JOINING = 300
"""Seconds that a node waits for the others: nodes of one step may start minutes apart."""

FIRST_PORT, PORTS = 20_000, 10_000
"""Where the nodes of a training meet: a port for each job, as several jobs may share their first node."""

BETWEEN_LOOKS = 2.0
"""Seconds between two looks for free GPUs."""

ANSWER = 60.0
"""Seconds in which nvidia-smi must answer; it may have to load the driver first."""


def main(arguments: list[str] | None = None) -> None:
    """Start the script after `--` as the options say, and exit as it does; exit 2 on a refusal."""
    options, script = _options(sys.argv[1:] if arguments is None else arguments)
    with exit_on_user_error("launch"), interruption.Raised():
        scheduler = schedulers.of_this_job()
        if scheduler and scheduler.can_start_steps():
            sys.exit(_as_step(options, script, scheduler=scheduler))
        _here(options, script)


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """(options, script and its arguments) of a command line; the script gets some of them too."""
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=1, help="processes over all nodes, one per GPU")
    parser.add_argument("--nodes", type=int, default=1, help="nodes that share them evenly")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs on each node; 0 for CPUs")
    parser.add_argument("--compile", action="store_true", help="let torch compile the network")
    parser.add_argument("--fsdp", action="store_true", help="split weights, gradients and moments among the processes")
    parser.add_argument("--lease", type=Path, help="progress file of the run; one job at a time may train it")
    parser.add_argument("script", nargs="+", help="the script and its arguments, after --")
    options = parser.parse_args(arguments)
    ways = ["--compile"] * options.compile + ["--fsdp"] * options.fsdp
    return options, [*options.script, "--threads", str(options.threads), *ways]


# on this machine


def _here(options: argparse.Namespace, script: list[str]) -> None:
    """Replace this process by the training, so that signals reach it directly."""
    if options.nodes > 1:
        raise UserError(
            f"{options.nodes} nodes need {schedulers.titles()}",
            remedy=f"set compute.nodes: 1, or use {schedulers.profiles()}",
        )
    if options.gpus:
        os.environ |= _own_gpus(options.gpus)
    command = _command(options, script)
    os.execvp(command[0], command)


def _command(options: argparse.Namespace, script: list[str]) -> list[str]:
    """The command of the training: one process is started by plain Python, several by torchrun."""
    if options.ranks == 1:
        return [sys.executable, *script]
    # without the bare -- torchrun takes our --run for its own --run-path (Python 3.11)
    return [*_torchrun(options), "--standalone", "--", *script]


def _torchrun(options: argparse.Namespace) -> list[str]:
    """torchrun with its options for the processes of one node."""
    here = options.ranks // options.nodes
    signals = [f"--signals-to-handle={SIGNALS}", f"--shutdown-timeout={GRACE}"]
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={here}", *signals]


def _own_gpus(wanted: int) -> dict[str, str]:
    """The variable that restricts a training to GPUs of its own, as soon as enough are free; empty without GPUs.

    A lock on a file reserves a GPU among the trainings of one user; the kernel releases it when the training ends,
    however it ends.
    """
    present = _gpus()
    if not present:
        return {}
    if wanted > len(present):
        raise UserError(f"{wanted} processes need {wanted} GPUs, here are {len(present)}", remedy="lower compute.ranks")
    waiting = False
    while len(locks := _free_locks(present)) < wanted:
        # give back what was locked: two trainings that each hold half of the GPUs would wait for ever
        for handle in locks.values():
            os.close(handle)
        if not waiting:
            print(f"headwater launch: waiting for {wanted} of {len(present)} GPUs", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(BETWEEN_LOOKS)
    for gpu in list(locks)[wanted:]:
        os.close(locks.pop(gpu))
    for handle in locks.values():
        # else exec would close it, and with it release the lock
        os.set_inheritable(handle, True)
    return {"CUDA_VISIBLE_DEVICES": ",".join(locks)}


def _free_locks(gpus: list[str]) -> dict[str, int]:
    """The open lock of each GPU that is free; they are locked from now on."""
    return {gpu: handle for gpu in gpus if (handle := _lock(gpu)) is not None}


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA counts them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    try:
        process = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=ANSWER)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    if process.returncode:
        return []
    lines = [line for line in process.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(lines))]


def _lock(gpu: str) -> int | None:
    """The lock of a GPU, open and held from now on; none while another training of this user holds it."""
    file = _folder_of_locks() / f"gpu-{gpu.replace('/', '-')}.lock"
    try:
        # a link that someone else put there must not lead to another file
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise UserError(f"cannot be opened: {error.strerror}", file=file, remedy="remove it") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _folder_of_locks() -> Path:
    """The folder of this user's locks, among the machine's temporary files; refused if others may write to it."""
    # not at the top: it imports `random`, a tenth of the launcher's start, and jobs on a cluster do without it
    import tempfile

    folder = Path(tempfile.gettempdir()) / f"headwater-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(
            "is not a folder that only you may write to",
            file=folder,
            remedy="remove it, or set TMPDIR to such a folder",
        )
    return folder


# in a job of a scheduler


def _as_step(options: argparse.Namespace, script: list[str], *, scheduler: Scheduler) -> int:
    """The exit code of the training as a job step, while this job holds the lease of the run."""
    job = scheduler.own_number()
    command = _step(options, script, scheduler=scheduler, job=job)
    environment = scheduler.step_environment(os.environ)
    if options.lease is None:
        return _exit_code(command, environment=environment)
    with run_lock.held(options.lease, scheduler=scheduler, job=job) as outcome:
        outcome["code"] = _exit_code(command, environment=environment)
    return outcome["code"]


def _step(options: argparse.Namespace, script: list[str], *, scheduler: Scheduler, job: str) -> list[str]:
    """The job step: one task per node, which is the training itself or torchrun, so that it gets the signals."""
    if options.nodes == 1:
        task = _command(options, script)
    else:
        task = _torchrun_of_a_node(options, script, scheduler=scheduler, job=job)
    cpus = options.ranks // options.nodes * options.threads
    return scheduler.step(task, nodes=options.nodes, cpus=cpus)


def _torchrun_of_a_node(options: argparse.Namespace, script: list[str], *, scheduler: Scheduler, job: str) -> list[str]:
    """torchrun on one node of several; all of them meet on the first node of the job."""
    first = scheduler.nodes(job)[0]
    meeting = f"--rdzv-endpoint={first}:{FIRST_PORT + int(job) % PORTS}"
    joined = [*_torchrun(options), f"--nnodes={options.nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}", meeting]
    # a shell, because only the task itself knows which node it is on
    place = f'--rdzv-conf="is_host=$(({scheduler.NODE_RANK} == 0)),join_timeout={JOINING}"'
    return ["sh", "-c", f"exec {shlex.join(joined)} {place} -- {shlex.join(script)}"]


def _exit_code(command: list[str], *, environment: dict[str, str]) -> int:
    """Run a command, pass signals on to it, and give its exit code as a shell counts it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: process.send_signal(number))
    code = process.wait()
    # a negative code is the signal that ended it
    return code if code >= 0 else 128 - code
