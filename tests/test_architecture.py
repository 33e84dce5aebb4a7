"""The house keeps its rules, and each rule bites: a small tree that breaks it is found out."""

import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import house_rules

ROOT = Path(__file__).parent.parent
Rule = Callable[[Path], Iterator[str]]

RULES = [
    house_rules.contracts_hold,
    house_rules.imports_are_absolute,
    house_rules.rooms_are_few,
    house_rules.torch_stays_out,
    house_rules.scripts_shadow_no_module,
    house_rules.tests_share_no_name,
    house_rules.modules_say_what_they_are,
    house_rules.names_say_something,
    house_rules.nothing_is_left_for_later,
    house_rules.no_host_and_no_machine,
    house_rules.schedulers_are_plugins,
    house_rules.text_has_one_way,
    house_rules.failures_are_told,
    house_rules.nothing_is_loaded_loosely,
    house_rules.functions_are_short,
    house_rules.modules_are_short,
    house_rules.verbs_are_complete,
    house_rules.files_are_small,
]

LIBRARY = "scripts/headwater"

MUTANTS: list[tuple[Rule, dict[str, str], str]] = [
    (house_rules.imports_are_absolute, {"training/loop.py": "from .augment import crop"}, "is relative"),
    (house_rules.rooms_are_few, {f"room{number}/x.py": "" for number in range(13)}, "has 13 entries"),
    (
        house_rules.torch_stays_out,
        {
            # a package: else the one that `make setup` puts on the path would be found before it
            "__init__.py": "",
            "study/config.py": "import headwater.models.weights",
            "models/weights/__init__.py": "import torch",
            "../torch.py": "",
        },
        "headwater.study.config: brings torch",
    ),
    (house_rules.scripts_shadow_no_module, {"../profile.py": ""}, "bears the name"),
    (house_rules.scripts_shadow_no_module, {"../tabulate.py": ""}, "bears the name"),
    (
        house_rules.tests_share_no_name,
        {"../../tests/data/test_views.py": "", "../../tests/study/test_views.py": ""},
        "bears the name of tests/data/test_views.py",
    ),
    (house_rules.modules_say_what_they_are, {"x.py": "import os"}, "opens without"),
    (house_rules.modules_say_what_they_are, {"data/io/__init__.py": '"""io"""'}, "opens without"),
    (house_rules.names_say_something, {"data/io/image_utils.py": ""}, "says nothing"),
    (house_rules.names_say_something, {"../../workflow/rules/common.smk": ""}, "says nothing"),
    (house_rules.nothing_is_left_for_later, {"x.py": "# TO" + "DO: mend this"}, "x.py:1"),
    (house_rules.no_host_and_no_machine, {"../../lock": "\n--extra-index" + "-url x"}, "lock:2"),
    (house_rules.no_host_and_no_machine, {"x.py": "DATA = '/home" + "/somebody/data'"}, "x.py:1"),
    (house_rules.schedulers_are_plugins, {"planning/x.py": "\nasked('sq" + "ueue', '-h')"}, "x.py:2: sq"),
    (house_rules.schedulers_are_plugins, {"cluster/x.py": "os.environ['SLURM" + "_JOB_ID']"}, "x.py:1: SLURM"),
    (house_rules.schedulers_are_plugins, {"cluster/x.py": "print('SLURM ends this job')"}, "x.py:1: SLURM"),
    (house_rules.schedulers_are_plugins, {"../../workflow/rules/x.smk": "shell: 'sr" + "un x'"}, "x.smk:1: sr"),
    (house_rules.text_has_one_way, {"stages/x.py": "file.write(table.to_csv())"}, "x.py:1: to_csv"),
    (house_rules.text_has_one_way, {"planning/x.py": "page = jinja2.Environment()"}, "x.py:1: Environment"),
    (house_rules.failures_are_told, {"x.py": "try:\n    pass\nexcept:\n    pass"}, "x.py:3"),
    (house_rules.failures_are_told, {"x.py": "try:\n    pass\nexcept (OSError, Exception):\n    pass"}, "x.py:3"),
    (house_rules.nothing_is_loaded_loosely, {"x.py": "model.load_state_dict(tensors, strict=False)"}, "not strict"),
    (house_rules.nothing_is_loaded_loosely, {"x.py": "model.load_state_dict(tensors, False)"}, "not strict"),
    (house_rules.functions_are_short, {"x.py": "def f():\n" + "    pass\n" * 60}, "f has 61 lines"),
    (house_rules.modules_are_short, {"core/x.py": "\n" * 401}, "has 401 lines"),
    (house_rules.verbs_are_complete, {"stages/prepare.py": "def prepares(): ..."}, "prepare: has no function"),
    (
        house_rules.verbs_are_complete,
        {"stages/prepare.py": "", "../prepare.py": "    door(reduce)"},
        "prepare: has no door",
    ),
    (
        house_rules.verbs_are_complete,
        {"stages/prepare.py": "", "../../workflow/rules/data.smk": "rule reduce:\n"},
        "prepare: has no rule",
    ),
    (house_rules.verbs_are_complete, {"../../workflow/rules/data.smk": "rule paint:\n"}, "paint: is a rule, but no"),
    (house_rules.files_are_small, {"../../results.csv": "0" * 1_000_001}, "is larger"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rule(rule: Rule):
    findings = list(rule(ROOT))
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(("rule", "tree", "found"), MUTANTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_broken_rule_is_found(tmp_path: Path, rule: Rule, tree: dict[str, str], found: str):
    _plant(tmp_path, tree)
    assert any(found in finding for finding in rule(tmp_path)), list(rule(tmp_path))


def test_each_rule_has_a_mutant():
    assert {rule for rule, _, _ in MUTANTS} | {house_rules.contracts_hold} == set(RULES)


FORBIDDEN = {
    "Rooms look down": ("study/x.py", "headwater.training.loop"),
    "Stages meet in files only": ("stages/predict.py", "headwater.stages.finetune"),
    "What a config says needs no numbers": ("study/x.py", "pandas"),
    "The library knows no workflow engine": ("planning/x.py", "snakemake"),
    "Medical files are read in data.io": ("data/datasets/vindr.py", "pydicom"),
    "Dashboards have one place": ("training/loop.py", "wandb"),
    "Schedulers submit their jobs": ("cluster/submit.py", "submitit"),
    "Networks come from models, losses and heads from methods": ("stages/finetune.py", "timm"),
    "Self-supervised losses stay in methods": ("training/loop.py", "lightly"),
    "Only what is trained needs torch": ("data/x.py", "torch"),
    "Figures are drawn in one place": ("evaluation/x.py", "matplotlib"),
    "Private modules stay in their room": ("stages/twin.py", "headwater.data.twins._patients"),
}
"""For each contract an import that breaks it."""


def test_each_contract_bites(tmp_path: Path):
    shutil.copytree(ROOT / LIBRARY, tmp_path / LIBRARY, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert list(house_rules.contracts_hold(tmp_path)) == []
    for name, forbidden in FORBIDDEN.values():
        with (tmp_path / LIBRARY / name).open("a") as file:
            file.write(f"\nimport {forbidden}\n")
    found = "\n".join(house_rules.contracts_hold(tmp_path))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["name"] for contract in contracts} == set(FORBIDDEN)
    for contract, (name, forbidden) in FORBIDDEN.items():
        importer = ".".join(Path("headwater", name).with_suffix("").parts)
        section = found.partition(f"\n{contract}\n")[2] if not found.startswith(contract) else found
        assert f"{importer} -> {forbidden}" in section, f"{contract}\n\n{found}"


GOOD = {
    "__init__.py": '"""A library."""\n',
    "study/config.py": '"""What a config says."""\nfrom headwater.core.records import Record\n',
    "core/records.py": '"""Forms of plans."""\nRecord = dict\n',
    "cluster/schedulers/x.py": '"""Asks SLURM."""\nCOMMAND = "squeue"\n',
    "training/methods/x.py": '"""A way to learn."""\nfrom lightly.loss import DINOLoss\n',
    "../door.py": '"""A door for people."""\nfrom headwater.core.command_line import door\n',
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule is not house_rules.verbs_are_complete])
def test_a_good_tree_passes(tmp_path: Path, rule: Rule):
    _plant(tmp_path, GOOD)
    assert list(rule(tmp_path)) == []


def _plant(root: Path, tree: dict[str, str]) -> None:
    """Write the files of a tree, named from the library's folder, at `root`."""
    for name, text in tree.items():
        file = (root / LIBRARY / name).resolve()
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
