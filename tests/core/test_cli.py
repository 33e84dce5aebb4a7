"""A signature becomes a command line, a user's mistake one line, and `headwater` loads only what it runs."""

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

import warm
from headwater import __version__, cli
from headwater.core.command_line import door
from headwater.core.errors import UserError
from headwater.study.recipe import Views

ROOT = Path(__file__).parents[2]

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
    rows: list[int] | None = None,
    kind: Literal["alpha", "beta"] = "alpha",
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
    door(verb, ["folder", *arguments, *([] if "--views" in arguments else ["--views", "{}"])])
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
        "rows": None,
        "kind": "alpha",
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
        (["--rows", "3", "5"], "rows", [3, 5]),
        (["--kind", "beta"], "kind", "beta"),
        (["--count", "-3"], "count", -3),
        (["--word=--two"], "word", "--two"),
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
        (["folder"], "--views is missing; --help lists the arguments"),
        (["folder", "--views", "{}", "--cuont", "3"], "unknown option --cuont; did you mean '--count'?"),
        (["folder", "--views", "{}", "--count", "three"], "--count must be a whole number (got 'three')"),
        (["folder", "--views", "{}", "--count", "1.5"], "--count must be a whole number (got '1.5')"),
        (["folder", "--views", "{}", "--rows", "2", "2.5"], "--rows must be a whole number (got '2.5')"),
        (
            ["folder", "--views", "{}", "--share", "half"],
            'for --share: unable to convert "half" into float',
        ),
        (["folder", "--views", "{}", "--kind", "alpa"], 'Choose from: "alpha", "beta". Did you mean "alpha"?'),
        (["folder", "--views", "{}", "--start"], "--start requires an argument"),
        (["folder", "--views", "{}", "--count", "1", "--count", "2"], "--count specified multiple times"),
        (["folder", "more", "--views", "{}"], "unexpected words: more; --help lists the arguments"),
    ],
)
def test_a_wrong_command_line_exits_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        door(verb, arguments)
    assert exited.value.code == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("headwater verb: ") and error.count("\n") == 1


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


def test_ctrl_c_is_one_line_and_exit_130(capsys: pytest.CaptureFixture):
    def wait() -> None:
        """Wait."""
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as exited:
        door(wait, [])
    assert exited.value.code == 130
    assert capsys.readouterr().err == "headwater wait: interrupted\n"


def test_an_error_of_the_software_keeps_its_traceback():
    def stumble() -> None:
        """Stumble."""
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        door(stumble, [])


def test_help_tells_what_the_function_does(capsys: pytest.CaptureFixture):
    door(verb, ["--help"])
    said = capsys.readouterr().out
    assert "Do a thing." in said
    assert "--number-of-rows" in said


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

    def close() -> None:
        """Close."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "report")

    with pytest.raises(SystemExit) as left:
        door(close, [])
    assert left.value.code == 2
    assert "'report'; check the permissions" in capsys.readouterr().err

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
        (ROOT / "scripts" / "work.py", "1", ["worked", "exit function"], 0),
        # a failed command, and one that is part of a larger program, end as usual
        (ROOT / "scripts" / "work.py", "0", ["exit function", "taken apart"], 2),
        (ROOT / "work.py", "1", ["worked", "exit function", "taken apart"], 0),
    ],
)
def test_a_door_leaves_at_once_when_its_work_is_done(file: Path, times: str, said: list[str], code: int):
    program = LEAVING.format(file=str(file), times=times)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (done.stdout.splitlines(), done.returncode) == (said, code)


# the command for people


def headwater(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """A command line of `headwater` as a process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "COLUMNS": "100"}
    command = [sys.executable, "-m", "headwater.cli", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


PATHS = [[name] for name in cli.COMMANDS if name != "submit"]
PATHS += [[group, name] for group, commands in cli.GROUPS.items() for name in commands]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_argument_of_every_command_is_explained(path: list[str]):
    command = cli.application(path)
    for name in path:
        command = command[name]
    arguments = command.assemble_argument_collection(parse_docstring=True)
    assert [argument.name for argument in arguments if not argument.parameter.help] == []
    assert path[:1] == ["submit"] or arguments


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stats"], "headwater: there is no command 'stats'; did you mean 'status'?"),
        (["plan", "cots"], "headwater plan: there is no command 'cots'; did you mean 'cost'?"),
        (["plan", "--tranings", "3"], "headwater plan: unknown option --tranings; did you mean '--trainings'?"),
        (["plan", "absent.yaml"], "headwater plan: absent.yaml: there is no such config file; give the path"),
        (["plan", "cost"], "headwater plan cost: CONFIG is missing; --help lists the arguments"),
        (["submit", "log"], "headwater submit: there is no command 'log'; did you mean 'logs'?"),
        (["doctor", "chestxray14", ".", "--sample", "-1"], "headwater doctor: --sample must be >= 0 (got -1)"),
        (["doctor", "chestxray41", "."], "headwater doctor: datasets: there is no 'chestxray41'; did you mean"),
    ],
)
def test_a_mistake_of_a_user_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert exited.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(said) and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["submit"]])
def test_a_command_that_is_not_named_is_asked_for(arguments: list[str], capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as exited:
        cli.main(arguments)
    assert exited.value.code == 2
    assert "Commands" in capsys.readouterr().err


def test_help_and_version_load_no_room():
    program = (
        "import sys\nfrom headwater import cli\ncli.main(['--help'])\ncli.main(['--version'])\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('headwater.')}\n"
        "print(sorted(rooms - {'cli', 'core'}), {'numpy', 'pandas', 'torch', 'yaml'} & set(sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-2:] == [__version__, "[] set()"]


def test_a_command_runs_in_another_folder(tmp_path: Path):
    process = headwater("doctor", "chestxray14", "absent", folder=tmp_path)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr == "headwater doctor: absent: there is no such folder; name the folder of the archive\n"
    process = headwater("status", folder=tmp_path)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("headwater status: config/config.yaml: there is no such config file")


def test_a_reader_that_has_seen_enough_gets_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m headwater.cli twin --help | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    process = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert process.stdout.startswith("Usage: headwater twin") and process.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_and_options(shell: str):
    script = cli.application(["--install-completion"]).generate_completion(shell=shell)
    assert "calibrate" in script and "held-out" in script and "trainings" in script


@pytest.mark.parametrize(("script", "command"), [("plan", "plan"), ("whence", "trace"), ("submit", "submit")])
def test_the_old_scripts_are_the_same_commands(script: str, command: str):
    path = ROOT / "scripts" / f"{script}.py"
    environment = {**os.environ, "COLUMNS": "100"}
    process = subprocess.run([warm.python(), path, "--help"], env=environment, capture_output=True, text=True)
    assert process.stdout == headwater(command, "--help").stdout != ""


def test_the_old_name_of_the_overview_still_works(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        cli.main(["plan", "study", "--trainings", "0"])
    assert capsys.readouterr().err == "headwater plan: --trainings must be >= 1 (got 0)\n"
