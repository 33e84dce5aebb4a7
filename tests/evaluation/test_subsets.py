"""The macro of a subset of labels equals the macro of a study with only these labels."""

import pandas as pd
import pytest

from headwater.core.errors import UserError
from headwater.core.files import read_json
from headwater.evaluation.multiplicity import CONFIRMATORY, EXPLORATORY
from headwater.evaluation.pairwise import COMPARISONS
from headwater.evaluation.predictions import PREDICTIONS
from headwater.reporting.trace import whence
from headwater.stages.compare import compare
from headwater.stages.report import report
from headwater.study import config
from predictions_made import cohort, comparison, counted, written
from report_made import changed, study
from test_config import changed as changed_config

LABELS = {"Effusion": 0.4, "Mass": 0.3, "Edema": 0.35, "Rare": 0.0}
PRODUCTS = ("comparisons", "curves", "values", "replicates", "provenance")


def compared(folder, files, **changes) -> pd.DataFrame:
    plan = comparison(sources=("random", "dino"), **changes)
    products = {name: folder / f"{name}.parquet" for name in PRODUCTS}
    compare(comparison=plan, predictions=files, labels=counted(folder / "labels.parquet", files), **products)
    return COMPARISONS.read(products["comparisons"])


def subsets(*labels: str) -> dict:
    return {"some": {"chest": labels}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    cases = cohort(patients=60, images=2, labels=LABELS)
    return written(tmp_path_factory.mktemp("runs"), cases, strengths={"random": 0.3, "dino": 1.0})


def only(files, folder, labels) -> list:
    """The same predictions without other labels."""
    kept = []
    for file in files:
        frame = PREDICTIONS.read(file)
        kept.append(folder / file.parts[-4] / file.parts[-2] / file.name)
        PREDICTIONS.write(frame[frame["label"].isin(labels)], kept[-1])
    return kept


@pytest.mark.parametrize("method", ["obuchowski_rockette", "percentile", "published"])
def test_it_is_the_macro_of_a_study_without_the_other_labels(tmp_path, files, method):
    chosen = ("Mass", "Edema")
    frame = compared(tmp_path, files, subsets=subsets(*chosen), method=method)
    alone = compared(tmp_path / "alone", only(files, tmp_path / "only", chosen), method=method)
    ours = frame[frame["label"] == "macro: some"].drop(columns="label").reset_index(drop=True)
    theirs = alone[alone["label"] == "macro"].drop(columns="label").reset_index(drop=True)
    assert len(ours) == 2
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
    # and nothing else is touched by it
    without = compared(tmp_path / "without", files, method=method)
    rest = frame[frame["label"] != "macro: some"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, without)


def test_delong_knows_it_too(tmp_path, files):
    one = [file for file in files if "seed0" in str(file)]
    frame = compared(tmp_path, one, subsets=subsets("Mass", "Edema"), method="delong", seeds=(0,))
    alone = compared(tmp_path / "alone", only(one, tmp_path / "only", ("Mass", "Edema")), method="delong", seeds=(0,))
    mine, theirs = (
        table[(table["label"] == label) & (table["source"] == "dino")].iloc[0]
        for table, label in ((frame, "macro: some"), (alone, "macro"))
    )
    assert (mine.p, mine.difference_se) == pytest.approx((theirs.p, theirs.difference_se), rel=1e-12)


@pytest.mark.parametrize("chosen", [("Effusion", "Mass", "Edema"), ("Effusion", "Mass", "Edema", "Rare"), ("Rare",)])
def test_it_has_no_row_where_it_is_everything_or_nothing(tmp_path, files, chosen):
    frame = compared(tmp_path, files, subsets=subsets(*chosen))
    assert set(frame["label"]) == {"macro", *LABELS}


def test_a_label_that_is_not_there_is_refused(tmp_path, files):
    with pytest.raises(
        UserError, match=r"has no label 'Mas', which comparison\.subsets\.some names; did you mean 'Mass'"
    ):
        compared(tmp_path, files, subsets=subsets("Mas", "Edema"))


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.reporting.writing.draw", lambda study: {})
        declared = {"one": {"chest": ("Atelectasis",), "vindr": ("Cardiomegaly", "Pleural_effusion & more")}}
        made = study(folder, strengths={"random": 0.3, "dino": 1.2}, subsets=declared)
        report(**made.arguments(), folder=folder / "report")
    return made, folder / "report"


def test_it_is_exploratory_and_stands_in_every_table(reported):
    _, folder = reported
    frame = pd.read_csv(folder / "significance.csv").fillna({"reference": ""})
    of_subset = frame[frame["label"] == "macro: one"]
    assert list(of_subset["dataset"]) == ["chest", "chest"] and list(of_subset["source"]) == ["random", "dino"]
    tested = frame[frame["tested"]].groupby("label")["family"].agg(set)
    assert tested["macro"] == {CONFIRMATORY} and tested["macro: one"] == tested["Atelectasis"] == {EXPLORATORY}
    macro = pd.read_csv(folder / "macro.csv")
    assert list(zip(macro["dataset"], macro["label"], strict=True)) == [
        ("chest", "macro"), ("chest", "macro: one"), ("vindr", "macro")
    ]  # fmt: skip
    assert "| macro: one" in (folder / "macro.md").read_text()
    numbers = read_json(folder / "numbers.json")
    name = "chest.auroc.finetune.macro-one.dino.vs.random.difference"
    assert numbers[name] == of_subset["difference"].iloc[1]


def test_the_report_says_what_it_is_and_where_it_would_only_repeat(reported):
    _, folder = reported
    for name in ("index.html", "significance.md", "macro.md"):
        text = (folder / name).read_text()
        assert "macro: one, exploratory, is the mean over fewer labels. chest: Atelectasis." in text, name
        assert "vindr: no row of its own, as it holds every tested label, so the macro is its mean." in text, name
    assert "vindr: no row" not in (folder / "labelwise_chest.md").read_text()


def test_its_numbers_can_be_followed(reported, capsys):
    _, folder = reported
    whence(str(folder / "significance.csv"), ["chest", "macro:", "one", "dino"])
    assert "chest, auroc, finetune, macro: one: dino against random" in capsys.readouterr().out


def test_only_its_own_test_sets_are_compared_anew(reported):
    made, _ = reported
    without = changed(made.grid, subsets={})
    for name, same in (("chest", False), ("vindr", False)):
        assert (made.grid.comparison(name) == without.comparison(name)) is same
    fewer = changed(made.grid, subsets={"one": {"chest": ("Atelectasis",)}})
    assert fewer.comparison("vindr").as_json() == without.comparison("vindr").as_json()
    assert [run.digest for run in fewer.runs("chest")] == [run.digest for run in without.runs("chest")]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"one": {"chest": ["Mass"]}}, "comparison.subsets.one: there is no 'chest'; did you mean 'chestxray14'?"),
        ({"o ne": {"chestxray14": ["Mass"]}}, "comparison.subsets.o ne: use letters, digits, _ and - in names"),
        ({"one": {"chestxray14": []}}, "comparison.subsets.one.chestxray14: lists no label"),
        (
            {"one": {"chestxray14": ["Mas", "Mass"]}},
            "comparison.subsets.one.chestxray14: there is no 'Mas'; did you mean 'Mass'?",
        ),
    ],
)
def test_mistakes_in_the_config_are_told(declared, said):
    with pytest.raises(UserError) as refused:
        config.load(
            changed_config(("datasets.chestxray14.labels", ["Mass", "Effusion"]), ("comparison.subsets", declared))
        )
    assert said in str(refused.value)
