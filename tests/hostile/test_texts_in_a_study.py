"""A study whose labels, titles, reasons and folders are hostile: refused with the config, or shown right to the end."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import browser
import report_made
from headwater.core import files as core_files
from headwater.core import registry
from headwater.core.errors import UserError
from headwater.core.page import Page, as_html
from headwater.data.index import LABELS
from headwater.planning import preflight
from headwater.reporting import trace_number
from headwater.reporting.trace_report import Report, read_table
from headwater.stages.prepare import prepare
from headwater.stages.report import report
from headwater.study import config as study_config
from headwater.study import text_checks
from headwater.study.leaks import Excuse, Leaks
from predictions_made import cohort
from test_texts import Words
from texts_made import ACCEPTED, ALIKE, REFUSED, drawn
from workflow_made import small_config, snakemake

COLUMNS = [label for label in ACCEPTED if label != "split"]
"""Labels that are columns of an own table: `split` is one with a meaning."""

REASON = "because {of} \\ $it$ 'x' \"y\" <b> & 50 % | `z` *w* 结节"


def archive(folder: Path, *, columns: list[str]) -> Path:
    """An own folder with a column for each label."""
    folder.mkdir(parents=True)
    cases = cohort(patients=40, images=1, labels=dict.fromkeys(columns, 0.5))
    draw = np.random.default_rng(0)
    for name in cases["case"]:
        Image.fromarray(draw.integers(0, 255, (16, 16), dtype=np.uint8)).save(folder / f"{name}.png")
    cases.assign(file=cases.pop("case") + ".png").to_csv(folder / "cases.csv", index=False)
    return folder


def config_of(folder: Path, *, labels: tuple[str, ...] = (), **changes) -> dict:
    """The small study on an own folder."""
    config = small_config()
    config["archives"]["mine"] = {"kind": {"name": "own_folder"}, "folder": str(folder), "size": 16}
    config["datasets"] = {"mine": {"labels": list(labels)}}
    return config | changes


def refusal(config: dict) -> str:
    with pytest.raises(UserError) as refused:
        study_config.load(config)
    assert str(refused.value).isprintable()
    return str(refused.value)


def test_a_config_takes_every_label_that_can_be_shown_and_names_every_other():
    study_config.load(config_of(Path("x"), labels=ACCEPTED))
    said = refusal(config_of(Path("x"), labels=("Nodule", *REFUSED)))
    for why in REFUSED.values():
        assert re.search(rf"datasets\.mine\.labels: the label \S[^;]* {why}|holds {why}", said), why
    assert said.startswith(f"config: {len(REFUSED)} mistakes") or "look alike" in said


@pytest.mark.parametrize("archive", registry.names("datasets"))
def test_labels_of_published_archives_can_be_shown(archive: str):
    assert list(text_checks.unfit_labels(registry.load("datasets", archive).CARD.labels)) == []


@pytest.mark.parametrize("pair", ALIKE, ids=ascii)
def test_labels_that_look_alike_are_refused_with_both_names(pair):
    said = refusal(config_of(Path("x"), labels=("Mass", *pair)))
    assert re.search(r"datasets\.mine\.labels: the labels '.+' and '.+' look alike", said)
    assert all(label in said for label in pair) or r"'Lung mass' and 'Lung \x20mass'" in said


def test_labels_of_two_targets_and_of_subsets_and_probes_are_checked_too():
    config = config_of(Path("x"))
    targets = {"one": {"labels": ["Nodule", "Mass"]}, "two": {"labels": ["nodule"]}}
    config["datasets"]["mine"] = {"targets": targets}
    config["comparison"]["subsets"] = {"few": {"mine": ["a\u200bb"]}}
    config["sources"]["photographs"]["probe"] = {"archive": "photographs", "labels": ["x" * 101]}
    said = refusal(config)
    assert "datasets.mine.targets: the labels 'Nodule' and 'nodule' look alike" in said
    assert "comparison.subsets.few.mine: the label 'a\\u200bb' holds U+200B" in said
    assert "sources.photographs.probe.labels: the label 'xxx" in said and "has 101 characters" in said


NAMES = {
    "{x}": "use letters, digits",
    "a b": "use letters, digits",
    "a\nb": "use letters, digits",
    "=x": "use letters, digits",
    "結節": "use letters, digits",
    "x" * 61: "has 61 characters; use at most 60",
}


@pytest.mark.parametrize(("name", "why"), NAMES.items(), ids=lambda word: ascii(word)[:20])
def test_names_are_those_of_folders(name: str, why: str):
    config = config_of(Path("x"), recipes={name: small_config()["recipes"]["finetune"]})
    config["archives"][name] = config["archives"]["mine"]
    config["sources"][name] = {}
    config["reductions"] = {name: "random"}
    config["datasets"] = {name: {"archive": "mine"}, "t": {"archive": "mine", "targets": {name: {"labels": ["a"]}}}}
    config["comparison"]["subsets"] = {name: {"t": ["a"]}}
    said = refusal(config)
    shown = name.replace("\n", " ")
    sections = ("archives", "sources", "reductions", "datasets", "recipes")
    for section in (*sections, "datasets.t.targets", "comparison.subsets"):
        assert re.search(rf"{section}\.{re.escape(shown)}: [^;]*{why}", said), section


def test_names_that_differ_in_case_only_or_mean_something_else_are_refused():
    config = config_of(Path("x"), controls={"again": ["random"]}, reductions={"Everything": "random"})
    config["sources"] |= {"Random": {}, "RANDOM_again": {}, "Chance": {}}
    config["archives"]["MINE"] = config["archives"]["mine"]
    config["datasets"]["Macro"] = {"archive": "mine"}
    asked = {"heart": {"labels": ["a"]}, "Heart": {"labels": ["b"]}, "LUNGS": {"labels": ["c"]}}
    config["datasets"]["t"] = {"archive": "mine", "targets": asked}
    config["comparison"]["subsets"] = {"lungs": {"t": ["a"]}, "Lungs": {"t": ["b"]}}
    said = refusal(config)
    assert "datasets.t.targets.Heart: differs from heart in case only" in said
    assert "datasets.t.targets.LUNGS: differs from lungs in case only" in said
    assert "comparison.subsets.Lungs: differs from lungs in case only" in said
    assert "sources.Random: differs from random in case only" in said
    assert "sources.random_again: differs from RANDOM_again in case only" in said
    assert "archives.MINE: differs from mine in case only" in said
    assert "reductions.everything: differs from Everything in case only" in said
    assert "sources.Chance: the name is reserved for guessing" in said
    assert "datasets.Macro: the name is reserved for the mean over labels" in said


def test_text_besides_labels_is_visible_and_paths_are_no_patterns():
    config = config_of(Path("my {data}"), tracking={"project": "a/b"})
    assert "tracking.project" in refusal(config)
    config["tracking"] = {"project": "a\u202eb"}
    config["archives"]["mine"]["kind"] |= {"title": "\x1b[31mred", "table": "{x}.csv"}
    config["sources"]["own"] = {"weights": {"layout": "timm", "path": "-w.pth"}}
    excuse = {"kind": "patients", "between": ["mine train", "mine test"], "reason": "it is \u200b so, and more"}
    config["leaks"] = {"excused": [excuse]}
    said = refusal(config)
    assert "tracking.project: 'a\\u202eb' holds U+202E (RIGHT-TO-LEFT OVERRIDE)" in said
    assert "archives.mine.kind.options.title: '\\x1b[31mred' holds U+001B" in said
    assert "archives.mine.folder: my {data} has a brace, which Snakemake takes for a wildcard" in said
    assert "archives.mine.kind.table: {x}.csv has a brace" in said
    assert "sources.own.weights.path: -w.pth begins with -, as options do; write ./-w.pth" in said
    assert "leaks.excused.reason" in said and "U+200B (ZERO WIDTH SPACE)" in said


def test_a_reason_over_several_lines_is_one():
    excuse = Excuse(kind="patients", between=("a train", "a test"), reason="it is\n  so, and more\n")
    assert excuse.reason == "it is so, and more"


def test_columns_that_nobody_uses_are_prepared_and_those_that_are_used_are_named(tmp_path, capsys):
    odd = ["a\u202eb", "macro", "nodule", "W" * 300]
    folder = archive(tmp_path / "mine", columns=["Nodule", *odd])
    preflight.check(study_config.load(config_of(folder, labels=("Nodule",))))
    with pytest.raises(UserError) as refused:
        preflight.check(study_config.load(config_of(folder)))
    said = str(refused.value)
    assert said.isprintable()
    assert "archives.mine: the label 'a\\u202eb' holds U+202E (RIGHT-TO-LEFT OVERRIDE)" in said
    assert (
        "the label 'macro' is reserved for the mean over labels; rename it, or choose others by datasets.mine.labels"
        in said
    )
    assert "the labels 'Nodule' and 'nodule' look alike" in said and "has 300 characters" in said
    assert prepared(config_of(folder, labels=("Nodule",)), tmp_path) == {"Nodule", *odd}
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def prepared(config: dict, folder: Path) -> set[str]:
    """The labels that `prepare` counts."""
    files = {name: folder / f"{name}.parquet" for name in ("cases", "rejects", "labels")}
    record = study_config.load(config).archives["mine"]
    binaries = {name: folder / f"{name}.npy" for name in ("images", "hashes")}
    prepare(archive=record, workers=0, split=folder / "split.json", **files, **binaries)
    return set(LABELS.read(files["labels"])["label"])


def test_an_archive_of_such_labels_is_planned_and_prepared(tmp_path):
    folder = archive(tmp_path / "$mine & 'yours' `x` ñ", columns=COLUMNS)
    config = config_of(folder, labels=tuple(COLUMNS))
    config["archives"]["mine"]["kind"] |= {
        "title": "{title} $a$ <b> `x`",
        "licence": "{archive}",
        "numbering": "{seed}",
    }
    between = ["mine train", "mine test"]
    config["leaks"] = {"excused": [{"kind": "patients", "between": between, "reason": REASON}]}
    assert prepared(config, tmp_path) == set(COLUMNS)
    job = "results/archives/mine/cases.parquet"
    (tmp_path / "run").mkdir()
    planned = snakemake(tmp_path / "run", "-n", "-p", config=config)
    assert all(rule in planned.stdout for rule in ("finetune", "ledger", "report"))
    snakemake(tmp_path / "run", job, config=config)
    assert set(LABELS.read(tmp_path / "run" / Path(job).with_name("labels.parquet"))["label"]) == set(COLUMNS)


def test_labels_that_cannot_be_shown_end_the_plan_in_a_line_each(tmp_path):
    ended = snakemake(tmp_path, "-n", config=config_of(tmp_path, labels=("a\u202eb", "macro")), check=False)
    _, _, mistakes = ended.stderr.partition("2 mistakes:\n")
    assert ended.returncode
    hidden, reserved = mistakes.strip().splitlines()
    assert "U+202E" in hidden and "'macro' is reserved" in reserved
    (tmp_path / "latin.yaml").write_bytes(yaml.safe_dump({"x": "é"}, allow_unicode=True).encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml: the config is not UTF-8 text"):
        study_config.read(tmp_path / "latin.yaml")


SHOWN = [
    *(
        "Nodule {left}",
        "{}",
        "costs $5 and $6",
        "back\\slash",
        "50 % & more_#1 ~x^2",
        "[x] y",
        "a|b",
        "# x",
        "=SUM(A1)",
    ),
    *("<script>alert(1)</script>", 'id="x" url(#a) href="#b" #1b2430', "NA", "007", "结节", "עברית (1)", "x" * 100),
]
"""Labels of the study that is reported."""


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_made, "PATIENT_DATA", {label: 0.3 + 0.01 * at for at, label in enumerate(SHOWN)})
        patch.setattr(report_made, "CASE_DATA", {"фиброз": 0.3, "фибров": 0.4})
        made = report_made.study(folder, strengths={"random": 0.3, "wild": 1.4}, subsets={"few": {"chest": SHOWN[:2]}})
    excuse = Excuse(kind="patients", between=("vindr_archive train", "vindr_archive test"), reason=REASON)
    grid = made.grid.model_copy(update={"leaks": Leaks(excused=(excuse,))})
    report(grid=grid, results=folder, folder=folder / "report")
    return folder / "report"


def read(folder: Path, name: str) -> str:
    return (folder / name).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_and_its_tables_say_each_label(reported):
    for name in ("index.html", "significance.html", "labelwise_chest.html"):
        source = read(reported, name)
        assert set(SHOWN) <= set(Words(source).cells), name
        # the page's own, which sorts its tables, comes last
        body, _, script = source.rpartition("<script>")
        assert "script" not in Words(body).tags and "script" in Words(source).tags
        assert script.strip().endswith("</html>") and not [
            label for label in SHOWN if len(label) > 3 and label in script
        ]
    # within one cell, every word is in it
    assert REASON in Words(f"<td>{read(reported, 'significance.html')}").cells[0]
    assert set(SHOWN) <= set(read_table(reported / "significance.csv")["label"])


@pytest.mark.slow
def test_markdown_tables_say_each_label(reported):
    markdown_it = pytest.importorskip("markdown_it")
    reader = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for name in ("significance.md", "labelwise_chest.md"):
        source = reader.render(read(reported, name))
        assert set(SHOWN) <= set(Words(source).cells), name


@pytest.mark.slow
def test_figures_say_each_label(reported):
    for name in ("forest_chest.svg", "roc_chest.svg", "reliability_chest.svg"):
        texts = [
            "".join(node.itertext()) for node in ElementTree.parse(reported / name).iter() if node.tag[-4:] == "text"
        ]
        # a long title is several elements, with no space between them
        whole = "".join("".join(texts).split())
        assert [label for label in SHOWN if "".join(label.split()) not in whole] == [], name


@pytest.mark.slow
def test_csv_files_hold_no_formula_and_trace_finds_their_rows(reported):
    for file in reported.glob("*.csv"):
        cells = pd.read_csv(file, dtype=str, keep_default_na=False).to_numpy().ravel()
        assert not [cell for cell in cells if re.match(r"[=@]|[+-](?![\d.]+(e[+-]?\d+)?$)", cell)], file.name
    written = Report(reported)
    number = trace_number.find(written, reported / "significance.csv", ["chest", "=sum(a1)", "wild"])
    assert number.lines[0] == "chest, auroc, finetune, =SUM(A1): wild against random"
    names = core_files.read_json(reported / "numbers.json")
    assert len([name for name in names if re.fullmatch(r"vindr\.auroc\.finetune\.--\w{6}\.patients", name)]) == 2
    for name in names:
        if name.startswith("vindr.auroc.finetune.--") and name.endswith("wild.value"):
            assert trace_number.find(written, reported / "numbers.json", [name]).dataset == "vindr"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_sets_every_table(reported, tmp_path):
    for file in reported.glob("*.tex"):
        head = r"\documentclass{article}\usepackage{booktabs, longtable, pdflscape}\begin{document}"
        (tmp_path / "page.tex").write_text(f"{head}\n{file.read_text(encoding='utf-8')}\nend\\end{{document}}")
        call = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, (file.name, done.stdout[-2000:])


@browser.needed
@pytest.mark.slow
def test_a_browser_runs_nothing_of_the_page(reported, tmp_path):
    page = tmp_path / "page.html"
    labels = ["<img src=x onerror='document.title=1'>", "<script>document.title=1</script>", *drawn(200)]
    page.write_text(as_html(Page(title="safe", summary=labels, parts=[("x", pd.DataFrame({"Label": labels}))])))
    for file, title in ((page, "safe"), (reported / "index.html", "headwater: sources compared")):
        call = [browser.CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", file.resolve().as_uri()]
        seen = subprocess.run(call, capture_output=True, text=True, timeout=300, cwd=tmp_path).stdout
        assert f"<title>{title}</title>" in seen
        assert file != page or set(labels) <= set(Words(seen).cells)
    assert set(SHOWN) <= set(Words(seen).cells)
