import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.core.text import p_value
from headwater.evaluation.pairwise import COMPARISONS
from headwater.evaluation.statistics.corrections import benjamini_hochberg, holm
from headwater.reporting import artefacts, exhibits
from headwater.reporting.formatting import estimate
from headwater.stages.report import report
from headwater.study.leaks import Excuse, Leaks
from report_made import study

STRENGTHS = {"random": 0.3, "random_again": 0.3, "wild_dino": 1.4, "image_net": 0.8}
SOUND = ("calibration", "thresholds", "subgroups")
TABLES = ("significance", "macro", "characteristics", *SOUND, "labelwise_chest", "labelwise_vindr")
FIGURES = ("forest", "roc", "seeds", "replicates", "reliability", "subgroups")
NAMES = [
    *("index.html", "summary.txt", "numbers.json", "numbers.tex", "provenance.csv", "provenance.json", "columns.md"),
    *("forest_macro.svg", "ranks.svg"),
    *(f"{table}.{suffix}" for table in TABLES for suffix in ("csv", "md", "tex", "html")),
    *(f"{figure}_{name}.svg" for figure in FIGURES for name in ("chest", "vindr")),
]
DOOR = Path(__file__).parents[2] / "scripts" / "report.py"
READ = ["index.html", "significance.md", "significance.html", "significance.tex"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    made = study(folder, strengths=STRENGTHS)
    report(**made.arguments(), folder=folder / "report")
    return made, folder / "report"


def reported(folder, strengths=STRENGTHS, **changes):
    made = study(folder, strengths=strengths, **changes)
    report(**made.arguments(), folder=folder / "report")
    return folder / "report"


@pytest.fixture
def without_figures(monkeypatch):
    """Reports in a fraction of the time."""
    monkeypatch.setattr("headwater.reporting.writing.draw", lambda study: {})


def table(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "significance.csv").fillna({"reference": "", "note": "", "family": ""})


def test_all_products_are_there_and_each_other_one_is_declared(finished):
    made, folder = finished
    files = {file.name for file in folder.iterdir()}
    tables = {f"{name}.{suffix}" for name, formats in artefacts.table_files(made.grid).items() for suffix in formats}
    figures = tuple(artefacts.names("figures", made.grid))
    tables |= {".".join(document) for document in artefacts.documents(made.grid)}
    assert files >= tables | set(NAMES)
    assert [name for name in files - tables - set(NAMES) if not name.startswith(figures)] == []
    recorded = json.loads((folder / "provenance.json").read_text())["tables"]
    assert set(recorded) == {name for name in files if name.endswith(".csv")} | {"numbers.json"}


def test_every_page_table_and_figure_is_shown_by_snakemake_and_nothing_that_is_not_there(finished):
    made, folder = finished
    shown = exhibits.exhibits(made.grid)
    files = {file.name for file in folder.iterdir()}
    assert {name for name in files if name.endswith((".html", ".svg", ".csv"))} <= shown.keys()
    assert {name for name in shown if not name.endswith(".svg")} <= files
    assert {f"{name}.html" for name in artefacts.table_files(made.grid)} <= files
    found = re.compile(exhibits.pattern(shown).removeprefix("{file,").removesuffix("}"))
    assert {name for name in files if found.fullmatch(name)} == files & shown.keys()
    assert all(exhibit.caption.endswith(".") for exhibit in shown.values())
    assert {tuple(exhibit.labels) for exhibit in shown.values()} == {("shows", "about", "as")}
    by_dataset = [name for name, exhibit in shown.items() if exhibit.subcategory == "vindr"]
    assert {"roc_vindr.svg", "labelwise_vindr.html"} <= {*by_dataset} and "calibration.html" not in by_dataset


def test_the_plan_has_each_setting_and_no_folder_of_the_user(finished):
    made, folder = finished
    page = (folder / "plan.html").read_text()
    for name in (*(source.name for source in made.grid.sources), *(dataset.name for dataset in made.grid.datasets)):
        assert f": {name}<" in page
    folders = [str(archive.folder) for archive in made.grid.archives if archive.folder]
    assert not [place for place in [*folders, str(folder.parent)] if f">{place}<" in page]


def test_the_ledger_is_a_table_without_cases(finished):
    made, folder = finished
    ledger, page = made.read_in().ledger, (folder / "ledger.html").read_text()
    assert page.count("<tr class=") == len(ledger) > 0
    examples = {*ledger["example"], *ledger["other_example"]} - {""}
    assert not [example for example in examples if f">{example}<" in page]


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(finished, tmp_path):
    """What a set of words gives first is another word in each process."""
    arguments = ["--grid", finished[0].grid.as_json(), "--results", str(finished[0].results)]
    folders = [tmp_path / "2", tmp_path / "3"]
    for folder in folders:
        call = [sys.executable, str(DOOR), *arguments, "--folder", str(folder)]
        subprocess.run(call, env={**os.environ, "PYTHONHASHSEED": folder.name}, check=True, capture_output=True)
    names = sorted(file.name for file in folders[0].iterdir())
    assert "ranks.svg" in names
    for name in set(names) - {"summary.txt"}:  # which names its folder
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_second_report_is_the_same_to_the_byte(finished, tmp_path):
    made, folder = finished
    report(**made.arguments(), folder=tmp_path)
    for name in NAMES:
        before = (folder / name).read_text().replace(str(folder), "")
        assert (tmp_path / name).read_text().replace(str(tmp_path), "") == before, name


def test_families_are_corrected_over_all_datasets_as_declared(finished):
    frame = table(finished[1])
    macro = (frame.label == "macro") & frame.tested
    single = (frame.label != "macro") & frame.tested
    assert macro.sum() == 2 * 3 and single.sum() == 4 * 3
    assert frame.p_adjusted[macro].to_numpy() == pytest.approx(holm(frame.p[macro].to_numpy()))
    assert frame.p_adjusted[single].to_numpy() == pytest.approx(benjamini_hochberg(frame.p[single].to_numpy()))
    assert set(frame.correction[macro]) == {"Holm"} and set(frame.correction[single]) == {"Benjamini-Hochberg"}
    assert frame.p_adjusted[~(macro | single)].isna().all()


def test_the_csv_has_full_precision(finished):
    made, folder = finished
    whole = pd.concat([COMPARISONS.read(file) for file in made.compared()])
    for column in ("value", "difference_low", "p"):
        assert sorted(table(folder)[column].dropna()) == sorted(whole[column].dropna())


def test_the_planted_effect_is_told_and_the_control_is_not(finished):
    frame = table(finished[1])
    macro = frame[frame.label == "macro"].set_index(["dataset", "source"])
    assert macro.significant["chest", "wild_dino"] and not macro.significant["chest", "random_again"]
    page = (finished[1] / "index.html").read_text()
    assert "chest: wild_dino is better than random, AUROC +" in page
    assert "chest: random_again is" not in page


def test_rows_stand_in_the_order_of_the_config(finished):
    frame = table(finished[1])
    chest = frame[frame.dataset == "chest"]
    assert list(frame.dataset.unique()) == ["chest", "vindr"]
    assert list(chest.label.unique()) == ["macro", "Atelectasis", "Effusion", "Hernia", "Edema"]
    assert list(chest.source[:4]) == list(STRENGTHS) and list(chest.reference[:4]) == ["", "random", "random", "random"]


@pytest.mark.parametrize("name", READ)
def test_left_out_labels_are_said_with_their_reason(finished, name):
    text = (finished[1] / name).read_text()
    assert "left out: no positive case in test" in text
    assert "described only: 2 positive patients in test, fewer than 10" in text
    assert "without Edema (2 positive patients in test, fewer than 10), Hernia (no positive case in test)" in text


@pytest.mark.parametrize("name", [*READ, "summary.txt"])
def test_synthetic_data_and_missing_patients_are_said(finished, name):
    text = (finished[1] / name).read_text()
    assert "Synthetic data: no clinical meaning" in text
    assert "vindr: each case counts as a patient" in text and "chest: each case" not in text


def test_real_data_are_not_called_synthetic(tmp_path, without_figures):
    assert "ynthetic" not in (reported(tmp_path, twin=False) / "index.html").read_text()


class _Page(HTMLParser):
    """Open tags, ids and what is referred to."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.outside, self.tags = [], [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        for name in ("href", "src", "xlink:href"):
            if name in attributes and not attributes[name].startswith("#"):
                self.outside.append(attributes[name])
        if tag not in ("meta", "path", "rect", "use", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["index.html", "significance.html"])
def test_pages_stand_alone(finished, name):
    text = (finished[1] / name).read_text()
    page = _Page()
    page.feed(text)
    assert page.open == [] and not page.tags & {"link", "img", "iframe"}
    # nothing but files that lie beside it
    assert [link for link in page.outside if not re.fullmatch(r"[\w.-]+\.[a-z]+", link)] == []
    assert [link for link in page.outside if not (finished[1] / link).is_file()] == []
    assert len(page.ids) == len(set(page.ids))
    referred = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert referred <= set(page.ids)


def test_the_page_tells_sources_counts_rejects_and_notes(finished):
    text = (finished[1] / "index.html").read_text()
    for said in (
        "pre-trained here, dino (prototypes 512)", "published, timm", "photographs, everything",
        "100 steps of 64 images", "64 / 160 (32 patients)", "40.0%", "Unreadable images: 2: truncated file (2)",
        "One pre-training per source: its noise is not in the intervals", "512 bootstrap replicates",
        "(6 tests, Holm)", "(12 tests, Benjamini-Hochberg)", "the smallest that they can give is 0.0039",
        "Pleural_effusion &amp; more",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_called_equal(finished, name):
    text = (finished[1] / name).read_text()
    for claim in re.findall(r"[^.;]*\bequal\b[^.;]*", text):
        assert "not" in claim or "no evidence" in claim, claim


def test_the_page_tells_what_the_splits_share(finished):
    text = (finished[1] / "index.html").read_text()
    assert "No test split shares any of them with the data learned from." in text
    assert "chest_archive train (3)" in text and "no leak into a test split" in text


def test_an_excused_leak_stands_before_the_numbers_of_every_table_that_it_touches(tmp_path, without_figures):
    made = study(tmp_path, strengths={"random": 0.3, "again": 0.3})
    between, why = ("vindr_archive train", "vindr_archive test"), "the official lists part one patient"
    leaks = Leaks(excused=(Excuse(kind="patients", between=between, reason=why),))
    made = replace(made, grid=made.grid.model_copy(update={"leaks": leaks}))
    report(**made.arguments(), folder=tmp_path / "report")
    for name, told in {"significance.md": True, "labelwise_vindr.tex": True, "labelwise_chest.md": False}.items():
        assert (why in (tmp_path / "report" / name).read_text()) == told, name
    assert why in (tmp_path / "report" / "index.html").read_text()


def test_a_source_that_learned_from_a_dataset_is_told_to_be_at_home_there(tmp_path, without_figures):
    made = study(tmp_path, strengths={"random": 0.3, "dino": 0.8, "other": 0.8})
    random, dino, other = made.grid.sources
    here = dino.model_copy(update={"corpus": "chest_archive"})
    onwards = dino.model_copy(update={"name": other.name, "start": dino.name})
    grid = made.grid.model_copy(update={"sources": (random, here, onwards)})
    report(**made.arguments(grid=grid), folder=tmp_path / "report")
    chest, vindr = ((tmp_path / "report" / f"labelwise_{name}.md").read_text() for name in ("chest", "vindr"))
    for source in ("dino", "other"):
        assert f"{source} was pre-trained on training images of chest" in chest
    assert "random was" not in chest and "on training images" not in vindr


def test_no_verdict_is_no_proof_of_equality(tmp_path, without_figures):
    made = study(tmp_path, strengths={"random": 0.3, "again": 0.3})
    report(**made.arguments(), folder=tmp_path / "report")
    text = (tmp_path / "report" / "index.html").read_text()
    assert "0 of 2 declared macro differences are significant" in text
    assert "That is no evidence that the sources are equal." in text and " *</td>" not in text


def test_stars_and_bold_follow_the_adjusted_p_only(finished):
    frame = table(finished[1])
    only_raw = (frame.p <= 0.05) & (frame.p_adjusted > 0.05)
    assert only_raw.any()
    markdown = [line for line in (finished[1] / "significance.md").read_text().splitlines() if line.startswith("| ")][
        1:
    ]
    assert [line.count("**") == 2 for line in markdown] == frame.significant.tolist()
    assert [" * |" in line for line in markdown] == frame.significant.tolist()
    latex = [line for line in (finished[1] / "significance.tex").read_text().splitlines() if line.endswith(r"\\")]
    rows = [line for line in latex if line.startswith(("chest", "vindr"))]
    # further columns of the same rows follow, and nothing there is bold
    bold = [r"\bfseries" in line for line in rows]
    assert bold == frame.significant.tolist() + [False] * (len(rows) - len(frame)) and len(rows) % len(frame) == 0


def test_latex_escapes_what_it_must(finished):
    text = (finished[1] / "significance.tex").read_text()
    assert r"Pleural\_effusion \& more" in text and r"wild\_dino" in text and r"95\% CI" in text
    assert text.isascii() and not re.search(r"(?<!\\)_", text.split("longtable}", 2)[1])


def compiled(folder, body):
    """What pdflatex says of a page with this body; skips where it cannot be asked."""
    if not shutil.which("pdflatex") or subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode:
        pytest.skip("pdflatex with booktabs is not installed")
    head = r"\documentclass{article}\usepackage{booktabs, longtable}\begin{document}"
    (folder / "page.tex").write_text(head + body + r"\end{document}")
    return subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_latex_compiles_and_prints_numbers_by_name(finished, tmp_path):
    body = "".join((finished[1] / f"{name}.tex").read_text() for name in (*TABLES, "numbers"))
    name = "chest.auroc.finetune.macro.wild_dino.vs.random.difference"
    done = compiled(
        tmp_path, body + rf"\headwater{{{name}}}\typeout{{told: \headwater{{chest.auroc.finetune.macro.patients}}}}"
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "told: 80" in done.stdout


@pytest.mark.slow
def test_a_number_that_is_not_there_stops_latex(finished, tmp_path):
    done = compiled(tmp_path, (finished[1] / "numbers.tex").read_text() + r"\headwater{chest.aurok}")
    assert done.returncode != 0 and "There is no number called chest.aurok" in done.stdout


def test_the_summary_is_printed_and_kept(finished, tmp_path, capsys, without_figures):
    made, _ = finished
    report(**made.arguments(), folder=tmp_path)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "summary.txt").read_text()
    assert printed.rstrip().endswith(f"Page: {tmp_path / 'index.html'}") and "chest, label by label" in printed
    assert "Hernia: left out: no positive case in test; not in the macro" in printed
    for column in (
        "Source",
        "Compared with",
        "AUROC ± SE [95% CI]",
        "Difference ± SE [95% CI]",
        "p",
        "Adjusted p",
        "Patients",
    ):
        assert column in printed


def test_several_recipes_metrics_and_all_pairs_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.reporting.figures.roc.make", lambda study: {})
    folder = reported(
        tmp_path,
        strengths={"random": 0.3, "wild_dino": 1.4, "image_net": 0.8},
        recipes=("finetune", "probe"),
        metrics=("auroc", "average_precision"),
        reference=None,
        resamples=1024,
    )
    frame = table(folder)
    assert (frame.family == "confirmatory").sum() == 2 * 3 * 2 * 2
    header = (folder / "significance.md").read_text().split("\n| ", 1)[1].splitlines()[0]
    assert "Metric" in header and "Recipe" in header and "Value ± SE [95% CI]" in header
    forest = (folder / "forest_macro.svg").read_text()
    assert "AUROC, probe" in forest and "average precision, finetune" in forest and "image_net − wild_dino" in forest


def test_one_seed_is_said_on_the_page_and_in_the_table(tmp_path, without_figures):
    folder = reported(tmp_path, seeds=(3,))
    assert "Each source was fitted once: training noise is not in it" in (folder / "index.html").read_text()
    assert table(folder).query("value.notna()").note.str.contains("one seed: training noise").all()


def changed_comparisons(file: Path, change) -> None:
    COMPARISONS.write(change(COMPARISONS.read(file)), file)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "comparisons" / "vindr.parquet").unlink(), "no table of comparisons; run compare first"),
        (
            lambda root: (root / "comparisons" / "chest.subgroups.parquet").unlink(),
            "no table of subgroups; run examine",
        ),
        (
            lambda root: (root / "archives" / "vindr_archive" / "labels.parquet").unlink(),
            "no table of labels; run prepare",
        ),
        (
            lambda root: changed_comparisons(
                root / "comparisons" / "vindr.parquet", lambda rows: rows.assign(dataset="chest")
            ),
            "vindr.parquet: is about chest, not vindr",
        ),
        (
            lambda root: changed_comparisons(
                root / "comparisons" / "chest.parquet",
                lambda rows: rows.assign(label=rows["label"].replace("Effusion", "x")),
            ),
            "label 'x' is compared, but its archive does not have it",
        ),
    ],
)
def test_products_that_do_not_fit_are_refused(finished, tmp_path, change, said):
    made = finished[0].copied(tmp_path / "results")
    change(made.results)
    with pytest.raises(UserError) as refused:
        report(**made.arguments(), folder=tmp_path / "report")
    assert said in str(refused.value)


def test_a_study_in_which_nothing_can_be_tested_still_reports(tmp_path):
    folder = reported(tmp_path, fewest_positive=1000)
    text = (folder / "index.html").read_text()
    assert "No macro difference could be tested" in text and "left out: no label can be tested" in text
    assert not (folder / "forest_macro.svg").exists() and (folder / "forest_chest.svg").exists()


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0.03149, 0.012, 0.049), "+0.031 [+0.012, +0.049]"),
        ((-0.0051, -0.01, -0.0001), "−0.005 [−0.010, 0.000]"),
        ((np.nan, np.nan, np.nan), "–"),
        ((0.5, np.nan, np.nan), "+0.500"),
    ],
)
def test_differences_have_three_digits_and_no_signed_zero(numbers, said):
    assert estimate(*numbers, sign="+") == said


@pytest.mark.parametrize(
    ("p", "floor", "said"),
    [
        (0.03123, False, "0.0312"),
        (2 / 10_001, True, "≤0.0002"),
        (2 / 100_001, True, "≤0.00002"),
        (3e-40, False, "<0.0001"),
        (0.0, False, "<0.0001"),
        (1.0, False, "1.0000"),
    ],
)
def test_p_is_never_zero(p, floor, said):
    assert p_value(p, floor=floor) == said
