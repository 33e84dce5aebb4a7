"""The house keeps its rules, and each rule bites: a small tree that breaks it is found out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import house_rules

ROOT = Path(__file__).parent.parent
Rule = Callable[[Path], Iterator[str]]

RULES = [
    house_rules.imports_look_down,
    house_rules.libraries_keep_to_their_rooms,
    house_rules.torch_stays_out,
    house_rules.scripts_shadow_no_module,
    house_rules.modules_say_what_they_are,
    house_rules.names_say_something,
    house_rules.nothing_is_left_for_later,
    house_rules.no_host_and_no_machine,
    house_rules.failures_are_told,
    house_rules.nothing_is_loaded_loosely,
    house_rules.functions_are_short,
    house_rules.verbs_are_complete,
    house_rules.files_are_small,
]

LIBRARY = "scripts/headwater"

MUTANTS: list[tuple[Rule, dict[str, str], str]] = [
    (house_rules.imports_look_down, {"grid.py": "from headwater.engine import loop"}, "grid imports engine"),
    (house_rules.imports_look_down, {"io/dicom.py": "from headwater import datasets"}, "io imports datasets"),
    (house_rules.imports_look_down, {"engine/x.py": "def f():\n    import headwater.tasks.y"}, "engine imports tasks"),
    (house_rules.imports_look_down, {"predict.py": "from headwater.finetune import fit"}, "verbs meet in files"),
    (house_rules.imports_look_down, {"prepare.py": "import headwater.reduce as r"}, "verbs meet in files"),
    (house_rules.imports_look_down, {"engine/loop.py": "from .views import crop"}, "is relative"),
    (house_rules.imports_look_down, {"somewhere.py": ""}, "has no layer"),
    (house_rules.libraries_keep_to_their_rooms, {"datasets/vindr.py": "import pydicom"}, "place is io"),
    (house_rules.libraries_keep_to_their_rooms, {"engine/loop.py": "from wandb import init"}, "engine.tracking"),
    (
        house_rules.libraries_keep_to_their_rooms,
        {"engine/loop.py": "from torch.utils import tensorboard"},
        "engine.tracking",
    ),
    (house_rules.libraries_keep_to_their_rooms, {"engine/tracking_x.py": "import wandb"}, "engine.tracking"),
    (house_rules.libraries_keep_to_their_rooms, {"methods/x.py": "import timm.layers"}, "imports timm.layers"),
    (house_rules.libraries_keep_to_their_rooms, {"formats.py": "def f():\n    import torch"}, "imports torch"),
    (house_rules.libraries_keep_to_their_rooms, {"settings.py": "import snakemake"}, "place is nowhere"),
    (house_rules.libraries_keep_to_their_rooms, {"../report.py": "from sklearn.metrics import auc"}, "sklearn"),
    (
        house_rules.torch_stays_out,
        {
            # a package: else the one that `make setup` puts on the path would be found before it
            "__init__.py": "",
            "settings.py": "import headwater.weights",
            "weights/__init__.py": "import torch",
            "../torch.py": "",
        },
        "headwater.study.config: brings torch",
    ),
    (house_rules.scripts_shadow_no_module, {"../profile.py": ""}, "bears the name"),
    (house_rules.scripts_shadow_no_module, {"../tabulate.py": ""}, "bears the name"),
    (house_rules.modules_say_what_they_are, {"x.py": "import os"}, "opens without"),
    (house_rules.modules_say_what_they_are, {"io/__init__.py": '"""io"""'}, "opens without"),
    (house_rules.names_say_something, {"io/image_utils.py": ""}, "says nothing"),
    (house_rules.names_say_something, {"../../workflow/rules/common.smk": ""}, "says nothing"),
    (house_rules.nothing_is_left_for_later, {"x.py": "# TO" + "DO: mend this"}, "x.py:1"),
    (house_rules.no_host_and_no_machine, {"../../lock": "\n--extra-index" + "-url x"}, "lock:2"),
    (house_rules.no_host_and_no_machine, {"x.py": "DATA = '/home" + "/somebody/data'"}, "x.py:1"),
    (house_rules.failures_are_told, {"x.py": "try:\n    pass\nexcept:\n    pass"}, "x.py:3"),
    (house_rules.failures_are_told, {"x.py": "try:\n    pass\nexcept (OSError, Exception):\n    pass"}, "x.py:3"),
    (house_rules.nothing_is_loaded_loosely, {"x.py": "model.load_state_dict(tensors, strict=False)"}, "not strict"),
    (house_rules.nothing_is_loaded_loosely, {"x.py": "model.load_state_dict(tensors, False)"}, "not strict"),
    (house_rules.functions_are_short, {"x.py": "def f():\n" + "    pass\n" * 60}, "f has 61 lines"),
    (house_rules.verbs_are_complete, {"prepare.py": "def prepares(): ..."}, "prepare: has no function"),
    (house_rules.verbs_are_complete, {"../prepare.py": "    door(reduce)"}, "prepare: has no door"),
    (house_rules.verbs_are_complete, {"../../workflow/rules/data.smk": "rule reduce:\n"}, "prepare: has no rule"),
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
    assert {rule for rule, _, _ in MUTANTS} == set(RULES)


GOOD = {
    "settings.py": '"""What a config says."""\nfrom headwater.records import Record\n',
    "records.py": '"""Forms of plans."""\nRecord = dict\n',
    "methods/x.py": '"""A way to learn."""\nfrom lightly.loss import DINOLoss\nfrom headwater.tasks import head\n',
    "io/dicom.py": '"""Reads DICOM."""\nimport pydicom\nfrom headwater import records\n',
    "../door.py": '"""A door for people."""\nfrom headwater.cli import door\n',
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
