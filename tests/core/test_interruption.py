"""Ctrl-C while a command is still being imported is one line and exit code 130, whatever is being imported."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

DOORS = sorted(file for file in SCRIPTS.glob("*.py") if file.name != "generate.py")
KINDS = ("prepare", "plan", "rehearse", "launch")
"""A door of each kind, by what it imports first."""

SLOW = """import time
try:
    print(flush=True)
    time.sleep(99)
except BaseException:
    # as libraries do that have a substitute for what they cannot import
    raise ImportError("not here") from None
"""

ENTRY_POINT = "import sys\nfrom headwater.cli import main\nsys.exit(main())\n"


def interrupted(script: Path, *, slow: str, folder: Path, **environment: str) -> tuple[int, str]:
    """(exit code, what was said) of a script that got Ctrl-C while it imported a library."""
    (folder / f"{slow}.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(SCRIPTS)]), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    return process.returncode, said


@pytest.mark.parametrize("door", KINDS)
def test_a_door_that_is_being_imported_ends_with_one_line(door: str, tmp_path: Path):
    # the launcher imports no library, and so is stopped in the first standard module
    slow = "argparse" if door == "launch" else "cyclopts"
    told = interrupted(SCRIPTS / f"{door}.py", slow=slow, folder=tmp_path)
    assert told == (130, f"headwater {door}: interrupted\n")


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.stem)
def test_every_door_imports_the_library_first(door: Path):
    imports = [line.split()[1] for line in door.read_text().splitlines() if line.startswith(("import ", "from "))]
    # which Python has loaded itself
    imports = [name for name in imports if name != "sys"]
    assert imports[0].startswith("headwater.")


def test_so_does_the_command(tmp_path: Path):
    command = tmp_path / "bin" / "headwater"
    command.parent.mkdir()
    command.write_text(ENTRY_POINT)
    assert interrupted(command, slow="cyclopts", folder=tmp_path) == (130, "headwater: interrupted\n")


def test_and_a_stage_whose_libraries_take_seconds(tmp_path: Path):
    door = SCRIPTS / "finetune.py"
    # of a training of several processes the first one says it
    for rank, said in (("0", "headwater finetune: interrupted\n"), ("1", "")):
        assert interrupted(door, slow="numpy", folder=tmp_path, RANK=rank) == (130, said)


def test_a_program_that_uses_the_library_keeps_its_own_ctrl_c(tmp_path: Path):
    program = tmp_path / "own.py"
    program.write_text("import signal, headwater\nprint(signal.getsignal(signal.SIGINT).__name__)\n")
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    said = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "default_int_handler\n"


def test_a_command_that_has_begun_can_bring_its_work_to_an_end(tmp_path: Path):
    command = tmp_path / "headwater"
    command.write_text(
        "import signal, headwater\n"
        "from headwater.core.command_line import door\n"
        "handlers = [signal.getsignal(signal.SIGINT)]\n"
        "def wait():\n"
        "    'Wait.'\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n"
        "        print('saved')\n"
        "try:\n"
        "    door(wait, [])\n"
        "finally:\n"
        "    print(handlers[0] is signal.getsignal(signal.SIGINT) is not signal.default_int_handler)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    said = subprocess.run([sys.executable, command], env=environment, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (130, "saved\nTrue\n", "headwater wait: interrupted\n")


def test_a_python_without_the_libraries_is_one_line():
    # -S: without the packages of .venv, as the system's Python
    command = [sys.executable, "-S", "-E", str(SCRIPTS / "plan.py"), "--help"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2 and process.stdout == ""
    assert process.stderr.count("\n") == 1 and "source .venv/bin/activate" in process.stderr
