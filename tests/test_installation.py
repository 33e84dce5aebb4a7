"""`make setup` installs what the lock names whatever has been released since, and says what to do where it cannot."""

import errno
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import distribution
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wheels_made import entry, packed, source, wheel

ROOT = Path(__file__).parent.parent
INSTALL = ROOT / "envs" / "install.py"
LOCK = (ROOT / "requirements.lock").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TRACKED = subprocess.run(
    ["git", "ls-files", "scripts"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
REAL_UV = Path(sys.executable).with_name("uv")


@dataclass
class Stage:
    """An index of packages, a lock for the older ones, a project, its environment, and the settings of pip and uv."""

    index: Path
    lock: Path
    project: Path
    venv: Path
    settings: dict[str, str]

    def install(self, lock: str | None = None, **settings: str) -> subprocess.CompletedProcess:
        """What `make setup` runs, on this lock or another."""
        if lock is not None:
            self.lock.write_text(lock)
        command = [sys.executable, INSTALL, "--venv", self.venv, "--lock", self.lock, "--project", self.project]
        environment = os.environ | self.settings | settings
        return subprocess.run(command, cwd=self.index, env=environment, capture_output=True, text=True)

    def python(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess:
        """The environment's Python, from a folder that knows nothing of headwater."""
        environment = os.environ | self.settings | settings
        environment.pop("PYTHONPATH", None)
        command = [self.venv / "bin" / "python", *arguments]
        return subprocess.run(command, cwd=self.index, env=environment, capture_output=True, text=True)

    def ready(self) -> bool:
        """Whether the installation counts as done."""
        return (self.venv / "ready").exists()


def uv(folder: Path, script: str = f'exec {REAL_UV} "$@"') -> Path:
    """A wheel that brings a `uv`: the real one, or what a script does in its place."""
    return wheel(folder, "uv", "1", files={"uv-1.data/scripts/uv": f"#!/bin/sh\n{script}\n"})


def stage_in(folder: Path) -> Stage:
    """River 1 asks for brook[deep], for old, which has no wheel, and for what no index has; all have newer releases."""
    index = folder / "index"
    index.mkdir()
    deep = ("Provides-Extra: deep", "Requires-Dist: spring>=1; extra == 'deep'")
    oldest = [
        wheel(index, "river", "1", "Requires-Dist: brook[deep]>=1", "Requires-Dist: old>=1", "Requires-Dist: nowhere"),
        wheel(index, "brook", "1", *deep),
        wheel(index, "spring", "1"),
        source(index, "old", "1"),
        packed(index, "setuptools"),
        uv(index),
    ]
    wheel(index, "river", "2", "Requires-Dist: brook[deep]>=2")
    wheel(index, "brook", "2", *deep)
    wheel(index, "spring", "2")
    source(index, "old", "2")
    wheel(index, "wheel", "1")
    wheel(index, "setuptools", "999", files={"setuptools/__init__.py": "raise RuntimeError('the newest setuptools')\n"})
    lock = folder / "some.lock"
    lock.write_text("".join(map(entry, oldest)))
    settings = dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(index))
    settings |= dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX", "PIP_NO_CACHE_DIR"), "1")
    settings |= {"PIP_CONFIG_FILE": os.devnull, "PIP_COMPILE": "0"}
    return Stage(index, lock, copied(folder / "project"), folder / "venv", settings)


def copied(folder: Path) -> Path:
    """A copy of headwater: who builds a package writes beside its sources."""
    for name in (*TRACKED, "pyproject.toml", "README.md", "LICENSE"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage on which one installation has succeeded, by uv."""
    made = stage_in(tmp_path_factory.mktemp("stage"))
    process = made.install()
    assert process.returncode == 0, process.stdout + process.stderr
    assert "installed by uv" in process.stdout
    return made


VERSIONS = "from importlib.metadata import version as v; print(*map(v, ('river', 'brook', 'spring', 'old')))"


def test_newer_releases_change_nothing(stage: Stage):
    assert stage.python("-c", VERSIONS).stdout.split() == ["1", "1", "1", "1"]
    assert stage.ready()


def test_the_resolver_would_have_been_misled(stage: Stage):
    """The index is a trap: with the dependencies looked up, the very same lock is refused."""
    options = ["--dry-run", "--ignore-installed", "--require-hashes", "--no-build-isolation"]
    process = stage.python("-m", "pip", "install", *options, "-r", stage.lock)
    assert process.returncode
    assert "must have their versions pinned" in process.stderr


def test_builds_would_have_been_misled(stage: Stage):
    """With a build environment of its own, the newest setuptools builds what has no wheel."""
    process = stage.python("-m", "pip", "wheel", "--no-deps", "--use-pep517", "old==1")
    assert process.returncode
    assert "the newest setuptools" in process.stdout + process.stderr


def test_what_was_killed_is_continued_by_pip_where_uv_cannot(tmp_path: Path):
    stage = stage_in(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", stage.venv], check=True)  # as uv makes them
    (stage.venv / "mine").touch()
    real = entry(stage.index / "uv-1-py3-none-any.whl")
    killed = stage.install(stage.lock.read_text().replace(real, entry(uv(stage.index, "kill -KILL $PPID"))))
    assert killed.returncode == -signal.SIGKILL
    assert not stage.ready()
    (stage.venv / "bin" / "uv").write_text("#!/bin/sh\necho no index that uv knows has it\nexit 2\n")
    continued = stage.install()
    assert continued.returncode == 0, continued.stdout + continued.stderr
    assert "uv cannot install here" in continued.stdout
    assert "installed by pip" in continued.stdout
    assert stage.python("-c", VERSIONS).stdout.split() == ["1", "1", "1", "1"]
    assert stage.ready()
    assert (stage.venv / "mine").exists()


def test_headwater_is_there_from_any_folder(stage: Stage):
    process = stage.python("-c", "import headwater; print(headwater.__file__)")
    assert process.stdout.strip() == str(stage.project / "scripts" / "headwater" / "__init__.py"), process.stderr
    assert PYPROJECT["project"]["scripts"] == {"headwater": "headwater.cli:main"}
    assert "from headwater.cli import main" in (stage.venv / "bin" / "headwater").read_text()


def test_the_command_answers_from_any_folder(stage: Stage):
    libraries = distribution("numpy").locate_file("")  # the stage has none of headwater's dependencies
    (next(stage.venv.glob("lib/*/site-packages")) / "libraries.pth").write_text(f"{libraries}\n")
    process = stage.python("-I", stage.venv / "bin" / "headwater", "--help")
    assert process.returncode == 0, process.stderr
    assert "Usage: headwater" in process.stdout


def test_a_wheel_of_headwater_holds_the_whole_library(stage: Stage, tmp_path: Path):
    """Built as for `pip install .`, in an environment of its own: by the locked setuptools, not by the newest."""
    process = stage.python("-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, stage.project)
    assert process.returncode == 0, process.stdout + process.stderr
    (built,) = tmp_path.glob("headwater-*.whl")
    library = {name.removeprefix("scripts/") for name in TRACKED if name.count("/") > 1}
    assert len(library) > 100
    assert library - set(zipfile.ZipFile(built).namelist()) == set()


def failure(process: subprocess.CompletedProcess) -> str:
    """The one line that a failed installation says."""
    assert process.returncode
    (line,) = process.stderr.splitlines()
    return line


def without_uv(lock: str) -> str:
    """A lock that pip installs."""
    return re.sub(r"^uv==.*\n.*\n", "", lock, flags=re.MULTILINE)


def test_a_failure_names_what_to_do_and_leaves_nothing_ready(stage: Stage, tmp_path: Path):
    lock = stage.lock.read_text()
    odd = wheel(tmp_path, "odd", "1")
    altered = wheel(stage.index, "altered", "1")
    cases = {
        "the package index has no odd==1 for Python 3": (entry(odd), {}),
        "a package is not the one that requirements.lock names": (entry(altered, digest="0" * 64), {}),
        "the package index cannot be reached; check the network": (
            entry(odd),
            {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "1"},
        ),
    }
    for said, (line, settings) in cases.items():
        line = failure(stage.install(without_uv(lock) + line, **settings))
        assert line.startswith(f"make setup failed: {said}")
        assert line.endswith(f"(all output: {stage.venv / 'install.log'})")
        assert not stage.ready()
    assert stage.install(lock).returncode == 0
    assert stage.ready()


def test_an_environment_of_another_python_is_refused(stage: Stage, tmp_path: Path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    other = replace(stage, venv=tmp_path)
    python.write_text("#!/bin/sh\necho 3.9\n")
    python.chmod(0o755)
    assert re.search(r"is of Python 3\.9, not 3\.\d+; remove it", failure(other.install()))
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert "is of a Python that is gone, not" in failure(other.install())


def test_a_python_without_venv_is_named(stage: Stage, tmp_path: Path):
    (tmp_path / "venv.py").write_text("raise SystemExit('ensurepip is not available')\n")
    other = replace(stage, venv=tmp_path / "venv")
    assert "apt install python3-venv" in failure(other.install(PYTHONPATH=str(tmp_path)))


def test_other_failures_are_told_from_what_is_said():
    remedy = runpy.run_path(str(INSTALL))["remedy"]
    assert remedy(f"ERROR: {OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))}").startswith("the disk is full")
    assert remedy(f"ERROR: {OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))}").startswith("the disk is full")
    assert remedy(f"error: {OSError(errno.EACCES, os.strerror(errno.EACCES))}").startswith("a folder cannot be written")
    assert remedy("ERROR: never seen before\nnote: see above\n") == "ERROR: never seen before"
    assert remedy("killed\n") == "killed"


def test_make_runs_it_with_a_new_python_only(tmp_path: Path):
    def make(*arguments: str) -> subprocess.CompletedProcess:
        command = ["make", *arguments, "setup", f"VENV={tmp_path / 'venv'}"]
        # not as a part of the `make test` that may have started this test, which says where it enters and leaves
        plain = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
        return subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True)

    assert f"envs/install.py --venv {tmp_path / 'venv'}" in make("-n").stdout
    refused = make("PYTHON=false")
    assert refused.returncode
    assert refused.stdout.startswith("headwater needs Python 3.11 or newer, which false is not; say make PYTHON=")
    assert not (tmp_path / "venv").exists()


def locked(lock: str) -> dict[str, Requirement]:
    """The lock's pins that hold on this machine, by name."""
    lines = re.findall(r"^(\w[^\\\n]*)", lock, re.MULTILINE)
    pins = map(Requirement, lines)
    return {canonicalize_name(pin.name): pin for pin in pins if pin.marker is None or pin.marker.evaluate()}


@cache
def installed(name: str) -> tuple[str, list[Requirement]]:
    """The version of an installed package, and what it asks for."""
    package = distribution(name)
    return package.version, list(map(Requirement, package.requires or []))


def absent(lock: str) -> set[str]:
    """What the project or any package below it asks for, extras included, and a lock does not hold."""
    pins = locked(lock)
    project = PYPROJECT["project"]
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    todo, seen, missing = [Requirement(line) for line in asked], set(), set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        version, below = installed(name)
        if name not in pins or version not in pins[name].specifier or version not in wanted.specifier:
            missing.add(name)
        for extra in {"", *wanted.extras} - {extra for known, extra in seen if known == name}:
            seen.add((name, extra))
            todo += [one for one in below if one.marker is None or one.marker.evaluate({"extra": extra})]
    return missing


def test_the_lock_is_complete():
    """Or else an installation without looking dependencies up would lack something."""
    assert absent(LOCK) == set()


@pytest.mark.parametrize("name", ["uv", "mdurl", "torch", "aiohttp"])
def test_a_gap_in_the_lock_is_found(name: str):
    without = re.sub(rf"^{name}(\[\w+\])?==.*\n", "", LOCK, flags=re.MULTILINE)
    assert absent(without) == {name}
    older = re.sub(rf"^{name}(\[\w+\])?==[^\s;]+", f"{name}==0.0.1", LOCK, flags=re.MULTILINE)
    assert absent(older) == {name}


def test_pip_builds_headwater_with_the_locked_setuptools():
    assert PYPROJECT["build-system"]["requires"] == [str(locked(LOCK)["setuptools"])]
