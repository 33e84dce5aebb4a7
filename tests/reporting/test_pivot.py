import json
import re

import numpy as np
import pandas as pd
import pytest

from headwater.core import text as core_text
from headwater.evaluation.pairwise import COMPARISONS
from headwater.reporting import formatting, named_values
from headwater.stages.report import report
from report_made import corrected, study

STRENGTHS = {"random": 0.3, "wild_dino": 1.4, "image_net": 0.8, "random_again": 0.3}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of all pairs the published way, one label with few patients, one control."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.evaluation.eligibility.FEW_POSITIVE", 30)
        return study(
            tmp_path_factory.mktemp("study"),
            strengths=STRENGTHS,
            controls=("random_again",),
            seeds=(0, 1, 2),
            resamples=256,
            reference=None,
            method="published",
        )


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        report(**made.arguments(), folder=folder)
    return folder


def cells(file) -> pd.DataFrame:
    """A Markdown table as a frame of words."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    return pd.DataFrame(split[1:], columns=split[0])


def test_a_row_per_label_with_the_macro_first_and_a_column_per_source(folder):
    chest = cells(folder / "labelwise_chest.md")
    assert chest["Label"].tolist() == ["macro", "Atelectasis", "Effusion ‡", "Hernia", "Edema"]
    sources = [column for column in chest.columns if "p: " not in column and "published" not in column]
    assert sources == ["Label", "random", "wild_dino", "image_net"]
    pairs = [column for column in chest.columns if column.startswith("p: ") and "published" not in column]
    assert pairs == ["p: wild_dino vs random", "p: image_net vs random", "p: image_net vs wild_dino"]
    assert cells(folder / "macro.md")["Dataset"].tolist() == ["chest", "vindr"]


def test_the_cells_are_the_numbers_of_the_long_table(folder):
    long = pd.read_csv(folder / "significance.csv").fillna({"reference": ""})
    chest = cells(folder / "labelwise_chest.md").set_index("Label")
    for row in long[(long.dataset == "chest") & (long.label == "macro") & (long.source != "random_again")].itertuples():
        value = formatting.with_error(row.value, row.value_se, row.value_low, row.value_high)
        assert chest.loc["macro", row.source] == value
        if row.reference:
            stars = " *" if row.significant else ""
            cell = chest.loc["macro", f"p: {row.source} vs {row.reference}"].replace("**", "")
            assert cell == core_text.p_value(row.p_adjusted) + stars
    assert chest.loc["Hernia"].drop_duplicates().tolist() == ["–"]


def test_the_csv_of_a_pivot_table_is_in_full_precision(made, folder):
    whole = pd.concat([COMPARISONS.read(file) for file in made.compared()])
    macro = pd.read_csv(folder / "macro.csv").set_index("dataset")
    for row in whole.query("label == 'macro' and reference == 'wild_dino'").itertuples():
        assert macro.loc[row.dataset, "image_net.vs.wild_dino.difference"] == row.difference
        assert macro.loc[row.dataset, "image_net.vs.wild_dino.p"] == row.p
        assert macro.loc[row.dataset, "wild_dino.value_se"] == row.reference_se
        assert macro.loc[row.dataset, "image_net.value"] == row.value


@pytest.mark.parametrize("suffix", ["md", "tex", "html"])
@pytest.mark.parametrize("table", ["significance", "macro", "labelwise_vindr"])
def test_the_published_way_stands_beside_with_its_faults(folder, table, suffix):
    text = (folder / f"{table}.{suffix}").read_text()
    text = re.sub(r"\\shortstack\[r\]|[\\{}]", " ", text)
    for said in ("published way", "one training for a source", "after looking", "resamples images", "can be 0"):
        assert said.lower() in " ".join(text.lower().split()), said


def test_no_star_stands_on_a_published_p(folder):
    for table in ("macro", "labelwise_chest", "labelwise_vindr"):
        shown = cells(folder / f"{table}.md")
        published = shown[[column for column in shown.columns if column.endswith("published way")]]
        assert published.shape[1] == 6 and not published.map(lambda cell: "*" in cell).any(axis=None)


def test_every_number_bears_a_name(made, folder):
    found = json.loads((folder / "numbers.json").read_text())
    whole = pd.concat([COMPARISONS.read(file) for file in made.compared()])
    row = whole.query(
        "dataset == 'vindr' and label == 'macro' and source == 'image_net' and reference == 'random'"
    ).iloc[0]
    place = "vindr.auroc.finetune.macro"
    assert found[f"{place}.image_net.vs.random.difference"] == row.difference
    assert found[f"{place}.image_net.vs.random.se"] == row.difference_se
    assert found[f"{place}.random.low"] == row.reference_low and found[f"{place}.patients"] == row.patients
    assert found["vindr.auroc.finetune.Pleural_effusion-more.image_net.value"] > 0.5
    assert (found["seeds"], found["resamples"], found["sources"], found["confirmatory.tests"]) == (3, 256, 3, 6)
    assert all(np.isfinite(number) for number in found.values())


def test_latex_has_the_same_names_with_the_numbers_of_the_tables(folder):
    text = (folder / "numbers.tex").read_text()
    told = dict(re.findall(r"\\csname hw@([A-Za-z0-9_.-]+)\\endcsname\{(.*)\}$", text, flags=re.MULTILINE))
    found = json.loads((folder / "numbers.json").read_text())
    assert set(found) <= set(told) and text.isascii()
    assert (
        told["chest.auroc.finetune.macro.wild_dino.value"]
        == f"{found['chest.auroc.finetune.macro.wild_dino.value']:.3f}"
    )
    assert told["chest.auroc.finetune.macro.image_net.vs.wild_dino.difference"].startswith("$-$0.")


def test_labels_that_would_have_one_name_have_digits_of_their_own_behind_it(made):
    rows = corrected(made)
    one, other = rows[rows["dataset"] == "vindr"]["label"].unique()[1:]
    before = named_values.numbers(rows, grid=made.grid)
    names = {}
    for label in ("a b", "a-b"):
        rows["label"] = rows["label"].replace({one: label, other: "a&b"})
        after = named_values.numbers(rows, grid=made.grid)
        assert len(after) == len(before)
        names[label] = sorted(
            name for name in after if name.startswith("vindr.auroc.finetune.a") and name.endswith(".patients")
        )
        one, other = label, "a&b"
    assert names["a b"] == ["vindr.auroc.finetune.a-b-4e0123.patients", "vindr.auroc.finetune.a-b-c8687a.patients"]
    assert names["a-b"] == ["vindr.auroc.finetune.a-b-4e0123.patients", "vindr.auroc.finetune.a-b.patients"]
