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

LAYERS: tuple[tuple[str, ...], ...] = (
    ("records", "refusals"),
    ("plugins", "progress", "workers"),
    ("slurm", "leases", "launch", "processes", "snakemake_log"),
    ("claims", "waiting", "controller"),
    (
        *("windows", "settings", "source_grids", "grid", "origins", "cli"),
        *("findings", "exchanges", "jobs", "chronicle", "accounts"),
    ),
    (
        *("io", "formats", "hashes", "statistics", "splits", "shares", "provenance"),
        *("prepared", "predictions", "labels", "spent"),
    ),
    ("datasets", "twins", "reductions", "backbones", "weights", "metrics"),
    # the engine does not know what it trains; methods and tasks tell it, in its words
    ("engine",),
    ("methods", "tasks"),
    (
        *("measured", "probes", "as_published", "less_is_more", "verdicts", "examined", "subgroups", "crossed"),
        *("fitted", "watched"),
    ),
    (
        *("preflight", "catalogues", "specimens", "tables", "families", "wide", "characteristics", "matrix"),
        *("soundness", "numbers", "figures", "sentences", "page", "reduced"),
    ),
    ("reckoning", "calibration"),
    # by hand: no rule starts it
    ("plan", "cost", "calibrate", "rehearse", "study", "hindsight", "status", "submit", "by_hand", "doctor", "whence"),
    (
        *("prepare", "relabel", "ledger", "embed", "reduce", "adopt", "pretrain", "finetune", "predict", "transport"),
        *("compare", "examine", "cross", "report", "twin"),
    ),
)
"""The parts of the library from the ground up; a part may import its own layer and those before it."""

VERBS = LAYERS[-1]
"""Parts of the top layer: they meet in files only, and each is a rule, a door and a function."""

ROOMS: dict[str, tuple[str, ...]] = {
    "pydicom": ("io",),
    "nibabel": ("io",),
    "wandb": ("engine.tracking",),
    "tensorboard": ("engine.tracking",),
    "torch.utils.tensorboard": ("engine.tracking",),
    "timm": ("backbones", "weights", "engine", "tasks"),
    "monai": ("backbones", "engine", "tasks"),
    "lightly": ("methods",),
    "matplotlib": ("report", "figures"),
    "sklearn": ("metrics", "splits", "finetune", "probes"),
    "statsmodels": ("statistics",),
    "numba": ("statistics",),
    "scikit_posthocs": ("figures",),
    "snakemake": (),
    "submitit": ("submit",),
    "torch": (
        "backbones",
        "weights",
        "methods",
        "tasks",
        "engine",
        "adopt",
        "embed",
        "pretrain",
        "finetune",
        "fitted",
        "rehearse",
    ),
    "torchvision": ("engine", "methods"),
}
"""Outside libraries and the only parts of the library that may import them."""

TORCH_FREE = (
    *("slurm", "leases", "launch", "processes", "snakemake_log", "claims", "waiting", "controller"),
    *(
        "records",
        "refusals",
        "plugins",
        "progress",
        "workers",
        "cli",
        "grid",
        "origins",
        "settings",
        "source_grids",
        "formats",
        "splits",
        "shares",
        "preflight",
    ),
    *("io", "datasets", "twins", "statistics", "metrics", "reductions"),
    *("windows", "prepared", "provenance", "predictions", "labels", "spent"),
    *("measured", "probes", "as_published", "verdicts", "examined", "subgroups"),
    *("exchanges", "crossed", "cross", "catalogues", "findings", "tables", "families", "wide", "characteristics"),
    *("matrix", "soundness", "numbers", "figures", "less_is_more", "reduced"),
    *("sentences", "page"),
    *("prepare", "relabel", "ledger", "reduce", "compare", "examine", "report", "twin", "plan", "cost"),
    *("jobs", "chronicle", "accounts", "reckoning", "calibration", "calibrate", "study", "hindsight", "status"),
    *("submit", "by_hand", "specimens", "doctor", "whence"),
)
"""What runs, with all below it, without torch: planning is quick, and the Snakefile is parsed again in every job."""

LONGEST_FUNCTION = 60
LARGEST_FILE = 1_000_000

# written with brackets, so that this file does not break its own rules
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
LEFT_FOR_LATER = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
REGISTRY = re.compile(
    r"py[p]i\.org|python[h]osted|ana[c]onda\.(?:org|com)|arti[f]actory|--(?:extra-)?index[-]url|--find[-]links|"
    r"--trusted[-]host|dev[p]i\b"
)
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|tmp|home/\w+|Users/\w+)/\w")


def imports_look_down(root: Path) -> Iterator[str]:
    """Imports of a higher layer, of another verb, or by a part that no layer holds."""
    heights = {part: height for height, layer in enumerate(LAYERS) for part in layer}
    for part, file in _parts(root):
        if part not in heights:
            yield f"{file}: {part} has no layer; say where it belongs"
            continue
        for module in _imports(root / file):
            library, _, name = module.partition(".")
            target = name.partition(".")[0]
            if not library:
                yield f"{file}: an import is relative"
            elif library != "headwater" or target in (part, "__version__"):
                continue
            elif heights.get(target, len(LAYERS)) > heights[part]:
                yield f"{file}: {part} imports {target}, which lies above it"
            elif target in VERBS:
                yield f"{file}: {part} imports {target}; verbs meet in files only"


def libraries_keep_to_their_rooms(root: Path) -> Iterator[str]:
    """Imports of an outside library elsewhere than in its room."""
    for file in _python(root, "scripts"):
        place = _module(file).removeprefix("headwater.")
        for module in _imports(root / file):
            rooms = _rooms(module)
            if rooms is not None and not any(f"{place}.".startswith(f"{room}.") for room in rooms):
                yield f"{file}: imports {module}, whose place is {', '.join(rooms) or 'nowhere'}"


def _rooms(module: str) -> tuple[str, ...] | None:
    """The rooms of the longest known name that a module's name begins with."""
    names = [name for name in ROOMS if f"{module}.".startswith(f"{name}.")]
    return ROOMS[max(names, key=len)] if names else None


def torch_stays_out(root: Path) -> Iterator[str]:
    """What brings torch along although it must not; each module is tried alone once one of them does."""
    modules = [_module(file) for part, file in _parts(root) if part in TORCH_FREE]
    if modules and _loads_torch(root, modules):
        yield from (f"{module}: brings torch with it" for module in modules if _loads_torch(root, [module]))


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


def _lines_with(root: Path, pattern: re.Pattern) -> Iterator[str]:
    for file in files(root):
        for number, line in enumerate(_text(root / file).splitlines(), start=1):
            if found := pattern.search(line):
                yield f"{file}:{number}: {found[0]}"


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


def verbs_are_complete(root: Path) -> Iterator[str]:
    """Verbs without their rule, door or function, and rules that are no verb."""
    workflow = "\n".join(file.read_text() for file in sorted((root / "workflow" / "rules").glob("*.smk")))
    rules = set(re.findall(r"^(?:rule|checkpoint) (\w+):", workflow, re.MULTILINE))
    for verb in VERBS:
        if verb not in rules:
            yield f"{verb}: has no rule"
        if not re.search(rf"^\s+door\({verb}\)$", _text(root / "scripts" / f"{verb}.py"), re.MULTILINE):
            yield f"{verb}: has no door"
        if not re.search(rf"^def {verb}\(", _text(root / "scripts" / "headwater" / f"{verb}.py"), re.MULTILINE):
            yield f"{verb}: has no function"
    yield from (f"{rule}: is a rule, but no verb" for rule in sorted(rules - set(VERBS)))


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


def _parts(root: Path) -> Iterator[tuple[str, Path]]:
    """(part, file) of each module of the library: a part is a module or a folder right below it."""
    for file in _python(root, "scripts"):
        inside = file.parts[2:] if file.parts[1] == "headwater" else ()
        if inside and inside != ("__init__.py",):
            yield inside[0].removesuffix(".py"), file


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts[1:]).removesuffix(".__init__")


def _nodes(root: Path, kind: type | object, *folders: str) -> Iterator[tuple[Path, ast.AST]]:
    for file in _python(root, *(folders or ("scripts",))):
        yield from ((file, node) for node in ast.walk(_tree(root / file)) if isinstance(node, kind))


def _imports(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere: `headwater.x` for `from headwater import x`, `.x` for relative ones."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            joined = module in ("headwater", "torch.utils")
            yield from ([f"{module}.{alias.name}" for alias in node.names] if joined else [module])


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _text(path: Path) -> str:
    """A file as text; nothing if there is none, or if it is no text."""
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
