"""Every command in README and docs is run, or held against the help of its program; links, paths and glossary hold."""

import functools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import warm
import workflow_made
from headwater import cli
from headwater.study.config import Config, load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINKED = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "config/README.md", "profiles/README.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

EXEMPT = {"source .venv/bin/activate": "of the shell itself; the Makefile's .venv is checked below"}
"""Commands that are neither run nor held against a help text, and why."""

QUICK = ("plan", "plan cost", "plan power", "status", "doctor", "twin")
"""Commands of `headwater` that are run as they stand, in a folder with a small ChestX-ray14."""


@dataclass(frozen=True)
class Command:
    """One command line of a page; `block` tells those of code blocks from those within a sentence."""

    page: str
    text: str
    block: bool

    @property
    def words(self) -> list[str]:
        """Its words."""
        return shlex.split(self.text)

    @property
    def called(self) -> str:
        """The program, and for `headwater` what follows it."""
        first, *rest = self.words
        return " ".join([first, *named(rest)]) if first == "headwater" else first


def named(words: list[str]) -> list[str]:
    """The command of `headwater` that the words begin with."""
    if not words or words[0].startswith("-"):
        return []
    return words[:2] if len(words) > 1 and words[1] in cli.GROUPS.get(words[0], ()) else words[:1]


def commands(page: Path) -> list[Command]:
    """Every command of a page, in its order, each once."""
    text, name = page.read_text(), str(page.relative_to(ROOT))
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [Command(name, line.partition("#")[0].strip(), True) for line in lines if line.partition("#")[0].strip()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    inside = [span for span in spans if re.match(r"(headwater|snakemake|make|python scripts/\S+) \S", span)]
    return list(dict.fromkeys([*found, *(Command(name, span, False) for span in inside)]))


COMMANDS = [command for page in PAGES for command in commands(page)]
IN_BLOCKS = [command for command in COMMANDS if command.block]


def shown(command: Command) -> str:
    return f"{command.page}: {command.text}"


def program(words: list[str]) -> list[str]:
    """What starts `headwater` with these words, whether or not it is installed."""
    module, _ = PROJECT["project"]["scripts"]["headwater"].split(":")
    return [warm.python(), "-m", module, *words]


def environment() -> dict[str, str]:
    return workflow_made.environment() | {"COLUMNS": "200", "PYTHONPATH": str(ROOT / "scripts")}


@functools.cache
def options(*words: str) -> frozenset[str]:
    """The options that the help of a command lists."""
    process = subprocess.run([*words, "--help"], capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert process.returncode == 0, f"{words} has no help:\n{process.stderr}"
    return frozenset(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", process.stdout))


def options_used(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if re.fullmatch(r"--?[A-Za-z][\w-]*(=.*)?", word)}


def check(command: Command) -> None:
    """Refuse a command whose program, sub-command, option, target or extra does not exist."""
    first, *rest = command.words
    if command.text in EXEMPT:
        return
    if first == "headwater":
        path = named(rest)
        assert not rest or rest[0].startswith("-") or rest[0] in cli.COMMANDS, f"headwater has no {rest[0]}"
        # those of every command stand in the help of `headwater` itself
        assert options_used(rest) <= options(*program(path)) | options(*program([])), shown(command)
    elif first == "snakemake":
        assert options_used(rest) <= options(warm.python(), "-m", "snakemake"), shown(command)
    elif first == "python":
        assert options_used(rest) <= options(warm.python(), str(ROOT / rest[0])), shown(command)
    elif first == "make":
        targets = subprocess.run(["make", "-n", *rest], capture_output=True, text=True, cwd=ROOT)
        assert targets.returncode == 0, f"{shown(command)}\n{targets.stderr}"
    elif first == "pip":
        extras = re.search(r"\[(.*)\]", command.text)[1].split(",")
        assert set(extras) <= PROJECT["project"]["optional-dependencies"].keys(), shown(command)
    elif first in ("apptainer", "docker", "sbatch"):
        # they are not at hand: the files that they name, and the command inside
        assert all((ROOT / word).is_file() for word in rest if word.startswith("envs/")), shown(command)
        inside = shlex.split(" ".join(rest))
        if "snakemake" in inside:
            check(replace(command, text=shlex.join(inside[inside.index("snakemake") :])))
    else:
        pytest.fail(f"nothing here knows how to check {shown(command)}")


@pytest.mark.parametrize("command", COMMANDS, ids=shown)
def test_a_command_exists_with_all_its_options(command):
    check(command)


@pytest.mark.parametrize(
    "text",
    [
        "headwater plan --no-such-option",
        "headwater plans --config x",
        "snakemake --no-such-option",
        "python scripts/adopt.py --no-such-option",
        "python scripts/no_such_script.py",
        "make no_such_target",
        "pip install -e '.[no_such_extra]'",
        "docker build -f envs/no_such_file .",
        "apptainer exec headwater.sif snakemake --no-such-option",
        "somebody --else",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(text):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(Command("here", text, True))


def test_there_are_commands_and_the_exempt_are_among_them():
    texts = {command.text for command in COMMANDS}
    assert len(texts) > 40 and EXEMPT.keys() <= texts
    assert "VENV := .venv\n" in (ROOT / "Makefile").read_text()


# run


def first_block(page: Path, language: str, *, having: str) -> str:
    """The first code block of a page that has this text."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if having in block)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A folder that looks like the repository, with the study of README, on a twin where README has real data."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Snakefile", "scripts", "workflow", "envs", "profiles", "slurm"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "config" / "examples").mkdir(parents=True)
    for file in [*ROOT.glob("config/*.yaml"), *ROOT.glob("config/examples/*.yaml")]:
        (folder / file.relative_to(ROOT)).write_text(file.read_text())
    (folder / "weights").mkdir()
    with (folder / "weights" / "moco.pth").open("wb") as weights:
        np.savez(weights, weight=np.zeros(1))
    study = first_block(ROOT / "README.md", "yaml", having="comparison:")
    (folder / "config" / "my_study.yaml").write_text(re.sub(r"(?<= )/(data|weights)\b", rf"{folder}/\1", study))
    run(f"headwater twin chestxray14 {folder}/data/ChestX-ray14 --cases 200", folder, codes=(0,))
    return folder


def run(text: str, folder: Path, *, codes: tuple[int, ...]) -> str:
    """Run a command line in a folder, whatever it says of /data and /weights there; its output."""
    first, *rest = shlex.split(re.sub(r"(?<=[ :])/(data|weights)\b", rf"{folder}/\1", text))
    words = program(rest) if first == "headwater" else [warm.python(), "-m", first, *rest, "--cores", "1"]
    process = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment())
    assert process.returncode in codes, f"{text} ended with {process.returncode}:\n{process.stdout}{process.stderr}"
    return process.stdout + process.stderr


def runs(command: Command) -> bool:
    """Whether a command is quick and needs nothing that a fresh checkout with data has not."""
    words = command.words
    if words[0] == "snakemake":
        return "-n" in words
    if command.called == "headwater doctor" and "chestxray14" not in words:
        return False
    return words[0] == "headwater" and command.called.removeprefix("headwater ") in QUICK and "--help" not in words


RUN = sorted({command.text for command in IN_BLOCKS if runs(command)})


@pytest.mark.slow
@pytest.mark.parametrize("text", RUN)
def test_a_quick_command_runs(text, checkout):
    if text.startswith("headwater doctor chestxray14"):
        assert "0 errors" in run(text, checkout, codes=(0, 1))
    elif "own_folder.yaml" in text:
        assert "correct archives.mine.folder" in run(text, checkout, codes=(2,))
    elif text.startswith("headwater plan power"):
        assert "is not prepared; run snakemake" in run(text, checkout, codes=(2,))
    else:
        run(text, checkout, codes=(0,))


def test_there_are_quick_commands():
    assert {text.split()[0] for text in RUN} == {"headwater", "snakemake"} and len(RUN) > 10


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/own-data.md"])
def test_the_whole_configs_of_pages_are_valid(page):
    study = first_block(ROOT / page, "yaml", having="comparison:")
    assert load(yaml.safe_load(study)).comparison.reference == "random"


# texts


def test_readme_is_a_shop_window():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("page", [*PAGES, ROOT / "config" / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_of_configs_name_parts_that_exist(page):
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        parsed = yaml.safe_load(block)
        if not block.startswith(" ") and block.split(":")[0] != "method":
            assert parsed.keys() <= Config.model_fields.keys(), block


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and mkdocs make it."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower()))


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name} links to {target}#{anchor}"


def test_tests_that_pages_name_are_there():
    named = {(page.name, name) for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
    there = {name for file in ROOT.glob("tests/**/*.py") for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 30 and not {pair for pair in named if pair[1] not in there}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_library_are_where_pages_say(page):
    for path in re.findall(r"`((?:scripts|tests|benchmarks|workflow)/[\w./]+)`", page.read_text()):
        assert "my_" in path or "their" in path or (ROOT / path).exists(), f"{page.name} names {path}"


def glossary() -> list[tuple[str, str]]:
    """(word, definition) of each entry."""
    text = (DOCS / "glossary.md").read_text()
    found = re.findall(r"^\*\*(.+)\*\*\n:   (.+(?:\n    .+)*)$", text, re.MULTILINE)
    assert len(found) == text.count("\n:   ") == text.count("\n**")
    return found


def test_the_glossary_defines_each_word_once_and_briefly():
    words = [word for word, _ in glossary()]
    assert len(set(words)) == len(words)
    for word, definition in glossary():
        sentences = re.split(r"(?<=\.)\s+(?=[A-Z`\[])", definition.strip())
        assert len(sentences) <= 3, f"{word}: {definition}"


def test_the_glossary_has_the_words_that_every_page_uses():
    needed = "source corpus archive dataset case patient examination split recipe run seed method reduction encoder"
    needed += " backbone weights checkpoint coverage evidence metric comparison reference control family ledger"
    needed += " provenance verb study job controller calibration reader macro leak label"
    assert set(needed.split()) <= {word for word, _ in glossary()}


LOADED = re.compile(
    r"""<(?:script|img|iframe|link)[^>]*\s(?:src|href)=["']?(?:https?:)?//[^\s"'>]+  # what a page loads from elsewhere
    | url\(["']?(?:https?:)?//[^)]*  # and what a style does
    | @import[^;]*//""",
    re.VERBOSE,
)


def test_what_a_page_loads_from_elsewhere_is_noticed():
    for text in (
        '<script src="https://x.org/a.js">',
        "<link rel=stylesheet href=//x.org/a.css>",
        "url(https://x.org/a)",
    ):
        assert LOADED.search(text)
    assert not LOADED.search('<a href="https://x.org">x</a> <script src="assets/a.js"> url(a.woff)')


def test_the_site_builds_and_loads_nothing_from_the_network(tmp_path):
    site = tmp_path / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    process = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=quiet)
    assert process.returncode == 0, process.stderr
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for file in [*pages, *site.rglob("*.css")]:
        assert not LOADED.findall(file.read_text()), file
