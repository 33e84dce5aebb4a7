"""A real SLURM of four nodes on one machine: its Debian packages, its start, and its end.

    python tests/cluster/slurm.py install | start | stop | status | kill NODE | return NODE

Loopback only, as root, without systemd. What is started here is stopped by its own process number; the files in
/etc/slurm, where SLURM looks for them, the names of the nodes in /etc/hosts, and the user are taken away again.
"""

import fcntl
import grp
import os
import platform
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import IO, TypeVar

TEMPLATES = Path(__file__).parent / "configuration"
ROOT = Path(tempfile.gettempdir()) / "headwater-slurm"
LOCK = ROOT.with_suffix(".lock")
"""Held by whoever starts or stops: two at once would tear /etc/hosts and each other's daemons."""
USERS = ROOT.with_suffix(".users")
"""Held, shared, by every process that works with a SLURM of ours: the last to leave stops it."""
ETC = Path("/etc/slurm")
PACKAGES = ["slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "mariadb-server"]
PROGRAMS = ["munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch"]
NODES = ["node1", "node2", "node3", "node4"]
DAEMONS = [*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"]
"""In the order in which they are stopped."""
ACCOUNT = "lab"
"""The account that profiles/slurm names."""
USER = "headwater-tests"
"""Somebody who is not root and may submit to that account; the home is below ROOT."""
HOSTS = Path("/etc/hosts")
MARK = "headwater-test-cluster"
"""What is written outside ROOT bears this word, and is taken away by it."""
T = TypeVar("T")
"""What a wait brings."""


def install() -> None:
    """Install the Debian packages, and let none of them start a daemon by itself."""
    policy = Path("/usr/sbin/policy-rc.d")
    added = not policy.exists()
    if added:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-q"], env=quiet, check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES], env=quiet, check=True)
    finally:
        if added:
            policy.unlink()


def obstacle() -> str | None:
    """Why no SLURM can be started here, or None."""
    if os.geteuid() != 0:
        return "starting a SLURM of our own needs root"
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} not installed: python tests/cluster/slurm.py install"
    if (ETC / "slurm.conf").exists() and not ours():
        return f"{ETC / 'slurm.conf'} belongs to another cluster"
    return None


def ours() -> bool:
    """Whether the configuration in place was written here."""
    file = ETC / "slurm.conf"
    return file.exists() and MARK in file.read_text()


def answers() -> bool:
    """Whether a SLURM is at work here, this one or another."""
    return bool(shutil.which("scontrol")) and _succeeds("scontrol", "ping")


def start() -> None:
    """Start all daemons, and return once every node takes jobs."""
    if reason := obstacle():
        sys.exit(f"no SLURM: {reason}")
    with _alone():
        _start()


def stop() -> None:
    """Cancel what runs, end the daemons, and take the configuration away."""
    with _alone():
        _stop()


@contextmanager
def in_use() -> Iterator[None]:
    """Work with the SLURM at hand, or with one of our own, which the last of several processes stops."""
    with USERS.open("w") as users:
        with _alone():
            fcntl.flock(users, fcntl.LOCK_SH)
            if not answers():
                _start()
                (ROOT / "until-unused").touch()
        try:
            yield
        finally:
            with _alone():
                if (ROOT / "until-unused").exists() and _is_last(users):
                    _stop()


def _is_last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _alone() -> Iterator[None]:
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start() -> None:
    # what a start that was killed has left behind
    _stop()
    try:
        _folders()
        _configuration()
        _names()
        _user()
        _munge()
        _database()
        _accounting()
        _controller()
    except BaseException:
        _stop()
        raise


def _stop() -> None:
    if _alive("slurmctld"):
        _cancel_all()
    for name in DAEMONS:
        _end(name)
    if ours():
        _forget_names()
        _forget_user()
    # slurm.conf last: it says whose the others are
    for file in ("gres.conf", "cgroup.conf", "slurmdbd.conf", "slurm.conf") if ours() else ():
        (ETC / file).unlink(missing_ok=True)
    if ROOT.exists():
        shutil.rmtree(ROOT)


def status() -> None:
    """Print which daemons are up."""
    for name in DAEMONS:
        print(f"{name}: {'up' if _alive(name) else 'down'}")


def kill_node(name: str) -> None:
    """Let a node die as by a power cut: its daemon, what leads its jobs' steps, and every process of the jobs."""
    _kill(name)
    # what was about to be started by one that is dead now
    until(lambda: not _kill(name), f"the death of {name}")
    (ROOT / "number" / name).unlink(missing_ok=True)


def start_node(name: str) -> None:
    """Let a node that died come back, and wait until it takes jobs."""
    _daemon("slurmd", "-D", "-N", name, name=name)
    until(lambda: node_state(name) in ("idle", "mixed", "allocated"), f"the return of {name}")


def node_state(name: str) -> str:
    """What SLURM thinks of a node; a mark behind the state says that the node does not answer."""
    return output("sinfo", "-h", "-p", "gpu", "-n", name, "-o", "%T").strip()


def processes(node: str) -> set[int]:
    """The numbers of all processes of a node: its daemon, what leads its jobs' steps, and all that these started."""
    found = {number for number in (_alive(node),) if number} | _leaders(node)
    for file in Path("/sys/fs/cgroup/freezer", f"slurm_{node}").glob("**/cgroup.procs"):
        found |= set(map(int, file.read_text().split()))
    # without cgroups: by what a job's process was given, and by descent
    of_node = f"SLURMD_NODENAME={node}".encode()
    found |= {number for number in numbers() if of_node in read(number, "environ").split(b"\0")}
    parents = {number: parent for number in numbers() if (parent := _parent(number))}
    while younger := {number for number, parent in parents.items() if parent in found} - found:
        found |= younger
    return found


def _kill(node: str) -> set[int]:
    found = processes(node)
    for number in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    return found


def _leaders(node: str) -> set[int]:
    """The processes that lead a step on a node: each listens on a socket in the node's folder."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    sockets = {f"socket:[{line.split()[6]}]" for line in lines if f" {ROOT / 'spool' / node}/" in line}
    leaders = [number for number in numbers() if read(number, "comm").startswith(b"slurmstepd")]
    return {number for number in leaders if sockets & _open(number)}


def numbers() -> list[int]:
    """The numbers of all processes of this machine."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def read(number: int, what: str) -> bytes:
    """A file of /proc on a process; nothing of one that is gone or may not be looked at."""
    try:
        return Path("/proc", str(number), what).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _parent(number: int) -> int | None:
    fields = read(number, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else None


def _open(number: int) -> set[str]:
    """What a process has open, as /proc calls it."""
    opened = set()
    for handle in Path("/proc", str(number), "fd").glob("*"):
        with suppress(FileNotFoundError, PermissionError):
            opened.add(str(handle.readlink()))
    return opened


def _folders() -> None:
    _folder(ROOT)
    for name in ("pid", "devices", "spool", "number"):
        _folder(ROOT / name)
    _folder(ROOT / "log", mode=0o1777)
    (ROOT / "pid").chmod(0o1777)
    _folder(ROOT / "munge", owner="munge")
    _folder(ROOT / "state", owner="slurm", mode=0o700)
    _folder(ROOT / "mysql", owner="mysql", mode=0o700)
    for node in NODES:
        _folder(ROOT / "spool" / node)
    for number in range(2):
        _device(ROOT / "devices" / f"gpu{number}")
    # sacctmgr looks for munge's socket in its usual place only
    _folder(Path("/run/munge"), owner="munge")
    _folder(Path("/run/mysqld"), owner="mysql")


def _folder(path: Path, *, owner: str = "root", mode: int = 0o755) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    shutil.chown(path, owner, owner)


def _device(path: Path) -> None:
    """Make something that SLURM takes for a GPU: another /dev/null, or a plain file where devices are forbidden."""
    if path.exists():
        return
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        path.touch()


def _configuration() -> None:
    """Write the files of SLURM and MariaDB; jobs are held in cgroups where the machine lets us make them."""
    cgroups = _makes_cgroups()
    values = {
        "root": ROOT,
        "host": platform.node().partition(".")[0],
        "proctrack": "proctrack/cgroup" if cgroups else "proctrack/pgid",
        "task": "task/cgroup" if cgroups else "task/none",
        "gather": "NoOverMemoryKill" if cgroups else "OverMemoryKill",
    }
    ETC.mkdir(exist_ok=True)
    # slurm.conf first: it says whose the others are
    for template in sorted(TEMPLATES.iterdir(), key=lambda file: file.name != "slurm.conf"):
        folder = ROOT if template.name == "my.cnf" else ETC
        (folder / template.name).write_text(Template(template.read_text()).substitute(values))
    # slurmdbd refuses any other owner or mode
    shutil.chown(ETC / "slurmdbd.conf", "slurm", "slurm")
    (ETC / "slurmdbd.conf").chmod(0o600)


def _names() -> None:
    """Let the nodes' names be found, by which the ranks of a training on several nodes meet."""
    _write_hosts([*_hosts_of_others(), *(f"127.0.0.1 {node} # {MARK}\n" for node in NODES)])


def _forget_names() -> None:
    _write_hosts(_hosts_of_others())


def _hosts_of_others() -> list[str]:
    return [f"{line}\n" for line in HOSTS.read_text().splitlines() if MARK not in line]


def _write_hosts(lines: list[str]) -> None:
    # in place, since a container may have laid the file there from outside; never empty, or nobody finds localhost
    with HOSTS.open("r+") as file:
        file.write("".join(lines))
        file.truncate()


def _user() -> None:
    _forget_user()
    made = ["useradd", "--comment", MARK, "--create-home", "--home-dir", ROOT / "home", "--shell", "/bin/bash", USER]
    subprocess.run(made, check=True, capture_output=True)


def _forget_user() -> None:
    if any(user.pw_name == USER and user.pw_gecos == MARK for user in pwd.getpwall()):
        subprocess.run(["userdel", USER], check=True, capture_output=True)


def _makes_cgroups() -> bool:
    """Whether cgroups of version 1 can be made, which alone reach every process of a job."""
    probes = [Path("/sys/fs/cgroup") / kind / "headwater-probe" for kind in ("freezer", "memory")]
    try:
        for probe in probes:
            probe.mkdir()
            probe.rmdir()
    except OSError:
        return False
    return True


def _munge() -> None:
    key = ROOT / "munge" / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    shutil.chown(key, "munge", "munge")
    files = [f"--{what}-file={ROOT}/munge/munged.{what}" for what in ("pid", "log", "seed")]
    _daemon("munged", "--foreground", f"--key-file={key}", *files, "--num-threads=4", user="munge")
    until(lambda: _succeeds("sh", "-c", "munge -n | unmunge"), "munged")


def _database() -> None:
    settings = f"--defaults-file={ROOT}/my.cnf"
    fresh = ["mariadb-install-db", settings, "--user=mysql", "--auth-root-authentication-method=socket"]
    subprocess.run([*fresh, "--skip-test-db"], check=True, capture_output=True)
    _daemon("mariadbd", settings, user="mysql")
    until(lambda: _succeeds("mariadb", "-uroot", "-e", "select 1"), "mariadbd")
    statements = (
        "create database slurm_acct_db; create user 'slurm'@'localhost' identified via unix_socket;"
        "grant all on slurm_acct_db.* to 'slurm'@'localhost';"
    )
    subprocess.run(["mariadb", "-uroot", "-e", statements], check=True)


def _accounting() -> None:
    _daemon("slurmdbd", "-D", user="slurm")
    until(lambda: _succeeds("sacctmgr", "-n", "show", "cluster"), "slurmdbd")
    users = [f"user {name} Account={ACCOUNT}" for name in ("root", USER)]
    for words in ("cluster headwater", f"account {ACCOUNT} Cluster=headwater", *users):
        subprocess.run(["sacctmgr", "-i", "add", *words.split()], check=True, capture_output=True)


def _controller() -> None:
    _daemon("slurmctld", "-D", user="slurm")
    until(answers, "slurmctld")
    for node in NODES:
        _daemon("slurmd", "-D", "-N", node, name=node)
    until(lambda: {node_state(node) for node in NODES} == {"idle"}, "slurmd")


def _daemon(program: str, *arguments: str, user: str = "root", name: str = "") -> None:
    """Start a program that stays in the foreground, as `user`, and remember its process number."""
    name = name or program
    if _alive(name):
        raise RuntimeError(f"{name} is already at work; python tests/cluster/slurm.py stop")
    groups = [group.gr_gid for group in grp.getgrall() if user in group.gr_mem]
    with (ROOT / "log" / f"{name}.out").open("w") as log:
        process = subprocess.Popen(
            [shutil.which(program), *arguments],
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=groups,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    (ROOT / "number" / name).write_text(f"{process.pid} {program}")


def _alive(name: str) -> int | None:
    """The process number of a daemon that was started here and still runs."""
    file = ROOT / "number" / name
    if not file.exists():
        return None
    number, program = file.read_text().split()
    command = Path("/proc") / number / "cmdline"
    # the number may have gone to another program since
    return int(number) if command.exists() and program.encode() in command.read_bytes() else None


def _end(name: str) -> None:
    if number := _alive(name):
        os.kill(number, signal.SIGTERM)
        until(lambda: not _alive(name), f"the end of {name}")
    (ROOT / "number" / name).unlink(missing_ok=True)


def _cancel_all() -> None:
    """Cancel every job: a slurmd that ends leaves its jobs behind."""
    jobs = output("squeue", "-h", "-o", "%A").split()
    if jobs:
        subprocess.run(["scancel", *jobs], check=True)
    until(lambda: not output("squeue", "-h"), "the end of all jobs")


def until(reached: Callable[[], T], what: str, *, seconds: float = 30) -> T:
    """Wait for a moment, and return what it has brought; TimeoutError if it does not come."""
    deadline = time.monotonic() + seconds
    while not (brought := reached()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited in vain for {what}; its log is in {ROOT / 'log'}")
        # to ask SLURM costs it and us more than the wait
        time.sleep(0.5)
    return brought


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=5).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def output(*command: str) -> str:
    """What a command says; an error of its own is raised."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


if __name__ == "__main__":
    verbs = {"install": install, "start": start, "stop": stop, "status": status}
    (verbs | {"kill": kill_node, "return": start_node})[sys.argv[1]](*sys.argv[2:])
