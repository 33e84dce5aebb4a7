"""Launch: starts a training's processes, on this machine or, inside a SLURM job, as a job step of their own.

Only the tasks of a step hear SLURM's signals: a training that Snakemake's shell started would never know that its time
is over. Standard library only, because every job waits for it.
"""

import argparse
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from headwater.cluster import run_lock, slurm
from headwater.core.errors import UserError, exit_on_user_error

SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2"
STEPS_OWN = ("SLURM_", "SRUN_")
OF_THE_JOB = ("SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CONF", "SLURM_CLUSTER_NAME")

GRACE = 60
"""Seconds that torchrun gives its processes to save and leave."""

JOINING = 300
"""Seconds that a node waits for the others to join."""

FIRST_PORT, PORTS = 20_000, 10_000
"""Where the nodes of a training meet, one port per SLURM job."""


def main(arguments: list[str] | None = None) -> None:
    """Start the script after `--` as the options say, and exit as it does; exit 2 on a refusal."""
    options, script = _options(sys.argv[1:] if arguments is None else arguments)
    with exit_on_user_error("launch"):
        job = slurm.own_number()
        if job and shutil.which("srun"):
            sys.exit(_in_slurm(options, script, job=job))
        _here(options, script)


def _options(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """(options, script and its arguments) of a command line; the script is told how many threads it has."""
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=1, help="processes over all nodes, one per GPU")
    parser.add_argument("--nodes", type=int, default=1, help="nodes that share them evenly")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs on each node; 0 for CPUs")
    parser.add_argument("--lease", type=Path, help="progress file of the run; one SLURM job at a time may train it")
    parser.add_argument("script", nargs="+", help="the script and its arguments, after --")
    options = parser.parse_args(arguments)
    return options, [*options.script, "--threads", str(options.threads)]


# on this machine


def _here(options: argparse.Namespace, script: list[str]) -> None:
    """Become the training: nothing stands between it and the signals."""
    if options.nodes > 1:
        raise UserError(f"{options.nodes} nodes need SLURM", remedy="set compute.nodes: 1, or use profiles/slurm")
    if options.gpus:
        os.environ |= _own_gpus(options.gpus)
    command = _command(options, script)
    os.execvp(command[0], command)


def _command(options: argparse.Namespace, script: list[str]) -> list[str]:
    """One process is started by plain Python, several by torchrun."""
    if options.ranks == 1:
        return [sys.executable, *script]
    # without the bare -- torchrun takes our --run for its own --run-path (Python 3.11)
    return [*_torchrun(options), "--standalone", "--", *script]


def _torchrun(options: argparse.Namespace) -> list[str]:
    here = options.ranks // options.nodes
    signals = [f"--signals-to-handle={SIGNALS}", f"--shutdown-timeout={GRACE}"]
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={here}", *signals]


def _own_gpus(wanted: int) -> dict[str, str]:
    """The variable that leaves a training its own GPUs of this machine, as soon as so many are free.

    A GPU is held by a lock on a file, which goes with the process; nothing is set where there is no GPU.
    """
    known = _gpus()
    if not known:
        return {}
    if wanted > len(known):
        raise UserError(f"{wanted} processes need {wanted} GPUs, here are {len(known)}", remedy="lower compute.ranks")
    said = False
    while True:
        taken = {gpu: handle for gpu in known if (handle := _taken(gpu)) is not None}
        if len(taken) >= wanted:
            break
        for handle in taken.values():
            os.close(handle)
        if not said:
            print(f"headwater launch: waiting for {wanted} of {len(known)} GPUs", file=sys.stderr, flush=True)
            said = True
        time.sleep(slurm.BETWEEN_LOOKS)
    for gpu in list(taken)[wanted:]:
        os.close(taken.pop(gpu))
    for handle in taken.values():
        os.set_inheritable(handle, True)
    return {"CUDA_VISIBLE_DEVICES": ",".join(taken)}


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA counts them."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    try:
        said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=slurm.ANSWER)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    lines = [line for line in said.stdout.splitlines() if line.startswith("GPU ")] if said.returncode == 0 else []
    return [str(index) for index in range(len(lines))]


def _taken(gpu: str) -> int | None:
    """The open lock of a GPU if it is ours now."""
    file = Path(tempfile.gettempdir()) / f"headwater-gpu-{gpu}.lock"
    try:
        handle = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        # only then: in a folder of all users the kernel forbids to "make" the file of another
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        os.fchmod(handle, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


# in a SLURM job


def _in_slurm(options: argparse.Namespace, script: list[str], *, job: str) -> int:
    """The exit code of the training as a job step, while this job holds the lease of the run."""
    command = _step(options, script, job=job)
    if options.lease is None:
        return _finished(command)
    with run_lock.held(options.lease, job=job) as outcome:
        outcome["code"] = _finished(command)
    return outcome["code"]


def _step(options: argparse.Namespace, script: list[str], *, job: str) -> list[str]:
    """The job step: one task a node, which is the training itself or torchrun, so that it hears SLURM's signals."""
    nodes, here = options.nodes, options.ranks // options.nodes
    step = ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
    # srun does not take over the CPUs of the job
    step += [f"--cpus-per-task={here * options.threads}", "--kill-on-bad-exit=1", "--unbuffered"]
    return [*step, *(_command(options, script) if nodes == 1 else _across_nodes(options, script, job=job))]


def _of_the_job() -> dict[str, str]:
    """The environment without the size and place of the step that we are in, which srun would take for the job's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(STEPS_OWN) or name in OF_THE_JOB}


def _across_nodes(options: argparse.Namespace, script: list[str], *, job: str) -> list[str]:
    """The launcher of one node, which joins those of the others on the first node of the job."""
    first = next(_nodes(job))
    meeting = f"--rdzv-endpoint={first}:{FIRST_PORT + int(job) % PORTS}"
    joined = [*_torchrun(options), f"--nnodes={options.nodes}", "--rdzv-backend=c10d", f"--rdzv-id={job}", meeting]
    # which node this is, only a task of the step knows
    place = f'--rdzv-conf="is_host=$((SLURM_NODEID == 0)),join_timeout={JOINING}"'
    return ["sh", "-c", f"exec {shlex.join(joined)} {place} -- {shlex.join(script)}"]


def _nodes(job: str) -> Iterator[str]:
    """The names of a job's nodes."""
    listed = slurm.asked("squeue", "-h", "-o", "%N", "-j", job).strip()
    yield from slurm.asked("scontrol", "show", "hostnames", listed).split()


def _finished(command: list[str]) -> int:
    """The exit code of a command that gets the signals which come here."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=_of_the_job())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, _: process.send_signal(number))
    code = process.wait()
    return code if code >= 0 else 128 - code
