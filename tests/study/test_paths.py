"""Only study/paths.py spells paths of products, and the test of this rule detects a violation."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import house_rules
from headwater.study import paths
from headwater.study.config import load
from headwater.study.job_graph import JobGraph
from workflow_made import small_config

ROOT = Path(__file__).parents[2]

FOLDERS = ("archives", "by_hand", "comparisons", "corpora", "encoders", "progress", "runs", "twins")
"""Folders right below the results."""

FILES = (
    *("cases.parquet", "images.npy", "hashes.npy", "rejects.parquet", "labels.parquet", "split.json", "fit.json"),
    "model.safetensors",
    *("predictions.parquet", "validation.parquet", "elsewhere.parquet", "ledger.parquet", "spent.json"),
    *(".manifest.parquet", ".features.", ".coverage.", ".refused.", "calibration.json"),
)
"""Names of products, or parts of them; what the report consists of is declared where it is made, in reporting."""

SPELT = re.compile(rf"(^|/)({'|'.join(FOLDERS)})/|(/|^logs/)\{{?\w*\}}?/?.*\.log$|{'|'.join(map(re.escape, FILES))}")


def spelt(root: Path) -> Iterator[str]:
    """Places that spell the path of a product."""
    for file in house_rules.files(root):
        if file.parts[-2:] == ("study", "paths.py") or file.parts[0] not in ("scripts", "workflow", "Snakefile"):
            continue
        text = (root / file).read_text() if file.suffix in (".py", ".smk", "") else ""
        for number, literal in _python(text) if file.suffix == ".py" else _workflow(text):
            # words in a sentence name a file; a path has no blanks
            if " " not in literal and (found := SPELT.search(literal)):
                yield f"{file}:{number}: spells {found[0]}"


def _python(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each string that is no docstring; a name behind `/` ends in one, as a folder does."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
            yield node.lineno, f"{node.right.value}/"
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def _workflow(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each string in a file of rules."""
    for number, line in enumerate(text.splitlines(), start=1):
        yield from ((number, literal) for literal in re.findall(r'"([^"]*)"', line.partition("# ")[0]))


def test_products_are_spelt_in_one_file():
    found = list(spelt(ROOT))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("scripts/headwater/x.py", 'model = f"{results}/runs/{run.path}/model"', "x.py:1: spells /runs/"),
        ("scripts/headwater/x.py", 'file = results / "archives" / name', "spells archives/"),
        ("scripts/headwater/x.py", 'file = folder / "cases.parquet"', "spells cases.parquet"),
        ("scripts/headwater/x.py", 'seconds = rows.with_suffix(".spent.json")', "spells spent.json"),
        ("scripts/headwater/x.py", 'file = folder / f"{looker}.features.json"', "spells .features."),
        ("scripts/x.py", 'place = "results/encoders/dino"', "spells /encoders/"),
        ("workflow/rules/x.smk", '    log:\n        "logs/twin/{archive}.log",', "x.smk:2: spells logs/"),
        ("workflow/rules/x.smk", 'output: f"{RESULTS}/ledger.parquet"', "spells ledger.parquet"),
        ("Snakefile", 'input: "results/comparisons/a.parquet"', "spells /comparisons/"),
    ],
)
def test_a_product_that_is_spelt_elsewhere_is_found(tmp_path: Path, file: str, text: str, found: str):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    assert [place for place in spelt(tmp_path) if found in place], list(spelt(tmp_path))


@pytest.mark.parametrize(
    "text", ['"""Reads results/runs/."""', 'print("see archives/ and cases.parquet")', 'config["archives"]', "a / b"]
)
def test_what_spells_no_product_passes(tmp_path: Path, text: str):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "x.py").write_text(text)
    assert not list(spelt(tmp_path))


# the job graph that is made of them


def graph() -> JobGraph:
    return JobGraph(load(small_config()))


def test_each_job_comes_after_those_that_it_needs():
    there: set[str] = set()
    for job in graph().jobs():
        assert set(job.needs) <= there, job.title
        there.add(job.product)


def test_each_rule_of_the_graph_is_one_of_the_workflow_and_the_other_way_round():
    rules = "\n".join(file.read_text() for file in (ROOT / "workflow" / "rules").glob("*.smk"))
    assert set(re.findall(r"^rule (\w+):", rules, re.MULTILINE)) == set(graph().rules)
    asked = re.findall(r'(?:needed|made|log_of)\("(\w+)"', rules)
    assert set(asked) == set(graph().rules)


def test_a_training_needs_its_images_and_the_ledger():
    (job,) = [job for job in graph().jobs() if job.rule == "pretrain"]
    assert set(job.needs) == {
        "results/archives/photographs/cases.parquet",
        "results/corpora/photographs/everything.parquet",
        "results/ledger.parquet",
    }
    run = next(job for job in graph().jobs() if job.rule == "finetune" and "photographs" in job.wildcards)
    assert "results/encoders/photographs.safetensors" in run.needs and run.log.endswith("/finetune/seed0.log")


def test_templates_and_names_give_the_same_paths():
    made = paths.Paths("results")
    template = made.model(paths.run_path("{dataset}", "{source}", "{recipe}", "{seed}"))
    run = ("vindr", "random", "finetune", 3)
    named = dict(zip(("dataset", "source", "recipe", "seed"), run, strict=True))
    assert template.format(**named) == made.model(paths.run_path(*run))
    assert paths.seconds_of_reduction(Path(made.rows("a", "b"))) == paths.seconds_of_reduction(
        Path(made.manifest("a", "b"))
    )
