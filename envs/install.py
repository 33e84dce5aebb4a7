"""Install requirements.lock and headwater into a virtual environment, as `make setup` does, with Python alone.

No version is chosen here. The lock is complete, so dependencies are not looked up (`--no-deps`), every file must have
the hash that the lock names, and the few packages without a wheel are built by the locked setuptools, not the latest.
What is released tomorrow therefore changes nothing. The locked uv, brought by pip, installs three times as fast as pip.
It does not read pip's settings; where only these lead to packages (a mirror, wheels on a disk), pip installs the lock.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

LOCKED = ("--no-deps", "--require-hashes", "--no-build-isolation")
"""Options of pip and uv alike: take what the lock names, and nothing else."""

SETTINGS = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_USE_PEP517": "1",  # pip before 23.1 would otherwise build by `setup.py install`
    "PIP_USER": "0",  # clusters often set it; no virtual environment allows it
}
"""Settings of pip; as variables, because a pip that does not know one ignores it."""

NEWS_EVERY = 30
"""Seconds between two lines on the progress, at least."""

REMEDIES = (
    (
        r"ensurepip|No module named '?venv",
        "this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv",
    ),
    (
        r"do not match the hashes|hash mismatch",
        "a package is not the one that requirements.lock names; empty pip's cache (python3 -m pip cache purge) and run"
        " make setup again; if that does not help, the package index alters packages",
    ),
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full; free 8 GB for .venv and 2 GB for TMPDIR (or move that), then run make setup again",
    ),
    (
        r"Permission denied|Read-only file system",
        "a folder cannot be written; run make setup as the owner of this folder",
    ),
    (
        r"NewConnectionError|ConnectTimeout|ReadTimeout|timed out|name ?resolution|service not known|unreachable"
        r"|ProxyError|SSLError|Connection (?:aborted|refused|reset)|IncompleteRead",
        "the package index cannot be reached; check the network (HTTPS_PROXY, PIP_CERT, PIP_INDEX_URL), then run"
        " make setup again",
    ),
    (
        r"No matching distribution found for ([^\s(]+)",
        "the package index has no {found} for Python {python} on {machine}; use Python 3.11, 3.12 or 3.13"
        " (make PYTHON=/path/to/python setup) and a complete index (PIP_INDEX_URL)",
    ),
)
"""What the output of a failed step tells, and what to do; the first that fits."""


def install(venv: Path, *, lock: Path, project: Path) -> str:
    """Fill a virtual environment from a lock, add the project, mark it ready, and give the name of the installer."""
    ready = venv / "ready"
    ready.unlink(missing_ok=True)
    make_environment(venv)
    pip = [str(venv / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input"]
    step(venv, *pip, *LOCKED, "-r", str(excerpt(venv, lock, "setuptools")))
    installer = "uv" if by_uv(venv, pip, lock) else "pip"
    if installer == "pip":
        step(venv, *pip, *LOCKED, "-r", str(lock))
    step(venv, *pip, "--no-index", "--no-deps", "--no-build-isolation", "--editable", str(project))
    shutil.rmtree(venv / "cache", ignore_errors=True)
    ready.touch()
    return installer


def make_environment(venv: Path) -> None:
    """Make a virtual environment with pip, or keep the one that is there; another Python's is refused."""
    python = venv / "bin" / "python"
    if os.path.lexists(python):
        said = "import sys; print('%d.%d' % sys.version_info[:2])"
        version = subprocess.run([python, "-c", said], capture_output=True, text=True).stdout if python.exists() else ""
        if version.strip() != running():
            other = f"Python {version.strip()}" if version else "a Python that is gone"
            sys.exit(f"{venv} is of {other}, not {running()}; remove it, then run make setup again")
        if not subprocess.run([python, "-I", "-m", "pip", "--version"], capture_output=True).returncode:
            return
    venv.mkdir(parents=True, exist_ok=True)
    step(venv, sys.executable, "-m", "venv", str(venv))


def running() -> str:
    """The version of this Python, without its patch level."""
    return "{}.{}".format(*sys.version_info)


def excerpt(venv: Path, lock: Path, name: str) -> Path:
    """A file in the virtual environment with a lock's entry for one package; empty if it has none."""
    entries = re.split(r"^(?=\w)", lock.read_text(), flags=re.MULTILINE)
    file = venv / f"{name}.txt"
    file.write_text("".join(entry for entry in entries if entry.startswith(f"{name}==")))
    return file


def by_uv(venv: Path, pip: list[str], lock: Path) -> bool:
    """Whether the lock's uv could be brought and has installed the lock; says so if not."""
    one = excerpt(venv, lock, "uv")
    # beside the packages, which are then linked, not copied; and no home folder fills up
    cache = os.environ.get("UV_CACHE_DIR", str(venv / "cache"))
    # bytecode is made now: many jobs start at once, and where PYTHONDONTWRITEBYTECODE is set each compiles torch anew
    options = ["--compile-bytecode", "--python", str(venv / "bin" / "python"), "--cache-dir", cache]
    commands = (
        [*pip, *LOCKED, "-r", str(one)],
        [str(venv / "bin" / "uv"), "pip", "install", *options, *LOCKED, "-r", str(lock)],
    )
    if one.stat().st_size and all(run(venv, *command)[0] == 0 for command in commands):
        return True
    print("uv cannot install here; pip does, which takes some minutes more", flush=True)
    return False


def step(venv: Path, *command: str) -> None:
    """Run a command that must succeed; its failure ends the installation in one line."""
    code, output = run(venv, *command)
    if code:
        sys.exit(f"make setup failed: {remedy(output)} (all output: {venv / 'install.log'})")


def remedy(output: str) -> str:
    """What to do about a failed step, in one line, from its output."""
    for pattern, advice in REMEDIES:
        if found := re.search(pattern, output, re.IGNORECASE):
            name = found[1] if found.groups() else ""
            return advice.format(found=name, python=running(), machine=f"{platform.system()} {platform.machine()}")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it ended without a message"])[-1]


def run(venv: Path, *command: str) -> tuple[int, str]:
    """Exit status and output of a command, which also goes to a log; now and then a line says how far it is."""
    lines: list[str] = []
    begun = told = time.monotonic()
    try:
        process = subprocess.Popen(
            command, env={**os.environ, **SETTINGS}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
        )
    except OSError as error:  # a uv that is built for another machine, or on a disk from which nothing may be run
        return 126, str(error)
    with process:
        for line in process.stdout:
            lines.append(line)
            if (now := time.monotonic()) > told + NEWS_EVERY:
                told = now
                print(f"  {now - begun:.0f} s: {line.strip()[:100]}", flush=True)
    with (venv / "install.log").open("a") as log:
        log.writelines(lines)
    return process.returncode, "".join(lines)


def main() -> None:
    """The command line: where to install, and what."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="the virtual environment (%(default)s)")
    parser.add_argument("--lock", type=Path, default=Path("requirements.lock"), help="what to install (%(default)s)")
    parser.add_argument("--project", type=Path, default=Path(), help="the project itself (the current folder)")
    asked = parser.parse_args()
    begun = time.monotonic()
    print(f"installing {asked.lock} into {asked.venv}: up to 3 GB to fetch", flush=True)
    try:
        installer = install(asked.venv, lock=asked.lock, project=asked.project)
    except KeyboardInterrupt:
        sys.exit("make setup was interrupted; run it again, and it continues")
    except OSError as error:
        sys.exit(f"make setup failed: {remedy(str(error))}")
    seconds = time.monotonic() - begun
    print(f"{asked.venv} is ready: Python {platform.python_version()}, installed by {installer} in {seconds:.0f} s")


if __name__ == "__main__":
    main()
