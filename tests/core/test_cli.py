"""A door turns a function's signature into a command line, and a refusal into one line."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.core.command_line import door, doors
from headwater.core.errors import UserError
from headwater.study.recipe import Views

SCRIPTS = Path(__file__).parents[2] / "scripts"

got: dict = {}


def verb(
    first: Path,
    *,
    views: Views,
    count: int = 1,
    share: float = 0.5,
    word: str = "none",
    files: list[Path] = [],  # noqa: B006
    start: Path | None = None,
    number_of_rows: int | None = None,
    check: bool = False,
    keep: bool = True,
) -> None:
    """Do a thing.

    With 100 % of the rest of the docstring.
    """
    got.clear()
    got.update(locals())


def call(*arguments: str) -> dict:
    """What the function gets from these arguments."""
    door(verb, ["folder", "--views", "{}", *arguments])
    return got


def test_what_is_not_said_is_the_default():
    assert call() == {
        "first": Path("folder"),
        "views": Views(),
        "count": 1,
        "share": 0.5,
        "word": "none",
        "files": [],
        "start": None,
        "number_of_rows": None,
        "check": False,
        "keep": True,
    }


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--count", "3"], "count", 3),
        (["--share", "1e-4"], "share", 1e-4),
        (["--word", "two words"], "word", "two words"),
        (["--files", "a", "b c"], "files", [Path("a"), Path("b c")]),
        (["--files"], "files", []),
        (["--start", "x.safetensors"], "start", Path("x.safetensors")),
        (["--number-of-rows", "7"], "number_of_rows", 7),
        (["--check"], "check", True),
        (["--no-check"], "check", False),
        (["--no-keep"], "keep", False),
        (["--views", '{"flip":0.5}'], "views", Views(flip=0.5)),
    ],
)
def test_each_kind_of_argument(arguments: list[str], name: str, value: object):
    assert call(*arguments)[name] == value


def test_a_record_may_come_from_a_file(tmp_path: Path):
    (tmp_path / "views.json").write_text('{"flip": 0.25}')
    assert call("--views", f"@{tmp_path / 'views.json'}")["views"] == Views(flip=0.25)


def test_a_first_argument_with_a_default_may_be_left_out():
    def plan(config: Path = Path("config.yaml")) -> None:
        """Plan."""
        assert config == expected

    expected = Path("config.yaml")
    door(plan, [])
    expected = Path("mine.yaml")
    door(plan, ["mine.yaml"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder"], "required: --views"),
        (["folder", "--views", "{}", "--cuont", "3"], "unrecognized arguments: --cuont 3"),
        (["folder", "--views", "{}", "--count", "three"], "invalid int value: 'three'"),
        (["folder", "--views", "{}", "--start"], "expected one argument"),
    ],
)
def test_a_wrong_command_line_exits_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        door(verb, arguments)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"flop": 0.5}', "headwater verb: Views.flop: unknown key; did you mean 'flip'?"),
        (
            '{"flip": 2, "crop": 0}',
            "headwater verb: Views.crop: Input should be greater than 0 (got 0); "
            "Views.flip: Input should be less than or equal to 1 (got 2)",
        ),
        ("@absent.json", "No such file or directory: 'absent.json'"),
        ("{", "headwater verb: Views: Invalid JSON"),
    ],
)
def test_a_wrong_record_is_one_line(written: str, said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        door(verb, ["folder", "--views", written])
    assert exited.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def refuse() -> None:
    """Refuse."""
    raise UserError("there is no\n  such thing", file="a/b.csv", remedy="make it")


def test_a_refusal_is_one_line_and_exit_2(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        door(refuse, [])
    assert exited.value.code == 2
    assert capsys.readouterr().err == "headwater refuse: a/b.csv: there is no such thing; make it\n"


def test_only_the_first_of_many_ranks_says_it(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as exited:
        door(refuse, [])
    assert exited.value.code == 2
    assert capsys.readouterr().err == ""


def test_an_error_of_the_software_keeps_its_traceback():
    def stumble() -> None:
        """Stumble."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        door(stumble, [])


def test_help_tells_what_the_function_does(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        door(verb, ["--help"])
    assert exited.value.code == 0
    said = capsys.readouterr().out
    assert "Do a thing." in said
    assert "--number-of-rows NUMBER_OF_ROWS" in said


def test_a_door_as_a_process(tmp_path: Path):
    script = tmp_path / "refuse.py"
    script.write_text(
        "from headwater.core.command_line import door\n"
        "from headwater.core.errors import UserError\n"
        "def refuse(*, count: int):\n"
        "    'Refuse.'\n"
        "    raise UserError(f'{count} is too many')\n"
        "door(refuse)\n"
    )
    scripts = str(Path(__file__).parents[2] / "scripts")
    environment = {**os.environ, "PYTHONPATH": scripts}
    process = subprocess.run(
        [sys.executable, str(script), "--count", "3"], env=environment, capture_output=True, text=True
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "headwater refuse: 3 is too many\n"


def test_a_door_with_several_commands_runs_the_one_that_is_named(capsys: pytest.CaptureFixture):
    commands = {"do": verb, "refuse": refuse}
    doors(commands, ["do", "folder", "--views", "{}", "--count", "3"])
    assert (got["first"], got["count"]) == (Path("folder"), 3)
    with pytest.raises(SystemExit) as exited:
        doors(commands, ["refuse"])
    assert exited.value.code == 2
    assert capsys.readouterr().err == "headwater refuse: a/b.csv: there is no such thing; make it\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Do a thing."),
        (["paint"], "invalid choice: 'paint'"),
        (["do", "folder"], "required: --views"),
        (["do", "folder", "--views", '{"flop": 0.5}'], "headwater do: Views.flop: unknown key"),
    ],
)
def test_a_wrong_command_exits_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        doors({"do": verb, "refuse": refuse}, arguments)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_other_errors_are_not_hidden(number: int, capsys: pytest.CaptureFixture):
    def write() -> None:
        """Write."""
        raise OSError(number, os.strerror(number), "model.safetensors")

    with pytest.raises(SystemExit) as left:
        door(write, [])
    assert left.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("headwater write: ")
    assert "'model.safetensors'; free some space" in line

    def read() -> None:
        """Read."""
        raise FileNotFoundError(errno.ENOENT, "gone")

    with pytest.raises(FileNotFoundError):
        door(read, [])


def test_the_libraries_of_a_training_say_nothing_at_its_end():
    command = [sys.executable, str(Path(__file__).parents[2] / "scripts" / "finetune.py"), "--help"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


LEAVING = """
import atexit, sys
from headwater.core.command_line import door
from headwater.core.errors import UserError

class Left:
    def __del__(self):
        print("taken apart")

left = Left()
atexit.register(print, "exit function")

def work(*, times: int):
    if not times:
        raise UserError("nothing to do")
    print("worked")

__file__ = {file!r}
door(work, ["--times", {times!r}])
"""


@pytest.mark.parametrize(
    ("file", "times", "said", "code"),
    [
        (SCRIPTS / "work.py", "1", ["worked", "exit function"], 0),
        # a failed command, and one that is part of a larger program, end as usual
        (SCRIPTS / "work.py", "0", ["exit function", "taken apart"], 2),
        (SCRIPTS.parent / "work.py", "1", ["worked", "exit function", "taken apart"], 0),
    ],
)
def test_a_door_leaves_at_once_when_its_work_is_done(file: Path, times: str, said: list[str], code: int):
    program = LEAVING.format(file=str(file), times=times)
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.stdout.splitlines(), done.returncode) == (said, code)
