"""The rules of the house as functions: each takes the root of a source tree and gives what breaks the rule."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LIBRARY = Path("scripts/headwater")

TORCH_FREE = ("core", "study", "data", "evaluation", "cluster", "reporting", "planning")
"""Rooms that do without torch: planning is quick, and the Snakefile is read again in every job."""

TRAINS = {"adopt", "embed", "pretrain", "finetune", "predict", "transport"}
"""Stages that need torch; all others do without."""

TIMES_TRAININGS = {"planning.rehearse"}
"""What planning starts in a process of its own, to time real optimiser steps."""

SCHEDULERS = LIBRARY / "cluster" / "schedulers"
"""The only place that may call a scheduler's commands or read its variables."""

WAYS_TO_A_SCHEDULER = re.compile(
    r"\b(?:squeue|sacct|scancel|srun|sbatch|scontrol|sinfo|sacctmgr)\b|\b(?:SLURM|SBATCH|SRUN)_\w*"
)

NAME_OF_A_SCHEDULER = re.compile(r"\bSLURM\b")
"""Messages take it from a plug-in's TITLE in the rooms that speak to schedulers."""

SPEAKS_TO_SCHEDULERS = (LIBRARY / "cluster", LIBRARY / "planning")

WAYS_OF_TEXT = {
    "to_csv": ("core/destinations.py",),
    "to_markdown": ("core/text.py", "reporting/formatting.py"),
    "to_latex": ("reporting/formatting.py",),
    "to_html": (),
    "Environment": ("core/page.py",),
    "savefig": ("reporting/drawing.py",),
}
"""Calls that write text for a destination, and the modules that may call them."""

LONGEST_FUNCTION = 60
LONGEST_MODULE = 400
MOST_ENTRIES = 12
LARGEST_FILE = 1_000_000

# written with brackets, so that this file does not break its own rules
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
LEFT_FOR_LATER = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
REGISTRY = re.compile(
    r"py[p]i\.org|python[h]osted|ana[c]onda\.(?:org|com)|arti[f]actory|--(?:extra-)?index[-]url|--find[-]links|"
    r"--trusted[-]host|dev[p]i\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|tmp|home/\w+|Users/\w+)/\w")


def contracts_hold(root: Path) -> Iterator[str]:
    """Imports that the contracts in pyproject.toml forbid: a higher room, another stage, a library out of its place."""
    if not (root / "pyproject.toml").is_file():
        return
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts"), "COLUMNS": "200"}
    process = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    if process.returncode:
        broken = process.stdout.partition("Broken contracts")[2] or process.stdout + process.stderr
        yield from (line.strip() for line in broken.splitlines() if line.strip(" -"))


def imports_are_absolute(root: Path) -> Iterator[str]:
    """Imports that do not say which room they reach into."""
    for file, node in _nodes(root, ast.ImportFrom):
        if node.level:
            yield f"{file}:{node.lineno}: an import is relative"


def rooms_are_few(root: Path) -> Iterator[str]:
    """More entries in the library's root than a newcomer takes in at a glance."""
    entries = {file.parts[2] for file in files(root) if file.parts[:2] == LIBRARY.parts}
    if len(entries) > MOST_ENTRIES:
        yield f"{LIBRARY} has {len(entries)} entries: {', '.join(sorted(entries))}"


def torch_stays_out(root: Path) -> Iterator[str]:
    """What brings torch along although it must not; each module is tried alone once one of them does."""
    modules = [_module(file) for file in _python(root, "scripts") if _is_torch_free(file)]
    if modules and _loads_torch(root, modules):
        yield from (f"{module}: brings torch with it" for module in modules if _loads_torch(root, [module]))


def _is_torch_free(file: Path) -> bool:
    """Whether a module of the library must do without torch."""
    if file.parts[:2] != LIBRARY.parts or len(file.parts) < 4:
        return False
    room, name = file.parts[2], file.stem
    if f"{room}.{name}" in TIMES_TRAININGS:
        return False
    return room in TORCH_FREE or (room == "stages" and name not in TRAINS)


def _loads_torch(root: Path, modules: list[str]) -> bool:
    program = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(root / "scripts")}
    process = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    if process.stderr:
        raise AssertionError(process.stderr)
    return bool(process.returncode)


def scripts_shadow_no_module(root: Path) -> Iterator[str]:
    """Scripts that would be imported in place of a library, because a script's folder comes first on Python's path."""
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions()) - {"headwater"}
    for file in (root / "scripts").glob("*.py"):
        if file.stem in taken:
            yield f"{file.relative_to(root)}: bears the name of a module"


def tests_share_no_name(root: Path) -> Iterator[str]:
    """Files of tests have a name each: pytest, which knows them by it alone, would not collect the second."""
    first: dict[str, Path] = {}
    for file in _python(root, "tests"):
        if file.name.startswith("test_") and first.setdefault(file.name, file) != file:
            yield f"{file}: bears the name of {first[file.name]}; rename one"


def modules_say_what_they_are(root: Path) -> Iterator[str]:
    """Modules that do not open with a sentence."""
    for file in _python(root, "scripts"):
        first = (ast.get_docstring(_tree(root / file)) or "").partition("\n")[0]
        if not first.endswith((".", "?")) or " " not in first:
            yield f"{file}: opens without a sentence"


def names_say_something(root: Path) -> Iterator[str]:
    """Files and folders whose name says nothing."""
    for file in files(root):
        for part in file.parts:
            if NAMES_THAT_SAY_NOTHING & set(re.split(r"[_.-]", part.lower())):
                yield f"{file}: {part} says nothing about what is in it"


def nothing_is_left_for_later(root: Path) -> Iterator[str]:
    """Notes of work that was not done."""
    yield from _lines_with(root, LEFT_FOR_LATER)


def no_host_and_no_machine(root: Path) -> Iterator[str]:
    """Package registries and absolute paths of somebody's machine."""
    yield from _lines_with(root, REGISTRY)
    yield from _lines_with(root, MACHINE_PATH)


def schedulers_are_plugins(root: Path) -> Iterator[str]:
    """Code outside the plug-ins that knows a scheduler: its commands, its variables or, in messages, its name."""
    code = [file for file in files(root) if file.parts[0] in ("scripts", "workflow") or file.name == "Snakefile"]
    outside = [file for file in code if SCHEDULERS not in file.parents]
    yield from _lines_with(root, WAYS_TO_A_SCHEDULER, among=outside)
    speaking = [file for file in outside if set(SPEAKS_TO_SCHEDULERS) & set(file.parents)]
    yield from _lines_with(root, NAME_OF_A_SCHEDULER, among=speaking)


def _lines_with(root: Path, pattern: re.Pattern, *, among: list[Path] | None = None) -> Iterator[str]:
    for file in files(root) if among is None else among:
        for number, line in enumerate(_text(root / file).splitlines(), start=1):
            if found := pattern.search(line):
                yield f"{file}:{number}: {found[0]}"


def text_has_one_way(root: Path) -> Iterator[str]:
    """Code that writes CSV, HTML, LaTeX, Markdown or a figure around the functions that take any text."""
    for file, node in _nodes(root, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in WAYS_OF_TEXT and file not in [LIBRARY / place for place in WAYS_OF_TEXT[name]]:
            yield f"{file}:{node.lineno}: {name} writes text by another way than core/destinations.py"


def failures_are_told(root: Path) -> Iterator[str]:
    """Handlers that catch whatever comes."""
    for file, node in _nodes(root, ast.ExceptHandler):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in caught):
            yield f"{file}:{node.lineno}: catches everything"


def nothing_is_loaded_loosely(root: Path) -> Iterator[str]:
    """Calls that let tensors go missing, or sequences end early, without a word."""
    for file, node in _nodes(root, ast.Call):
        loose = [word.arg == "strict" and _is_false(word.value) for word in node.keywords]
        positional = ast.unparse(node.func).endswith("load_state_dict") and any(map(_is_false, node.args))
        if any(loose) or positional:
            yield f"{file}:{node.lineno}: is not strict"


def _is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def functions_are_short(root: Path) -> Iterator[str]:
    """Functions that do not fit on a screen."""
    for file, node in _nodes(root, ast.FunctionDef | ast.AsyncFunctionDef, "scripts", "tests"):
        length = node.end_lineno - node.lineno + 1
        if length > LONGEST_FUNCTION:
            yield f"{file}:{node.lineno}: {node.name} has {length} lines"


def modules_are_short(root: Path) -> Iterator[str]:
    """Modules that hold more than one thing."""
    for file in _python(root, "scripts"):
        length = len(_text(root / file).splitlines())
        if length > LONGEST_MODULE:
            yield f"{file}: has {length} lines"


def verbs_are_complete(root: Path) -> Iterator[str]:
    """Verbs without their rule, door or function, and rules that are no verb."""
    workflow = "\n".join(file.read_text() for file in sorted((root / "workflow" / "rules").glob("*.smk")))
    rules = set(re.findall(r"^(?:rule|checkpoint) (\w+):", workflow, re.MULTILINE))
    verbs = [
        file.stem for file in _python(root, "scripts") if file.parent == LIBRARY / "stages" and file.stem != "__init__"
    ]
    for verb in verbs:
        if verb not in rules:
            yield f"{verb}: has no rule"
        if not re.search(rf"^\s+door\({verb}\)$", _text(root / "scripts" / f"{verb}.py"), re.MULTILINE):
            yield f"{verb}: has no door"
        if not re.search(rf"^def {verb}\(", _text(root / LIBRARY / "stages" / f"{verb}.py"), re.MULTILINE):
            yield f"{verb}: has no function"
    yield from (f"{rule}: is a rule, but no verb" for rule in sorted(rules - set(verbs)))


def files_are_small(root: Path) -> Iterator[str]:
    """Files that do not belong into a repository."""
    for file in files(root):
        if (root / file).stat().st_size > LARGEST_FILE:
            yield f"{file}: is larger than {LARGEST_FILE} bytes"


def files(root: Path) -> list[Path]:
    """What git tracks or would add, relative to the root; all files where there is no git."""
    if not (root / ".git").exists():
        return sorted(file.relative_to(root) for file in root.rglob("*") if file.is_file())
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(Path(name) for name in set(names) if (root / name).is_file())


def _python(root: Path, *folders: str) -> list[Path]:
    return [file for file in files(root) if file.suffix == ".py" and file.parts[0] in folders]


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__")


def _nodes(root: Path, kind: type | object, *folders: str) -> Iterator[tuple[Path, ast.AST]]:
    for file in _python(root, *(folders or ("scripts",))):
        yield from ((file, node) for node in ast.walk(_tree(root / file)) if isinstance(node, kind))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _text(path: Path) -> str:
    """A file as text; nothing if there is none, or if it is no text."""
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
